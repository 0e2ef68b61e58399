//! Random damage: whatever bytes a file has, opening, reading, mapping and writing it end in a result, and a disk that
//! is accepted for writing gives back what is written to it.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use support::image::{MemoryGate, SparseImage, StreamImage, put};
use support::{Numbers, range};
use vmdk_engine::{Disk, Sector, ZeroMode};

/// Reads and maps as much as a test may take of a disk that may claim any size.
fn look_at_all(disk: &Disk) {
    let capacity = disk.capacity().get();
    let mut buffer = vec![0; 512 * 512];
    for start in [0, capacity / 2, capacity.saturating_sub(512)] {
        let count = (capacity - start).min(512);
        let part = &mut buffer[..usize::try_from(count * 512).unwrap()];
        let _ = disk.read_at(Sector::new(start), part);
    }
    let mut end = 0;
    for extent in disk.extents(range(0, capacity)).take(10_000) {
        let Ok(extent) = extent else { break };
        assert_eq!(extent.range.start().get(), end);
        end = extent.range.end().get();
    }
}

static SPARSE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let gate = MemoryGate::default().with("disk.vmdk", SparseImage::monolithic(1000).build());
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 300 * 512]).unwrap();
    disk.close().unwrap();
    gate.bytes("disk.vmdk")
});

static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut content = vec![0; 700 * 512];
    Numbers::new(4).fill(&mut content[..100_000]);
    content[200_000..300_000].fill(9);
    StreamImage::build(&content, false).bytes
});

/// Values that are more often interesting than random ones.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u32>().prop_map(|value| value.to_le_bytes().to_vec()),
        (0..400_u32).prop_map(|value| value.to_le_bytes().to_vec()),
        (0..64_u32).prop_map(|shift| (1_u64 << shift).to_le_bytes().to_vec()),
        Just(vec![0xff; 8]),
        Just(vec![0; 8]),
    ]
}

/// Header fields, text, directories and tables; for streams also records and the metadata at the end.
fn patches(end: usize) -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let place = prop_oneof![
        4 => 0..80_usize,
        1 => 512..1024_usize,
        4 => (21 * 512)..(31 * 512_usize),
        2 => (end - 12 * 512)..(end - 8),
        1 => 0..(end - 8),
    ];
    prop::collection::vec((place, value()), 1..4)
}

fn try_it(bytes: &[u8], patches: &[(usize, Vec<u8>)]) {
    let mut image = bytes.to_vec();
    for (position, value) in patches {
        put(&mut image, *position, value);
    }
    let gate = MemoryGate::default().with("disk.vmdk", image.clone());
    if let Ok(disk) = Disk::open("disk.vmdk", &gate.options()) {
        look_at_all(&disk);
        disk.close().unwrap();
    }
    assert!(
        gate.bytes("disk.vmdk") == image,
        "a reader changed the file"
    );
    let Ok(disk) = Disk::open("disk.vmdk", &gate.options().writable(true)) else {
        return;
    };
    let end = disk.capacity().get();
    for (number, start) in [0, end / 3, end - 1].into_iter().enumerate() {
        let bytes = [u8::try_from(number + 1).unwrap(); 512];
        if disk.write_at(Sector::new(start), &bytes).is_ok() {
            let mut back = [0; 512];
            disk.read_at(Sector::new(start), &mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }
    let _ = disk.write_zeroes(range(1, end.min(5000)), ZeroMode::MayFree);
    look_at_all(&disk);
    disk.close().unwrap();
    Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged_sparse_disks_end_in_a_result(patches in patches(SPARSE.len())) {
        try_it(&SPARSE, &patches);
    }

    #[test]
    fn damaged_streams_end_in_a_result(patches in patches(STREAM.len())) {
        try_it(&STREAM, &patches);
    }
}
