//! Stream-optimised disks: every record is verified, and the tail is made anew of the records.

use super::support::image::{StreamImage, put_entry};
use super::support::{Numbers, content};
use super::*;
use FindingKind::Stream;
use Severity::{Error, Fatal};

fn source() -> Vec<u8> {
    let mut source = vec![0; 70_000 * SECTOR];
    source[..65536].fill(3);
    Numbers::new(3).fill(&mut source[65536..400_000]);
    source[66_000 * SECTOR..66_100 * SECTOR].fill(9);
    source
}

fn read(world: &World) -> Vec<u8> {
    content(&Disk::open("disk.vmdk", &world.options()).unwrap())
}

fn at(image: &StreamImage, grain: usize) -> usize {
    usize::try_from(image.records[grain]).unwrap() * SECTOR
}

#[test]
fn a_good_stream_is_clean() {
    let image = StreamImage::build(&source(), true);
    let world = world_of(image.bytes);
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    assert_eq!(report.findings(), []);
    let empty = world_of(StreamImage::build(&vec![0; 300 * SECTOR], true).bytes);
    let report = check("disk.vmdk", &check_options(&empty)).unwrap();
    assert_eq!(report.findings(), []);
}

/// Tables, directory and footer say nothing that the records do not say.
#[test]
fn a_damaged_tail_is_made_anew() {
    let source = source();
    let image = StreamImage::build(&source, true);
    let good = &image.bytes;
    let end = good.len();
    let directory = usize::try_from(image.directory).unwrap() * SECTOR;
    let cut = |length: usize| good[..length].to_vec();
    let mut behind = good.clone();
    behind.extend([0; 65536]);
    let mut table = good.clone();
    let first = super::support::image::entry(good, image.directory, 0);
    put_entry(&mut table, u64::from(first), 1, 128);
    let mut shared = good.clone();
    put_entry(&mut shared, image.directory, 1, first);
    for (name, bytes, severity) in [
        ("one table for all grains", shared, Error),
        ("end of stream cut off", cut(end - SECTOR), Fatal),
        ("footer cut off", cut(end - 3 * SECTOR), Fatal),
        ("footer cut in two", cut(end - SECTOR - 100), Fatal),
        (
            "footer and its marker cut off",
            cut(directory + 2 * SECTOR),
            Fatal,
        ),
        ("bytes behind the end", behind, Fatal),
        (
            "footer overwritten",
            patched(good, &[(end - 2 * SECTOR, vec![0xee; 100])]),
            Fatal,
        ),
        ("wrong table", table, Error),
        (
            "wrong directory",
            patched(good, &[(directory, vec![1, 0, 0, 0])]),
            Error,
        ),
    ] {
        let world = world_of(bytes);
        let found = check("disk.vmdk", &check_options(&world)).unwrap();
        assert!(
            faults(&found).contains(&(severity, Stream)),
            "{name}: {}",
            lines(&found)
        );
        let report = repair("disk.vmdk", &repair_options(&world)).unwrap();
        assert!(report.is_clean(), "{name}: {}", lines(&report));
        assert_sound(name, &world);
        assert!(read(&world) == source, "{name}");
    }
}

/// What is cut off in the midst of its records is not whole, and is closed only with permission.
#[test]
fn a_cut_stream_is_closed_with_permission() {
    let source = source();
    let image = StreamImage::build(&source, true);
    let last = at(&image, 66_000 / 128);
    let directory = usize::try_from(image.directory).unwrap() * SECTOR;
    for length in [
        directory - SECTOR,
        last + 100,
        last,
        at(&image, 4) + 5000,
        at(&image, 4) + 7,
        at(&image, 0) + 3,
    ] {
        let world = world_of(image.bytes[..length].to_vec());
        let name = format!("cut at {length}");
        let report = refused(&name, &world);
        assert_eq!(
            faults(&report),
            [(Fatal, Stream)],
            "{name}: {}",
            lines(&report)
        );
        assert!(matches!(
            report.findings()[0].repair,
            Repair::NeedsPermission(_)
        ));
        let options = repair_options(&world).allow_loss(true);
        let report = repair("disk.vmdk", &options).unwrap();
        assert!(report.is_clean(), "{name}: {}", lines(&report));
        assert_sound(&name, &world);
        let mut expected = source.clone();
        for (grain, record) in image.records.iter().enumerate() {
            let is_lost = |next: &usize| *next >= length;
            // The record of a grain ends where the next one begins.
            let start = usize::try_from(*record).unwrap() * SECTOR;
            let size = 12
                + usize::try_from(u32::from_le_bytes(
                    image.bytes[start + 8..start + 12].try_into().unwrap(),
                ))
                .unwrap();
            if is_lost(&(start + size - 1)) {
                let end = ((grain + 1) * 65536).min(expected.len());
                expected[grain * 65536..end].fill(0);
            }
        }
        assert!(read(&world) == expected, "{name}");
    }
}

/// Records that are damaged cannot be made good, and are named.
#[test]
fn damaged_records_are_named() {
    let image = StreamImage::build(&source(), true);
    let record = at(&image, 2);
    for (name, patch) in [
        ("data", (record + 300, vec![0; 64])),
        ("size", (record + 8, 0x7fff_ffff_u32.to_le_bytes().to_vec())),
        ("other grain", (record, 129_u64.to_le_bytes().to_vec())),
        (
            "marker of no kind",
            (record + 8, vec![0, 0, 0, 0, 99, 0, 0, 0]),
        ),
    ] {
        let world = world_of(patched(&image.bytes, &[patch]));
        let report = refused(name, &world);
        assert!(faults(&report).contains(&(Error, Stream)), "{name}");
        let grain = vmdk_engine::Sector::new(2 * 128);
        let names_it = |finding: &vmdk_engine::Finding| {
            finding
                .sectors
                .is_some_and(|sectors| sectors.contains(grain))
        };
        assert!(
            report.findings().iter().any(names_it),
            "{name}: {}",
            lines(&report)
        );
    }
    // The same record twice.
    let world = world_of(patched(
        &image.bytes,
        &[(record, 128_u64.to_le_bytes().to_vec())],
    ));
    let report = refused("twice", &world);
    assert_eq!(faults(&report), [(Error, Stream)]);
}
