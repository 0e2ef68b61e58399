//! Requests that complete inside their submission, later, out of order, and on other threads.

use vixdisklib::{AlignedBuf, ErrorKind, Sector, SectorCount};

use crate::subject::{contents, on_every_backend};
use crate::support::pattern;

const SECTORS: usize = 1000;

fn filled(bytes: &[u8]) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(SectorCount::new(bytes.len() as u64 / 512));
    buffer.copy_from_slice(bytes);
    buffer
}

fn empty(sectors: u64) -> AlignedBuf {
    AlignedBuf::new(SectorCount::new(sectors))
}

#[test]
fn what_is_waited_for_arrives_and_what_is_dropped_arrives_whole_or_not_at_all() {
    on_every_backend(|subject| {
        let model = pattern(SECTORS);
        let (_folder, disk) = subject.disk(&vec![0; model.len()]);
        let write =
            |index: usize, bytes| disk.write_async(Sector::new(8 * index as u64), filled(bytes));
        // Half is waited for in reverse, half is dropped: of that, what the library has not yet got is withdrawn.
        let (waited, dropped): (Vec<_>, Vec<_>) = model
            .chunks(8 * 512)
            .enumerate()
            .map(|(index, bytes)| (index, write(index, bytes)))
            .partition(|(index, _)| index % 2 == 0);
        drop(dropped);
        for (_, write) in waited.into_iter().rev() {
            write.wait().0.expect("written");
        }
        disk.settle().expect("settles");
        let found = contents(&disk);
        for (index, (found, bytes)) in found.chunks(8 * 512).zip(model.chunks(8 * 512)).enumerate()
        {
            let withdrawn = index % 2 == 1 && found.iter().all(|byte| *byte == 0);
            assert!(found == bytes || withdrawn, "request {index}");
        }
        for (index, bytes) in model.chunks(8 * 512).enumerate() {
            write(index, bytes).wait().0.expect("written");
        }

        let reads: Vec<_> = (0..125)
            .map(|index| disk.read_async(Sector::new(8 * index), empty(8)))
            .collect();
        for (read, bytes) in reads.into_iter().zip(model.chunks(8 * 512)) {
            let (done, buffer) = pollster::block_on(read);
            done.expect("read");
            assert!(buffer[..] == *bytes);
        }
    });
}

#[test]
fn blocking_calls_come_between_submitted_ones() {
    on_every_backend(|subject| {
        let mut model = pattern(SECTORS);
        let (_folder, disk) = subject.disk(&model);
        for round in 0..4_u8 {
            let first = disk.write_async(Sector::new(0), filled(&[round; 1024]));
            let second = disk.write_async(Sector::new(998), filled(&[round; 1024]));
            // Elsewhere on the disk, while those may be in flight.
            let mut between = vec![0; 8 * 512];
            disk.read_at(Sector::new(500), &mut between).expect("reads");
            assert!(between[..] == model[500 * 512..][..8 * 512]);
            disk.flush().expect("flushes");
            first.wait().0.expect("written");
            second.wait().0.expect("written");
            model[..1024].fill(round);
            model[998 * 512..].fill(round);
            assert!(contents(&disk) == model);
        }
    });
}

#[test]
fn a_bad_request_gives_its_buffer_back_and_harms_no_other() {
    on_every_backend(|subject| {
        let model = pattern(SECTORS);
        let (_folder, disk) = subject.disk(&model);
        let good = disk.read_async(Sector::ZERO, empty(8));
        let (done, buffer) = disk.read_async(Sector::new(999), empty(2)).wait();
        assert_eq!(
            done.expect_err("past the end").kind(),
            ErrorKind::OutOfRange
        );
        assert_eq!(buffer.sectors(), SectorCount::new(2));
        let (done, buffer) = good.wait();
        done.expect("read");
        assert!(buffer[..] == model[..8 * 512]);
    });
}

#[test]
fn a_shared_disk_completes_for_whoever_asked() {
    on_every_backend(|subject| {
        let model = pattern(SECTORS);
        let (_folder, disk) = subject.disk(&model);
        let disk = disk.into_shared().expect("shared");
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (disk, model) = (disk.clone(), &model);
                scope.spawn(move || {
                    for sector in (worker..SECTORS).step_by(16) {
                        let mut bytes = [0; 512];
                        disk.read_at(Sector::new(sector as u64), &mut bytes)
                            .expect("reads");
                        assert!(bytes[..] == model[sector * 512..][..512]);
                    }
                });
            }
        });
        disk.close().expect("closes");
    });
}
