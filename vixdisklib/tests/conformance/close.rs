//! Closing and dropping, in every order.

use std::fs;
use std::sync::Mutex;

use vixdisklib::{AlignedBuf, IoFuture, OpenFlags, Sector, SectorCount};

use crate::subject::on_every_backend;
use crate::support::{flat_disk, pattern};

/// Every order of so many things.
fn orders(things: usize) -> Vec<Vec<usize>> {
    let Some(last) = things.checked_sub(1) else {
        return vec![Vec::new()];
    };
    orders(last)
        .into_iter()
        .flat_map(|order| {
            (0..things).map(move |place| {
                let mut order = order.clone();
                order.insert(place, last);
                order
            })
        })
        .collect()
}

#[test]
fn drops_in_every_order_lose_nothing() {
    assert_eq!(orders(4).len(), 24);
    on_every_backend(|subject| {
        for order in orders(4) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = flat_disk(folder.path(), &pattern(16));
            let mut library = Some(subject.library.clone());
            let connection = subject.library.connect_local().expect("local");
            let disk = connection
                .open_disk(&path, OpenFlags::empty())
                .expect("opens");
            let mut buffer = AlignedBuf::new(SectorCount::new(2));
            buffer.fill(0xC4);
            let mut write = Some(disk.write_async(Sector::new(4), buffer));
            let (mut connection, mut disk) = (Some(connection), Some(disk));
            for thing in &order {
                match thing {
                    0 => drop(library.take()),
                    1 => drop(connection.take()),
                    2 => drop(disk.take()),
                    _ => drop(write.take()),
                }
            }
            let file = fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent");
            assert!(
                file[4 * 512..6 * 512].iter().all(|byte| *byte == 0xC4),
                "{order:?}"
            );
            assert!(file[..4 * 512] == pattern(16)[..4 * 512], "{order:?}");
        }
    });
}

#[test]
fn closing_waits_for_what_is_in_flight() {
    on_every_backend(|subject| {
        let model = pattern(1024);
        let (_folder, disk) = subject.disk(&model);
        let reads: Vec<_> = (0..8)
            .map(|_| disk.read_async(Sector::ZERO, AlignedBuf::new(SectorCount::new(512))))
            .collect();
        disk.close().expect("closes");
        for read in reads {
            let (done, buffer) = read.wait();
            done.expect("read");
            assert!(buffer[..] == model[..512 * 512]);
        }
    });
}

#[test]
fn a_disk_outlives_the_handles_that_it_was_made_from() {
    on_every_backend(|subject| {
        let model = pattern(16);
        let (_folder, disk) = subject.disk(&model);
        // The connection is gone already; the disk keeps it.
        let mut sector = [0; 512];
        disk.read_at(Sector::new(15), &mut sector).expect("reads");
        assert!(sector[..] == model[15 * 512..]);
        let shared = disk.into_shared().expect("shared");
        let other = shared.clone();
        shared.close().expect("gives a handle up");
        other.read_at(Sector::ZERO, &mut sector).expect("reads");
        assert!(sector[..] == model[..512]);
    });
}

#[test]
fn a_guard_that_is_forgotten_leaks_and_breaks_nothing() {
    /// Never dropped, and still reachable: a leak check of the process has nothing to say of it.
    static FORGOTTEN: Mutex<Vec<IoFuture>> = Mutex::new(Vec::new());
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(16));
        let read = disk.read_async(Sector::ZERO, AlignedBuf::new(SectorCount::new(1)));
        FORGOTTEN.lock().expect("no panic").push(read);
        disk.settle().expect("settles");
        disk.close().expect("closes");
    });
}
