//! What a disk says of itself.

use vixdisklib::{Adapter, Library, SectorCount};

use crate::subject::on_every_backend;
use crate::support::pattern;

#[test]
fn information_is_what_the_release_has() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(1000));
        let info = disk.info();
        assert_eq!(info.capacity, SectorCount::new(1000));
        assert_eq!((info.adapter, info.links), (Adapter::LsiLogic, 1));
        // Two members that structures before 7.0 are too short for.
        let sector = subject
            .release
            .is_none_or(|release| release >= 7.0)
            .then_some(512);
        assert_eq!(info.logical_sector_size, sector);
        assert_eq!(info.physical_sector_size, sector);
    });
}

#[test]
fn the_transport_is_the_one_that_was_chosen() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(8));
        let (modes, chosen) = match subject.release {
            None if subject.is_remote() => ("file:nbdssl:nbd", "nbdssl"),
            None => ("file:nbdssl:nbd", "file"),
            Some(_) => ("file:san:hotadd:nbdssl:nbd", "nbdssl"),
        };
        assert_eq!(subject.library.transport_modes().to_string(), modes);
        assert_eq!(disk.transport_mode().to_string(), chosen);
        let shared = disk.into_shared().expect("shared");
        assert_eq!(shared.transport_mode().to_string(), chosen);
    });
}

#[test]
fn capabilities_are_those_of_the_library() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(8));
        let can = disk.capabilities();
        assert!(can.async_io);
        if let Some(release) = subject.release {
            assert!(!can.write_zeroes && !can.trim && !can.exact_extents && !can.parallel_io);
            assert_eq!(can.allocated_blocks, release >= 6.7);
        }
    });
}

#[test]
fn metadata_is_read_by_either_protocol_of_sizes() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(8));
        let value = disk.metadata("virtualHWVersion").expect("read");
        assert_eq!(value.as_deref(), Some("14"));
        assert_eq!(disk.metadata("no.such.key").expect("asked"), None);
        let mut keys = disk.metadata_keys().expect("listed");
        keys.sort();
        assert_eq!(keys, ["adapterType", "virtualHWVersion"]);
    });
}

#[test]
fn a_library_is_live_once() {
    on_every_backend(|subject| {
        let again = Library::builder(subject.library.backend().clone()).open();
        let error = again.expect_err("is live");
        assert_eq!(error.kind(), vixdisklib::ErrorKind::Initialization);
    });
}
