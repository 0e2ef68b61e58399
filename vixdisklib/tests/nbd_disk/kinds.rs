//! Zeroing and trimming on each kind of disk: what reads as zero afterwards, and what is told of it.

use std::ops::Range;

use vixdisklib::nbd::{BlockState, DiskExport, ErrorNumber, Export, ZeroRequest};
use vixdisklib::{ByteLen, CloneOptions, DiskKind, OpenFlags};

use crate::world::{World, content, map, noise, states};

/// Not a multiple of a grain, so that the last one is short.
const SIZE: usize = (1 << 20) + 3 * 512;
const GRAIN: usize = 65_536;

const MAY_FREE: ZeroRequest = ZeroRequest {
    may_free: true,
    fast_only: false,
};
const NO_HOLE: ZeroRequest = ZeroRequest {
    may_free: false,
    fast_only: false,
};

/// Calls `test` with a writable export that is full of data, for each kind of disk, and what it holds.
fn on_each_kind(test: impl Fn(&str, &DiskExport, Vec<u8>)) {
    let full = noise(1, SIZE);
    for (name, kind) in [
        ("sparse", DiskKind::MONOLITHIC_SPARSE),
        ("split sparse", DiskKind::SPLIT_SPARSE),
        ("flat", DiskKind::MONOLITHIC_FLAT),
        ("split flat", DiskKind::SPLIT_FLAT),
    ] {
        let world = World::new();
        let path = world.disk("disk.vmdk", kind, &full);
        test(name, &world.export(&path, OpenFlags::empty()), full.clone());
    }
    // All data is in the parent, then a third in the child.
    for written in [0, SIZE / 3] {
        let world = World::new();
        let parent = world.disk("parent.vmdk", DiskKind::MONOLITHIC_SPARSE, &full);
        let child = world.child(&parent, "child.vmdk");
        let export = world.export(&child, OpenFlags::empty());
        let mut model = full.clone();
        model[..written].copy_from_slice(&noise(2, written));
        if written > 0 {
            export.write_at(ByteLen::ZERO, &model[..written]).unwrap();
        }
        test("child", &export, model);
    }
}

fn bytes(range: &Range<usize>) -> (ByteLen, ByteLen) {
    (
        ByteLen::new(range.start as u64),
        ByteLen::new(range.len() as u64),
    )
}

/// The contents are those of the model, and nothing is told to be zero that is not.
fn assert_true(name: &str, export: &DiskExport, model: &[u8]) {
    assert!(content(export) == model, "{name}");
    let mut start = 0;
    for (length, state) in map(export) {
        let end = start + usize::try_from(length).unwrap();
        let is_zero = || model[start..end].iter().all(|byte| *byte == 0);
        let may_be = state == BlockState::Data || is_zero();
        assert!(may_be, "{name}: {start}..{end} is told to be {state:?}");
        start = end;
    }
    assert_eq!(start, SIZE);
}

fn whole_grains(range: &Range<usize>) -> Range<usize> {
    let end = if range.end == SIZE {
        SIZE
    } else {
        range.end / GRAIN * GRAIN
    };
    range.start.next_multiple_of(GRAIN)..end
}

#[test]
fn what_is_trimmed_reads_as_zero_and_is_told_to_be_a_hole() {
    on_each_kind(|name, export, mut model| {
        assert!(export.can_trim());
        map(export);
        for range in [
            100..200_100,
            3 * GRAIN..4 * GRAIN,
            900_000..SIZE,
            7 * GRAIN + 1..8 * GRAIN + 5,
        ] {
            let (offset, length) = bytes(&range);
            export.trim(offset, length).unwrap();
            let dropped = whole_grains(&range);
            if name.ends_with("flat") {
                // Sectors are its grains.
                model[range.start.next_multiple_of(512)..range.end / 512 * 512].fill(0);
            } else if !dropped.is_empty() {
                model[dropped.clone()].fill(0);
            }
            assert_true(name, export, &model);
            if !dropped.is_empty() {
                // A short last page of a file stays.
                let states = &states(export)[dropped.start..dropped.end / 4096 * 4096];
                let is_told = |state: &BlockState| match name {
                    // Where the parent has data, zeros take its place.
                    "child" => *state != BlockState::Hole,
                    _ => *state == BlockState::Hole,
                };
                assert!(states.iter().all(is_told), "{name}: {dropped:?}");
            }
        }
        // What was dropped can be written again.
        let again = noise(3, 1000);
        export.write_at(ByteLen::new(70_000), &again).unwrap();
        model[70_000..71_000].copy_from_slice(&again);
        assert_true(name, export, &model);
    });
}

