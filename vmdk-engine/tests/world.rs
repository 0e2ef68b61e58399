//! The crash model that other tests rest on loses what it should, and nothing else.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::Numbers;
use support::world::World;
use vmdk_engine::{ByteLen, FileAccess, OpenGate};

#[test]
fn synced_bytes_and_names_survive_and_others_may_be_lost() {
    let world = World::default().with("a", [1; 1024]);
    let path = Path::new("a");
    let file = world
        .open_disk(path, FileAccess::ReadWrite)
        .unwrap()
        .storage;
    file.write_all_at(&[2; 512], ByteLen::ZERO).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[3; 1024], ByteLen::ZERO).unwrap();
    let made = world.create(Path::new("b")).unwrap().storage;
    made.write_all_at(&[4; 512], ByteLen::ZERO).unwrap();
    made.sync_data().unwrap();
    world.sync_folder(path).unwrap();
    world.rename(Path::new("b"), Path::new("c")).unwrap();
    world.remove(path).unwrap();
    assert_eq!(world.names(), ["c"]);

    assert_eq!(world.killed(world.len()).names(), ["c"]);
    let before = world.killed(5);
    assert_eq!(before.names(), ["a", "b"]);
    assert_eq!(before.bytes("a"), [3; 1024]);
    assert_eq!(before.bytes("b"), [4; 512]);

    let mut numbers = Numbers::new(1);
    let ends: BTreeSet<_> = (0..200)
        .map(|_| {
            let world = world.crashed(world.len(), &mut numbers);
            let first = |name: &str| {
                let known = world.names().iter().any(|known| known == name);
                known.then(|| {
                    (
                        world.bytes(name)[0],
                        world.bytes(name).last().copied().unwrap(),
                    )
                })
            };
            (first("a"), first("b"), first("c"))
        })
        .collect();
    let b = Some((4, 4));
    for old in [(2, 1), (2, 3), (3, 1), (3, 3)] {
        assert!(ends.contains(&(Some(old), b, None)), "{ends:?}");
        assert!(ends.contains(&(Some(old), None, b)), "{ends:?}");
    }
    assert!(ends.contains(&(None, None, b)), "{ends:?}");
    assert_eq!(ends.len(), 9, "{ends:?}");
}

#[test]
fn changes_fail_from_the_chosen_one_on() {
    let world = World::default().with("a", [1; 512]);
    world.fail_from(1);
    let file = world
        .open_disk(Path::new("a"), FileAccess::ReadWrite)
        .unwrap();
    file.storage.write_all_at(&[2], ByteLen::ZERO).unwrap();
    file.storage.write_all_at(&[3], ByteLen::ZERO).unwrap_err();
    world.create(Path::new("b")).unwrap_err();
    assert_eq!(world.bytes("a")[0], 2);
    assert_eq!(world.restarted().names(), ["a"]);
    assert_eq!(world.len(), 1);
}
