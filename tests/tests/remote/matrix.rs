//! Every server, transport and compression, reading and writing in blocking and in asynchronous calls.

use conformance::checksum;
use conformance::sample::Samples;
use vixdisklib::{OpenFlags, Sector, Transport};
use vsphere_sim::{Event, Profile};

use crate::site::{
    Client, READ_ONLY, Site, content, local, place, read_all, read_all_async, write_all_async,
};

/// Flags, and the number of the method in messages.
const COMPRESSIONS: [(OpenFlags, u32); 4] = [
    (OpenFlags::empty(), 0),
    (OpenFlags::COMPRESSION_ZLIB, 1),
    (OpenFlags::COMPRESSION_FASTLZ, 2),
    (OpenFlags::COMPRESSION_SKIPZ, 3),
];

/// So much of a disk is enough: not a multiple of anything.
const BYTES: usize = (1 << 20) + 3 * 512;

/// What a real disk holds where its file system begins, where the samples are; else what this package makes up.
fn real() -> Vec<u8> {
    let Some(samples) = Samples::copy() else {
        return content(BYTES, 1);
    };
    let mut bytes = local(&samples.named("dfvfs/ext2.vmdk").disk);
    bytes.truncate(BYTES);
    bytes
}

fn every_combination(profile: Profile) {
    let first = real();
    let second: Vec<u8> = first.iter().rev().copied().collect();
    let site = Site::new(profile, &first);
    let client = Client::start();
    let disk_name = place("disk.vmdk");
    for transport in [Transport::NBD, Transport::NBDSSL] {
        let connection = client.connect(&site, transport.clone()).expect("connected");
        for (flags, method) in COMPRESSIONS {
            let what = format!("{profile} {transport} {method}");
            // What is on the disk, and what is written over it.
            let (old, new) = (site.content("disk.vmdk"), &second);
            let new = if old == second { &first } else { new };

            let disk = connection
                .open_disk(&disk_name, READ_ONLY | flags)
                .expect("it opens");
            assert_eq!(disk.transport_mode(), &transport);
            let sum = checksum::bytes(&old);
            let read = read_all(&disk, 500 * 512).expect("it is read");
            assert_eq!(checksum::bytes(&read), sum, "{what}: read");
            let read = read_all_async(&disk, 200 * 512).expect("it is read");
            assert_eq!(checksum::bytes(&read), sum, "{what}: asynchronous read");
            let error = disk.write_at(Sector::ZERO, &[0; 512]).expect_err("refused");
            assert_eq!(error.kind(), vixdisklib::ErrorKind::ReadOnly, "{what}");
            disk.close().expect("it is closed");

            let disk = connection.open_disk(&disk_name, flags).expect("it opens");
            let middle = new.len() / 2 / 512 * 512;
            disk.write_at(Sector::ZERO, &new[..middle])
                .expect("it is written");
            disk.close().expect("it is closed");
            let mut expected = old.clone();
            expected[..middle].copy_from_slice(&new[..middle]);
            let sum = checksum::bytes(&expected);
            let found = site.content("disk.vmdk");
            assert_eq!(checksum::bytes(&found), sum, "{what}: write");

            let disk = connection.open_disk(&disk_name, flags).expect("it opens");
            write_all_async(&disk, new, 200 * 512).expect("it is written");
            disk.flush().expect("it is flushed");
            let read = read_all(&disk, 1 << 20).expect("it is read");
            disk.close().expect("it is closed");
            let sum = checksum::bytes(new);
            assert_eq!(checksum::bytes(&read), sum, "{what}: read back");
            let found = site.content("disk.vmdk");
            assert_eq!(checksum::bytes(&found), sum, "{what}: asynchronous write");

            // The method was really asked for, and used where it makes anything smaller.
            let reads = site.count(
                |event| matches!(event, Event::Read { compression, .. } if *compression == method),
            );
            let writes = site.count(
                |event| matches!(event, Event::Written { compression, .. } if *compression == method),
            );
            assert!(reads > 10 && writes > 0, "{what}: {reads}, {writes}");
        }
    }
}

#[test]
fn vcenter_8() {
    every_combination(Profile::Esxi8Vcenter);
}

#[test]
fn esxi_8() {
    every_combination(Profile::Esxi8Direct);
}

#[test]
fn esxi_7() {
    every_combination(Profile::Esxi7Direct);
}
