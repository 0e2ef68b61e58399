//! Exports over a library as VDDK is: it cannot zero, cannot trim, and knows allocation in chunks.

use std::ops::ControlFlow;

use tempfile::TempDir;
use vixdisklib_sys::{FnTable, VixDiskLibBlockList, VixDiskLibHandle, VixError};

use super::*;
use crate::api::Api;
use crate::vddk_like::{VDDK, start};
use crate::{CreateOptions, DiskKind, Library, OpenFlags};

/// Seven chunks of 128 sectors, and a tail.
const CAPACITY: u64 = 1000;
const TAIL: u64 = 7 * 128 * 512;

fn export(library: &Library, flags: OpenFlags) -> (TempDir, DiskExport) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vmdk");
    let connection = library.connect_local().unwrap();
    let options = CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, SectorCount::new(CAPACITY));
    connection.create_disk(&path, &options, |_| {}).unwrap();
    let disk = connection.open_disk(&path, flags).unwrap();
    (
        folder,
        DiskExport::new(disk.into_shared().unwrap()).unwrap(),
    )
}

fn map(export: &DiskExport) -> Vec<(u64, BlockState)> {
    let mut map: Vec<(u64, BlockState)> = Vec::new();
    let visit = &mut |length: ByteLen, state| {
        match map.last_mut() {
            Some(last) if last.1 == state => last.0 += length.get(),
            _ => map.push((length.get(), state)),
        }
        ControlFlow::Continue(())
    };
    export
        .block_status(ByteLen::ZERO, export.size(), visit)
        .unwrap();
    map
}

#[test]
fn zeros_are_written_and_the_tail_is_data() {
    static API: Api = Api {
        table: VDDK,
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, export) = export(&library, OpenFlags::empty());
    assert!(!export.can_trim());
    assert_eq!(export.contexts(), [""; 0], "it does not know depths");
    let tail = (CAPACITY * 512 - TAIL, BlockState::Data);
    assert_eq!(map(&export), [(TAIL, BlockState::Hole), tail]);
    export.write_at(ByteLen::new(1000), &[7; 3000]).unwrap();
    let data = (65_536, BlockState::Data);
    let behind = (TAIL - 65_536, BlockState::Hole);
    assert_eq!(map(&export), [data, behind, tail]);

    let (offset, length) = (ByteLen::new(1024), ByteLen::new(1536));
    for may_free in [false, true] {
        let request = ZeroRequest {
            may_free,
            fast_only: true,
        };
        let refused = export.write_zeroes(offset, length, request).unwrap_err();
        assert_eq!(refused.number(), ErrorNumber::NotSupported);
    }
    assert_eq!(map(&export), [data, behind, tail]);
    let mut bytes = [0; 3000];
    export.read_at(ByteLen::new(1000), &mut bytes).unwrap();
    assert_eq!(bytes, [7; 3000]);

    let request = ZeroRequest {
        may_free: true,
        fast_only: false,
    };
    export.write_zeroes(offset, length, request).unwrap();
    export.read_at(ByteLen::new(1000), &mut bytes).unwrap();
    assert!(bytes[24..1560].iter().all(|byte| *byte == 0));
    assert!(
        bytes[..24]
            .iter()
            .chain(&bytes[1560..])
            .all(|byte| *byte == 7)
    );
    // It counts as data to the library, but we know what we wrote.
    assert_eq!(
        map(&export)[..2],
        [(1024, BlockState::Data), (1536, BlockState::Zero)]
    );
    export.flush().unwrap();
}

#[test]
fn what_cannot_be_asked_is_data() {
    extern "C" fn query(
        _: VixDiskLibHandle,
        _: u64,
        _: u64,
        _: u64,
        _: *mut *mut VixDiskLibBlockList,
    ) -> VixError {
        VixError::INVALID_ARG
    }
    static API: Api = Api {
        table: FnTable {
            query_allocated_blocks: Some(query),
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, export) = export(&library, OpenFlags::READ_ONLY);
    let all = [(CAPACITY * 512, BlockState::Data)];
    assert_eq!(map(&export), all);
    assert_eq!(map(&export), all);
    let mut bytes = vec![1; 512_000];
    export.read_at(ByteLen::ZERO, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
}
