//! Clients at once on a real sparse disk, against bytes in memory.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::thread;

use proptest::prelude::*;
use vixdisklib::nbd::{BlockState, DiskExport, Export, ZeroRequest};
use vixdisklib::{ByteLen, DiskKind, OpenFlags};

use crate::world::{World, content, noise};

const GRAIN: usize = 65_536;
/// Bytes that belong to one client, so that it knows what they must be. Clients share sectors and grains.
const OWN: usize = 150_001;
const CHUNKS: usize = 6;
const SIZE: usize = (OWN * CHUNKS).next_multiple_of(512);

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Zero { may_free: bool, fast_only: bool },
    Trim,
    Flush,
    Read,
    Status,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u64>().prop_map(Step::Write),
        2 => any::<(bool, bool)>().prop_map(|(may_free, fast_only)| Step::Zero { may_free, fast_only }),
        2 => Just(Step::Trim),
        1 => Just(Step::Flush),
        1 => Just(Step::Read),
        2 => Just(Step::Status),
    ]
}

/// A step, one of the client's own chunks, and a part of it.
type Action = (Step, usize, usize, usize);

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let start = prop_oneof![0..OWN, 0..1000_usize];
    let length = prop_oneof![1..2000_usize, GRAIN..OWN, Just(OWN)];
    prop::collection::vec((step(), 0..CHUNKS / 2, start, length), 1..25)
}

/// What one client does to its chunks; the others of `model` are not looked at.
fn work(export: &DiskExport, client: usize, actions: &[Action], model: &mut [u8]) {
    for (step, chunk, start, length) in actions {
        let first = (chunk * 2 + client) * OWN;
        let range = first + start..(first + start + length).min(first + OWN);
        let (offset, count) = (
            ByteLen::new(range.start as u64),
            ByteLen::new(range.len() as u64),
        );
        match step {
            Step::Write(seed) => {
                let bytes = noise(*seed, range.len());
                export.write_at(offset, &bytes).unwrap();
                model[range].copy_from_slice(&bytes);
            }
            Step::Zero {
                may_free,
                fast_only,
            } => {
                let request = ZeroRequest {
                    may_free: *may_free,
                    fast_only: *fast_only,
                };
                match export.write_zeroes(offset, count, request) {
                    Ok(()) => model[range].fill(0),
                    Err(error) => assert!(*fast_only, "{error}"),
                }
            }
            Step::Trim => {
                export.trim(offset, count).unwrap();
                let grains = range.start.next_multiple_of(GRAIN)..range.end / GRAIN * GRAIN;
                if !grains.is_empty() {
                    model[grains].fill(0);
                }
            }
            Step::Flush => export.flush().unwrap(),
            Step::Read => {
                let mut bytes = vec![0; range.len()];
                export.read_at(offset, &mut bytes).unwrap();
                assert!(bytes == model[range]);
            }
            Step::Status => assert_true(export, &range, model),
        }
    }
}

/// Nothing of `range` is told to be zero that is not.
fn assert_true(export: &DiskExport, range: &Range<usize>, model: &[u8]) {
    let mut position = range.start;
    let visit = &mut |length: ByteLen, state| {
        let end = position + usize::try_from(length.get()).unwrap();
        let piece = &model[position..end.min(range.end)];
        let is_zero = piece.iter().all(|byte| *byte == 0);
        assert!(
            state == BlockState::Data || is_zero,
            "{position}..{end} is told to be {state:?}"
        );
        position = end;
        ControlFlow::Continue(())
    };
    let (offset, count) = (
        ByteLen::new(range.start as u64),
        ByteLen::new(range.len() as u64),
    );
    export.block_status(offset, count, visit).unwrap();
    assert!(position >= range.end);
}

fn check(world: &World, path: &Path, first: &[u8], both: &[Vec<Action>; 2]) {
    let export = world.export(path, OpenFlags::empty());
    let mut models = [first.to_vec(), first.to_vec()];
    thread::scope(|scope| {
        for (client, model) in models.iter_mut().enumerate() {
            let (export, actions) = (&export, &both[client]);
            scope.spawn(move || work(export, client, actions, model));
        }
    });
    let mut model = first.to_vec();
    for chunk in 0..CHUNKS {
        let range = chunk * OWN..(chunk + 1) * OWN;
        model[range.clone()].copy_from_slice(&models[chunk % 2][range]);
    }
    let bytes = content(&export);
    assert!(bytes == model);
    assert_true(&export, &(0..SIZE), &model);
    drop(export);
    // What was kept in memory while it was written says nothing else than the disk as it is now.
    let again = world.export(path, OpenFlags::READ_ONLY);
    assert!(content(&again) == model);
    assert_true(&again, &(0..SIZE), &model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn two_clients_find_what_they_wrote(both in [actions(), actions()], on_parent in any::<bool>()) {
        let world = World::new();
        let mut first = vec![0; SIZE];
        if on_parent {
            first[GRAIN / 2..SIZE / 2].copy_from_slice(&noise(9, SIZE / 2 - GRAIN / 2));
        }
        let mut path = world.disk("disk.vmdk", DiskKind::MONOLITHIC_SPARSE, &first);
        if on_parent {
            path = world.child(&path, "child.vmdk");
        }
        check(&world, &path, &first, &both);
    }
}