#[test]
fn zeros_are_zeros_at_any_byte() {
    on_each_kind(|name, export, mut model| {
        map(export);
        for (range, request) in [
            (1..GRAIN + 1, MAY_FREE),
            (2 * GRAIN..4 * GRAIN, MAY_FREE),
            (5 * GRAIN..6 * GRAIN, NO_HOLE),
            (6 * GRAIN + 700..8 * GRAIN + 3, NO_HOLE),
            (10 * GRAIN + 5..10 * GRAIN + 6, NO_HOLE),
            (SIZE - 600..SIZE, MAY_FREE),
        ] {
            let (offset, length) = bytes(&range);
            export.write_zeroes(offset, length, request).unwrap();
            model[range.clone()].fill(0);
            assert_true(name, export, &model);
            if !request.may_free {
                let states = states(export);
                let whole = range.start.next_multiple_of(4096)..range.end / 4096 * 4096;
                let is_hole = |state: &BlockState| *state == BlockState::Hole;
                // A file system says hole of space that is there but was never written.
                let has_holes = !whole.is_empty() && states[whole].iter().any(is_hole);
                assert!(!has_holes || name.ends_with("flat"), "{name}: {range:?}");
            }
        }
    });
}

/// Fast zeroing either is done or changes nothing; the whole disk can be zeroed fast where grains can be freed.
#[test]
fn fast_zeroing_is_done_or_refused() {
    on_each_kind(|name, export, mut model| {
        map(export);
        let mut done = 0;
        for range in [
            3 * GRAIN..5 * GRAIN,
            100..1000,
            700..GRAIN * 2,
            SIZE - 512..SIZE,
            0..SIZE,
        ] {
            for may_free in [false, true] {
                let (offset, length) = bytes(&range);
                let request = ZeroRequest {
                    may_free,
                    fast_only: true,
                };
                match export.write_zeroes(offset, length, request) {
                    Ok(()) => {
                        model[range.clone()].fill(0);
                        done += 1;
                    }
                    Err(error) => assert_eq!(error.number(), ErrorNumber::NotSupported),
                }
                assert_true(name, export, &model);
            }
        }
        assert!(done > 0, "{name}");
        eprintln!("{name}: {done} of 10 were fast");
    });
}

#[test]
fn a_stream_is_read_and_never_written() {
    let world = World::new();
    let mut model = noise(4, SIZE);
    model[2 * GRAIN..5 * GRAIN].fill(0);
    let path = world.disk("disk.vmdk", DiskKind::MONOLITHIC_SPARSE, &model);
    let stream = world.path("stream.vmdk");
    let options = CloneOptions::new(DiskKind::STREAM_OPTIMIZED);
    let connection = &world.connection;
    connection
        .clone_disk(&path, connection, &stream, &options, |_| {})
        .unwrap();
    let export = world.export(&stream, OpenFlags::READ_ONLY);
    assert!(export.is_read_only() && export.knows_zeroes());
    assert_true("stream", &export, &model);
    let holes: u64 = map(&export)
        .iter()
        .filter(|run| run.1 == BlockState::Hole)
        .map(|run| run.0)
        .sum();
    assert_eq!(holes, 3 * GRAIN as u64);
}
