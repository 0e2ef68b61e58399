//! Extents: exact cover whatever the library offers, and nothing with data called a hole.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use vixdisklib::{ChunkSize, OpenFlags, SectorRange};

use crate::subject::{contents, on_every_backend, range};
use crate::support::pattern;

/// A capacity that is no multiple of a chunk.
const SECTORS: usize = 5 * 2048 + 77;

#[test]
fn extents_cover_the_disk_and_hide_no_data() {
    on_every_backend(|subject| {
        let (folder, disk) = subject.disk(&[0; 512]);
        drop(disk);
        // A file with holes: data in two places and in the last sector.
        let empty = vec![0; SECTORS * 512];
        let (folder, disk) = {
            drop(folder);
            let folder = tempfile::tempdir().expect("a folder");
            let path = crate::support::flat_disk(folder.path(), &empty);
            let file = File::create(folder.path().join("disk-flat.vmdk")).expect("a file");
            file.set_len(SECTORS as u64 * 512).expect("a length");
            for start in [0, 3 * 2048, SECTORS - 1] {
                file.write_all_at(&pattern(1), start as u64 * 512)
                    .expect("data");
            }
            let connection = subject.library.connect_local().expect("local");
            let disk = connection
                .open_disk(&path, Default::default())
                .expect("opens");
            (folder, disk)
        };
        let bytes = contents(&disk);
        let whole = SectorRange::whole(disk.capacity());
        for asked in [
            whole,
            range(1, 128),
            range(2047, 4200),
            range(SECTORS as u64 - 1, 1),
        ] {
            let mut at = asked.start();
            for extent in disk.extents(asked).expect("in range") {
                let extent = extent.expect("known");
                assert_eq!(extent.range.start(), at, "no gap, no overlap");
                at = extent.range.end();
                let (first, last) = (extent.range.start().get(), extent.range.end().get());
                let part = usize::try_from(first * 512).expect("fits")
                    ..usize::try_from(last * 512).expect("fits");
                assert!(
                    extent.allocated || bytes[part].iter().all(|byte| *byte == 0),
                    "{:?} hides data",
                    extent.range
                );
            }
            assert_eq!(at, asked.end());
        }
        let chunks = disk.chunks(whole, ChunkSize::MIN).expect("in range");
        let covered: u64 = chunks
            .map(|chunk| chunk.expect("known").range.count().get())
            .sum();
        assert_eq!(covered, SECTORS as u64);
        drop(folder);
    });
}

#[test]
fn what_a_library_does_not_know_counts_as_data() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&vec![0; 100 * 512]);
        let can = disk.capabilities();
        let extents: Vec<_> = disk
            .extents(SectorRange::whole(disk.capacity()))
            .expect("in range")
            .map(|extent| extent.expect("known"))
            .collect();
        if !can.exact_extents {
            // Smaller than a chunk, or no call at all.
            assert!(extents.iter().all(|extent| extent.allocated));
        }
        if subject.release == Some(6.5) {
            assert!(!can.allocated_blocks);
        }
    });
}

#[test]
fn what_lies_in_a_file_is_what_reading_gives() {
    let bytes = pattern(100);
    on_every_backend(|subject| {
        let (_folder, writable) = subject.disk(&bytes);
        assert!(
            writable.file_range(range(0, 100)).is_none(),
            "it may change"
        );
        drop(writable);
        let (_folder, disk) = subject.disk_with(&bytes, OpenFlags::READ_ONLY);
        let whole = disk.file_range(range(0, 100));
        // What lies on a server is in no file of this machine.
        let lies_here = !subject.is_remote();
        assert_eq!(
            whole.is_some(),
            disk.capabilities().file_ranges && lies_here
        );
        assert!(disk.file_range(range(0, 0)).is_none());
        assert!(disk.file_range(range(99, 2)).is_none(), "past the end");
        let parallel = disk.capabilities().parallel_io;
        let part = disk.file_range(range(7, 20));
        let disk = disk.into_shared().expect("shared");
        assert_eq!(
            disk.file_range(range(7, 20)).is_some(),
            whole.is_some() && parallel
        );
        drop(disk);
        // What was handed out outlives the disk.
        for (found, start, count) in [(whole, 0, 100), (part, 7, 20)] {
            let Some(found) = found else { continue };
            assert_eq!(found.length.get(), count as u64 * 512);
            let mut read = bytes[start * 512..][..count * 512].to_vec();
            read.fill(0);
            found
                .file
                .read_exact_at(&mut read, found.position.get())
                .expect("there");
            assert!(read == bytes[start * 512..][..read.len()]);
        }
    });
}
