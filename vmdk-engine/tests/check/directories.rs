//! Directories that are lost: those that the header does not find, and those that the medium does not give back.

use super::support::content;
use super::support::recording::{Failure, Recording};
use super::*;
use FindingKind::Directory;
use Severity::{Error, Fatal};

use std::io;

use super::support::image::MemoryGate;

/// Without its directory a disk is read through the redundant tables; what they have must not give way to what the
/// tables have that nobody could read.
#[test]
fn what_was_read_through_the_redundant_directory_stays() {
    let good = good();
    let lost = (56, vec![0, 0, 0, 0, 0, 0, 64, 0]);
    for (name, entry) in [("gone", 0), ("elsewhere", 128)] {
        for is_dirty in [false, true] {
            let image = with_entries(&good, &[(27, 5, entry)]);
            let dirty = (72, vec![u8::from(is_dirty)]);
            let world = world_of(patched(&image, &[lost.clone(), dirty]));
            let before = readable(&world, "disk.vmdk").unwrap();
            assert_eq!(before[640], Some(vec![2; SECTOR]), "{name}");
            let report = repaired(name, &world);
            assert!(faults(&report).contains(&(Error, Directory)), "{name}");
            assert!(readable(&world, "disk.vmdk").unwrap() == before, "{name}");
        }
    }
}

fn unreadable(sectors: std::ops::Range<u64>, image: Vec<u8>) -> Recording {
    let file = Recording::new(image);
    let bytes = sectors.start * 512..sectors.end * 512;
    file.fail(Failure::Reads(bytes, io::ErrorKind::Other));
    file
}

#[test]
fn directories_that_cannot_be_read_are_given_up_with_permission() {
    let good = good();
    for (name, sectors) in [("directory", 26..27), ("redundant directory", 21..22)] {
        let file = unreadable(sectors, good.clone());
        let gate = MemoryGate::default().with_recording("disk.vmdk", &file);
        let gate = std::sync::Arc::new(gate);
        let open = || Disk::open("disk.vmdk", &file.options()).unwrap();
        let before = content(&open());
        let report = check("disk.vmdk", &CheckOptions::new().gate(gate.clone())).unwrap();
        assert_eq!(faults(&report), [(Error, Directory)], "{name}");
        let options = RepairOptions::new().gate(gate);
        let report = repair("disk.vmdk", &options).unwrap();
        assert!(
            !report.is_clean() && file.bytes() == good,
            "{name}: not without permission"
        );
        let report = repair("disk.vmdk", &options.allow_loss(true)).unwrap();
        assert!(report.is_clean(), "{name}: {}", lines(&report));
        assert!(content(&open()) == before, "{name}");
        let writable = Disk::open("disk.vmdk", &file.options().writable(true)).unwrap();
        writable.close().unwrap();
    }
}

#[test]
fn a_directory_that_cannot_be_read_and_has_no_copy_is_named() {
    for (name, sectors, flags) in [("no copy", 26..27, 1), ("both", 21..27, 3)] {
        let image = patched(&good(), &[(8, vec![flags])]);
        let file = unreadable(sectors, image);
        let gate = MemoryGate::default().with_recording("disk.vmdk", &file);
        let options = RepairOptions::new().gate(std::sync::Arc::new(gate));
        let report = repair("disk.vmdk", &options.allow_loss(true)).unwrap();
        assert_eq!(faults(&report).last(), Some(&(Fatal, Directory)), "{name}");
        assert!(!report.is_clean(), "{name}");
        assert!(file.changes().is_empty(), "{name}: nothing was changed");
    }
}
