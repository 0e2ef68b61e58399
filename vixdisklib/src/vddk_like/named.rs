//! Errors name the disk, also those of calls that never reach the library.

use super::*;
use crate::disk::{Facts, ZeroMode};
use crate::error::Operation;
use crate::process::Birth;

#[test]
fn what_fails_on_a_disk_names_it() {
    static API: Api = Api {
        table: FnTable {
            read_metadata: None,
            get_metadata_keys: None,
            write_metadata: None,
            is_attach_possible: None,
            attach: None,
            shrink: None,
            space_needed_for_clone: None,
            query_allocated_blocks: None,
            ..VDDK
        },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, mut disk) = disk(&library, &bytes(8));
    let (_other, parent) = self::disk(&library, &bytes(8));
    let name = disk.name().to_owned();
    let past = SectorRange::new(Sector::new(8), SectorCount::new(8)).expect("fits");
    let whole = SectorRange::whole(disk.capacity());
    let errors = [
        disk.metadata("key").map(drop),
        disk.metadata("a\0b").map(drop),
        disk.metadata_keys().map(drop),
        disk.set_metadata("key", "value"),
        disk.can_attach(&parent),
        disk.space_needed_for_clone(None).map(drop),
        disk.read_at(Sector::ZERO, &mut [0; 7]),
        disk.read_at(Sector::new(8), &mut [0; 512]),
        disk.read_async(Sector::new(8), buffer(1)).wait().0,
        disk.write_at(Sector::ZERO, &[]),
        disk.extents(past).map(drop),
        disk.trim(whole),
        disk.write_zeroes(whole, ZeroMode::FastMayFree),
        disk.shrink(|_| {}),
        disk.attach(parent),
    ];
    for (at, result) in errors.into_iter().enumerate() {
        let error = result.expect_err("refused");
        assert_eq!(error.path(), Some(name.as_path()), "{at}: {error}");
        assert!(error.transport().is_some(), "{at}: {error}");
    }
}

#[test]
fn what_a_forked_child_is_refused_names_the_disk() {
    static API: Api = Api {
        table: FnTable { ..VDDK },
        major: Some(8),
    };
    let library = start(&API);
    let (_folder, disk) = disk(&library, &bytes(8));
    let facts = Facts {
        birth: Birth::elsewhere(),
        ..disk.facts().clone()
    };
    for refused in [
        facts.check_here(Operation::Flush),
        facts.check_surely_here(Operation::Close),
        facts.request(Operation::Read, Sector::ZERO, 512).map(drop),
    ] {
        let error = refused.expect_err("forked");
        assert_eq!(
            (error.kind(), error.path()),
            (ErrorKind::Forked, Some(disk.name()))
        );
    }
}
