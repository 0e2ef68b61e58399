//! Reading and writing.

use std::fs;

use vixdisklib::{ByteLen, ErrorKind, OpenFlags, Sector, ZeroMode};

use crate::subject::{contents, on_every_backend, range};
use crate::support::pattern;

#[test]
fn what_is_written_is_read_and_stays() {
    on_every_backend(|subject| {
        let mut model = pattern(1001);
        let (folder, disk) = subject.disk(&model);
        assert_eq!(contents(&disk), model);
        for (start, count) in [(0, 1), (1000, 1), (7, 130), (500, 333)] {
            let bytes: Vec<u8> = model[..count * 512].iter().rev().copied().collect();
            disk.write_at(Sector::new(start as u64), &bytes)
                .expect("writes");
            model[start * 512..][..count * 512].copy_from_slice(&bytes);
        }
        assert!(contents(&disk) == model);
        disk.flush().expect("flushes");
        disk.close().expect("closes");
        let file = fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent");
        assert!(file == model);
    });
}

#[test]
fn requests_may_be_longer_than_the_library_takes() {
    on_every_backend(|subject| {
        // Two pieces of 2 MiB, and a sector.
        let model = pattern(2 * 4096 + 1);
        let (_folder, disk) = subject.disk(&vec![0; model.len()]);
        disk.write_at(Sector::ZERO, &model).expect("writes");
        assert!(contents(&disk) == model);
    });
}

/// VDDK's HotAdd reads into and writes from whole sectors of memory then: rule `unaligned-buffer` of the rule-checking
/// library.
#[test]
fn a_disk_without_cache_takes_memory_wherever_it_lies() {
    on_every_backend(|subject| {
        // Two pieces, the second of them short.
        let model = pattern(4096 + 9);
        let (_folder, disk) = subject.disk_with(&vec![0; model.len()], OpenFlags::UNBUFFERED);
        let mut memory = vec![0; model.len() + 8192];
        for shift in [1, 512, 4095] {
            let begin = memory.as_ptr().align_offset(4096) + shift;
            let buf = &mut memory[begin..][..model.len()];
            buf.copy_from_slice(&model);
            buf.rotate_left(shift);
            disk.write_at(Sector::ZERO, buf).expect("writes");
            let written = buf.to_vec();
            buf.fill(0);
            disk.read_at(Sector::ZERO, buf).expect("reads");
            assert!(*buf == written, "{shift}");
            // From inside of the disk, and not a byte more than that.
            disk.read_at(Sector::new(7), &mut buf[3..][..512])
                .expect("reads");
            assert!(buf[..3] == written[..3] && buf[3 + 512..] == written[3 + 512..]);
            assert!(buf[3..][..512] == written[7 * 512..][..512]);
        }
        disk.write_all_at(ByteLen::new(700), b"some bytes")
            .expect("writes");
        let mut some = [0; 10];
        disk.read_exact_at(ByteLen::new(700), &mut some)
            .expect("reads");
        assert_eq!(&some, b"some bytes");
        disk.close().expect("closes");
    });
}

#[test]
fn zeroes_are_zeroes() {
    on_every_backend(|subject| {
        let mut model = pattern(400);
        let (_folder, disk) = subject.disk(&model);
        for (start, count, mode) in [
            (3, 200, ZeroMode::MayFree),
            (399, 1, ZeroMode::MustAllocate),
        ] {
            disk.write_zeroes(range(start, count), mode)
                .expect("zeroes");
            let bytes = |sectors: u64| usize::try_from(sectors * 512).expect("fits");
            model[bytes(start)..][..bytes(count)].fill(0);
        }
        assert!(contents(&disk) == model);
        let can = disk.capabilities();
        if !can.write_zeroes {
            let fast = disk.write_zeroes(range(0, 1), ZeroMode::FastMayFree);
            assert_eq!(fast.expect_err("not faster").kind(), ErrorKind::Unsupported);
        }
        if !can.trim {
            let trimmed = disk.trim(range(0, 1));
            assert_eq!(trimmed.expect_err("no call").kind(), ErrorKind::Unsupported);
        }
        assert!(contents(&disk) == model);
    });
}

#[test]
fn a_disk_that_is_only_read_is_not_written() {
    on_every_backend(|subject| {
        let model = pattern(16);
        let (folder, disk) = subject.disk(&model);
        disk.close().expect("closes");
        let connection = subject.library.connect_local().expect("local");
        let path = folder.path().join("disk.vmdk");
        let open = || {
            connection
                .open_disk(&path, OpenFlags::READ_ONLY)
                .expect("opens")
        };
        // Two of them, side by side.
        let (one, other) = (open(), open());
        let error = one.write_at(Sector::ZERO, &[1; 512]).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(contents(&one) == model && contents(&other) == model);
    });
}
