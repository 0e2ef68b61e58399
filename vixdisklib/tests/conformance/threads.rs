//! Threads of the caller: whatever they do, the library's rules hold.

use std::sync::Barrier;
use std::thread;

use vixdisklib::{OpenFlags, Sector, SectorRange};

use crate::subject::{contents, on_every_backend};
use crate::support::{flat_disk, pattern};

const THREADS: usize = 6;

#[test]
fn many_threads_connect_open_ask_and_close_at_once() {
    on_every_backend(|subject| {
        let model = pattern(300);
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let folder = tempfile::tempdir().expect("a folder");
                    let path = flat_disk(folder.path(), &model);
                    start.wait();
                    for _ in 0..3 {
                        let connection = subject.library.connect_local().expect("local");
                        let disk = connection
                            .open_disk(&path, OpenFlags::empty())
                            .expect("opens");
                        let whole = SectorRange::whole(disk.capacity());
                        assert!(disk.extents(whole).expect("in range").count() > 0);
                        assert!(contents(&disk) == model);
                        disk.close().expect("closes");
                    }
                });
            }
        });
    });
}

#[test]
fn a_disk_may_move_from_thread_to_thread() {
    on_every_backend(|subject| {
        let model = pattern(64);
        let (_folder, mut disk) = subject.disk(&vec![0; model.len()]);
        for (sector, bytes) in model.chunks(512).enumerate().step_by(9) {
            disk = thread::scope(|scope| {
                let work = move || {
                    disk.write_at(Sector::new(sector as u64), bytes)
                        .expect("writes");
                    disk
                };
                scope.spawn(work).join().expect("no panic")
            });
        }
        let found = contents(&disk);
        for sector in (0..64).step_by(9) {
            assert!(found[sector * 512..][..512] == model[sector * 512..][..512]);
        }
    });
}

#[test]
fn a_shared_disk_is_written_by_many_threads() {
    on_every_backend(|subject| {
        let model = pattern(600);
        let (folder, disk) = subject.disk(&vec![0; model.len()]);
        let disk = disk.into_shared().expect("shared");
        thread::scope(|scope| {
            for worker in 0..THREADS {
                let (disk, model) = (disk.clone(), &model);
                scope.spawn(move || {
                    for (sector, bytes) in model.chunks(512).enumerate() {
                        if sector % THREADS == worker {
                            disk.write_at(Sector::new(sector as u64), bytes)
                                .expect("writes");
                        }
                    }
                    disk.flush().expect("flushes");
                });
            }
        });
        disk.close().expect("closes");
        let file = std::fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent");
        assert!(file == model);
    });
}
