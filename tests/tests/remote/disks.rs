//! The same disks, bytes and extents as opened locally.

use std::path::Path;

use conformance::checksum;
use conformance::sample::{Content, Samples};
use vixdisklib::{Connection, Disk, SectorRange, Transport};
use vsphere_sim::Profile;

use crate::site::{Client, READ_ONLY, Site, content, data_runs, length, make, place, read_all};

/// Above this a checksum takes long.
const LARGE: u64 = 1 << 16;

/// What must be the same, wherever a disk is.
fn compare(remote: &Disk, local: &Disk, name: &str) {
    assert_eq!(remote.capacity(), local.capacity(), "{name}");
    assert!(remote.is_read_only(), "{name}");
    let piece = 1 << 20;
    let bytes = read_all(local, piece).expect("it is read locally");
    let found = read_all(remote, piece).expect("it is read");
    assert_eq!(checksum::bytes(&found), checksum::bytes(&bytes), "{name}");

    let mut runs = data_runs(local).expect("a local map");
    let whole_chunks = local.capacity().get() / 128 * 128;
    // What the last whole chunk leaves cannot be asked for, and counts as data.
    runs.retain(|run| run.start().get() < whole_chunks);
    let mut found = data_runs(remote).expect("a remote map");
    if whole_chunks < local.capacity().get() {
        let last = found.last_mut().expect("the end of the disk is data");
        assert_eq!(last.end().get(), local.capacity().get(), "{name}");
        let rest = SectorRange::between(last.start(), vixdisklib::Sector::new(whole_chunks));
        match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => *last = rest,
            None => drop(found.pop()),
        }
        if let Some(last) = runs.last_mut()
            && last.end().get() > whole_chunks
        {
            let end = vixdisklib::Sector::new(whole_chunks);
            *last = SectorRange::between(last.start(), end).expect("it begins before");
        }
    }
    assert_eq!(found, runs, "{name}");

    let (here, there) = (local.info(), remote.info());
    assert_eq!(there.bios_geometry, here.bios_geometry, "{name}");
    assert_eq!(there.adapter, here.adapter, "{name}");
    for key in ["adapterType", "uuid", "geometry.cylinders", "nonsense"] {
        let read = |disk: &Disk| disk.metadata(key).ok().flatten();
        assert_eq!(read(remote), read(local), "{name}: {key}");
    }
}

fn open_both(connections: &[Connection; 2], folder: &Path, disk: &str) -> [Disk; 2] {
    let [remote, local] = connections;
    [
        remote
            .open_disk(place(disk), READ_ONLY)
            .unwrap_or_else(|error| panic!("{disk}: {error} {:?}", error.log_lines())),
        local
            .open_disk(folder.join(disk), READ_ONLY)
            .expect("it opens locally"),
    ]
}

#[test]
fn disks_of_other_programs_are_the_same_through_a_host() {
    let Some(samples) = Samples::copy() else {
        return;
    };
    let fits = |sectors: Option<u64>| sectors.is_some_and(|sectors| sectors <= LARGE);
    let listed: Vec<_> = samples
        .list()
        .iter()
        .filter(|sample| fits(sample.sectors) && matches!(sample.content, Content::Checksum(_)))
        .collect();
    let names: Vec<String> = listed
        .iter()
        .map(|sample| {
            let path = sample.disk.strip_prefix(samples.folder());
            path.expect("it is in there").display().to_string()
        })
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    let site = Site::of(Profile::Esxi8Vcenter, samples.folder(), &names);
    let client = Client::start();
    let connections = [
        client.connect(&site, Transport::NBDSSL).expect("connected"),
        client.library.connect_local().expect("local"),
    ];
    for (sample, name) in listed.iter().zip(&names) {
        let [remote, local] = open_both(&connections, samples.folder(), name);
        let bytes = read_all(&remote, 1 << 20).expect("it is read");
        let sum = Content::Checksum(checksum::bytes(&bytes));
        assert_eq!(sum, sample.content, "{name}");
        compare(&remote, &local, name);
    }
}

#[test]
fn every_writable_kind_and_a_chain_are_the_same_through_a_host() {
    use vmdk_engine::{CreateOptions, DiskKind, Sector, SectorCount, unwatched};

    let folder = tempfile::tempdir().expect("there is room");
    let bytes = content((3 << 20) + 5 * 512, 11);
    make(&folder.path().join("sparse.vmdk"), &bytes);
    let mut names = vec!["sparse.vmdk".to_owned()];
    for (name, kind) in [
        ("flat.vmdk", DiskKind::MonolithicFlat),
        ("split.vmdk", DiskKind::SplitSparse),
        ("thick.vmdk", DiskKind::VmfsFlat),
    ] {
        let capacity = SectorCount::new(bytes.len() as u64 / 512);
        let path = folder.path().join(name);
        let options = CreateOptions::new(kind, capacity);
        let disk = vmdk_engine::Disk::create(&path, &options, &mut unwatched).expect(name);
        disk.write_at(Sector::new(0), &bytes)
            .expect("it is written");
        disk.close().expect("it is closed");
        names.push(name.to_owned());
    }
    // A child with a grain of its own, whose map goes down to its parent.
    let parent = folder.path().join("sparse.vmdk");
    let child = folder.path().join("child.vmdk");
    let opened = vmdk_engine::Disk::open(&parent, &vmdk_engine::OpenOptions::new());
    opened
        .expect("it opens")
        .create_child(&child, DiskKind::MonolithicSparse, &mut unwatched)
        .expect("it is made");
    let options = vmdk_engine::OpenOptions::new().writable(true);
    let disk = vmdk_engine::Disk::open(&child, &options).expect("it opens");
    disk.write_at(Sector::new(3 * 128), &[9; 4096])
        .expect("it is written");
    disk.close().expect("it is closed");
    names.retain(|name| name != "sparse.vmdk");
    names.push("child.vmdk".to_owned());

    for profile in Profile::ALL {
        let site = Site::of(profile, folder.path(), &names);
        let client = Client::start();
        let connections = [
            client.connect(&site, Transport::NBD).expect("connected"),
            client.library.connect_local().expect("local"),
        ];
        for name in &names {
            let [remote, local] = open_both(&connections, folder.path(), name);
            assert_eq!(remote.transport_mode(), &Transport::NBD);
            assert_eq!(length(remote.capacity()), bytes.len());
            assert_eq!(remote.info().links, local.info().links, "{name}");
            compare(&remote, &local, name);
        }
    }
}
