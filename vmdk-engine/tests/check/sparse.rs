//! Hosted sparse extents: header, directories, tables, grains, length.

use super::support::image::{SparseImage, child_of, descriptor, entry};
use super::*;
use FindingKind::{
    Alignment, BehindCapacity, CopiesDiffer, Descriptor, Directory, DirectoryEntry, FileCut,
    FileLength, Header, Overhead, Overlap, TableEntry, UnclaimedZeros, UncleanShutdown,
    UnusedSpace,
};
use Severity::{Error, Fatal, Warning};

fn u32_at(position: usize, value: u32) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

fn u64_at(position: usize, value: u64) -> Patch {
    (position, value.to_le_bytes().to_vec())
}

#[test]
fn a_good_disk_is_clean_and_stays_as_it_is() {
    let world = world_of(good());
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    assert_eq!((report.findings().len(), report.worst()), (0, None));
    let before = files(&world);
    let report = repair("disk.vmdk", &repair_options(&world)).unwrap();
    assert_eq!(report.findings(), []);
    assert!(files(&world) == before);
    assert_eq!(world.len(), 0, "a repair of nothing writes nothing");
}

#[test]
fn headers_that_nothing_can_be_made_of() {
    let good = good();
    for (name, patch) in [
        ("magic in the other case", (0, b"kdmv".to_vec())),
        ("version", u32_at(4, 9)),
        ("incompatible flag", u32_at(8, 0x0080_0003)),
        ("newline bytes", (73, b"\n\n\r\n".to_vec())),
        ("grain size", u64_at(20, 100)),
        ("table size", u32_at(44, 500)),
        ("capacity", u64_at(12, 1 << 55)),
    ] {
        let world = world_of(patched(&good, &[patch]));
        let report = refused(name, &world);
        assert_eq!(faults(&report), [(Fatal, Header)], "{name}");
        assert!(matches!(
            report.findings()[0].repair,
            Repair::NotRepairable(_)
        ));
    }
    let both = [u64_at(48, 1 << 30), u64_at(56, 1 << 30)];
    assert_eq!(
        faults(&refused("no directory", &world_of(patched(&good, &both)))),
        [(Fatal, Header)]
    );
}

#[test]
fn an_unclean_shutdown_is_a_note_that_goes_last() {
    let world = world_of(patched(&good(), &[(72, vec![1])]));
    let report = repaired("dirty", &world);
    assert_eq!(report.findings()[0].kind, UncleanShutdown);
    assert_eq!(report.worst(), Some(Severity::Info));
    assert!(world.bytes("disk.vmdk") == good());
}

#[test]
fn damage_that_is_repaired_to_what_the_disk_was() {
    let good = good();
    let entries = |list: &[(u64, u64, u32)]| with_entries(&good, list);
    for (name, image, expected) in [
        (
            "no directory",
            patched(&good, &[u64_at(56, 0)]),
            vec![(Error, Directory)],
        ),
        (
            "directory behind the end",
            patched(&good, &[u64_at(56, 1 << 40)]),
            vec![(Error, Directory)],
        ),
        (
            "directory at the end, as in a stream",
            patched(&good, &[u64_at(56, u64::MAX)]),
            vec![(Error, Directory)],
        ),
        (
            "copy behind the end",
            patched(&good, &[u64_at(48, 1 << 30)]),
            vec![(Error, Directory)],
        ),
        (
            "overhead 0",
            patched(&good, &[u64_at(64, 0)]),
            vec![(Error, Overhead)],
        ),
        (
            "overhead behind the end",
            patched(&good, &[u64_at(64, 1 << 30)]),
            vec![(Error, Overhead)],
        ),
        (
            "descriptor over the directory",
            patched(&good, &[u64_at(36, 21)]),
            vec![(Error, Descriptor)],
        ),
        (
            "grain behind the end",
            entries(&[(27, 5, 1 << 20)]),
            vec![(Error, TableEntry)],
        ),
        (
            "grain in the text",
            entries(&[(27, 0, 3)]),
            vec![(Error, TableEntry)],
        ),
        (
            "both grains in the tables",
            entries(&[(27, 0, 22), (27, 5, 23)]),
            vec![(Error, TableEntry)],
        ),
        (
            "an unused entry",
            entries(&[(27, 9, 7)]),
            vec![(Error, TableEntry)],
        ),
        (
            "a grain over another",
            entries(&[(27, 0, 256)]),
            vec![(Error, Overlap)],
        ),
        (
            "a grain half over another",
            entries(&[(27, 5, 190)]),
            vec![(Error, TableEntry)],
        ),
        (
            "an entry lost",
            entries(&[(27, 5, 0)]),
            vec![(Error, CopiesDiffer)],
        ),
        (
            "an entry of the copy lost",
            entries(&[(22, 5, 0)]),
            vec![(Error, CopiesDiffer)],
        ),
        (
            "an entry of the copy wrong",
            entries(&[(22, 0, 1 << 21)]),
            vec![(Error, CopiesDiffer)],
        ),
        (
            "a grain behind the capacity",
            entries(&[(27, 16, 128), (22, 17, 9)]),
            vec![(Warning, BehindCapacity)],
        ),
        (
            "unclaimed zeros",
            entries(&[(27, 3, 1), (22, 3, 1)]),
            vec![(Warning, UnclaimedZeros)],
        ),
    ] {
        let world = world_of(image);
        let report = repaired_to(name, &world, Some(&world_of(good.clone())));
        let kinds = |list: &[(Severity, FindingKind)]| list.to_vec();
        // A grain that takes the place of another by its copy is found as an overlap, or as an entry: both are right.
        let found = faults(&report);
        assert!(
            found == kinds(&expected) || name.starts_with("a grain"),
            "{name}: {found:?}\n{}",
            lines(&report)
        );
        assert!(!found.is_empty(), "{name}");
        let now = world.bytes("disk.vmdk");
        let differs = now.iter().zip(&good).position(|(one, other)| one != other);
        assert_eq!((now.len(), differs), (good.len(), None), "{name}");
    }
}

#[test]
fn an_overhead_that_nothing_lies_behind_ends_in_the_file() {
    // Tables and nothing else, and 31 is no multiple of a grain.
    let tables = &SparseImage::monolithic(2048).build()[..31 * SECTOR];
    let world = world_of(patched(tables, &[u64_at(64, 0)]));
    let report = repaired("no grains", &world);
    assert_eq!(faults(&report), [(Error, Overhead)]);
    Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
}

/// Where the redundant table is asked for a grain, readers cannot see that what it names is not the grain's alone.
#[test]
fn what_was_read_through_the_redundant_table_stays() {
    for (name, entries) in [
        ("another grain's", vec![(27, 0, 1 << 20), (22, 0, 256)]),
        (
            "in a table over another",
            vec![(27, 0, 1 << 20), (21, 0, 28), (28, 0, 256)],
        ),
    ] {
        let world = world_of(with_entries(&good(), &entries));
        let before = readable(&world, "disk.vmdk").unwrap();
        assert_eq!(before[0], Some(vec![2; SECTOR]), "{name}");
        let report = repaired(name, &world);
        assert!(faults(&report).contains(&(Error, TableEntry)), "{name}");
        assert!(readable(&world, "disk.vmdk") == Some(before), "{name}");
    }
}

/// Readers make of it what they can; no shorter text is apart from the directory.
#[test]
fn a_directory_where_the_text_begins() {
    let image = SparseImage::monolithic(2048).build();
    let world = world_of(patched(&image, &[u64_at(56, 1)]));
    Disk::open("disk.vmdk", &world.options()).unwrap();
    let report = refused("text", &world);
    assert_eq!(report.worst(), Some(Error), "{}", lines(&report));
    assert_eq!(faults(&report)[0], (Error, Descriptor));
    // Nor is it fatal in a parent.
    let text = SparseImage::monolithic(2048).text;
    let text = child_of(&text, 2, 0x1f2e_3d4c, "base.vmdk");
    let child = SparseImage {
        text,
        ..SparseImage::monolithic(2048)
    };
    let world = world_of(child.build()).with("base.vmdk", world.bytes("disk.vmdk"));
    Disk::open("disk.vmdk", &world.options()).unwrap();
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    assert_eq!(report.worst(), Some(Error), "{}", lines(&report));
}

/// Where the usual place of a directory holds none, the other one does alone.
#[test]
fn a_directory_that_is_nowhere_to_be_found() {
    let good = good();
    let lost = |field| {
        let mut image = patched(&good, &[u64_at(field, 1 << 30)]);
        let sector = if field == 56 { 26 } else { 21 };
        put(&mut image, sector * SECTOR, &[0xee; SECTOR]);
        image
    };
    for field in [56, 48] {
        let world = world_of(lost(field));
        let report = repaired("lost", &world);
        assert_eq!(faults(&report), [(Error, Directory)]);
        let now = world.bytes("disk.vmdk");
        assert_eq!(now[8], 1, "redundancy is no longer claimed");
        assert_eq!(u64::from(now[56]), if field == 56 { 21 } else { 26 });
    }
    // The claim alone.
    for redundant in [0, 26] {
        let world = world_of(patched(&good, &[u64_at(48, redundant)]));
        assert_eq!(faults(&repaired("claim", &world)), [(Warning, Directory)]);
    }
}

/// Tables that get another place: nothing points to the old one any more.
#[test]
fn tables_get_places_of_their_own() {
    let good = good();
    let disk = readable(&world_of(good.clone()), "disk.vmdk");
    for (name, entries) in [
        ("table behind the end", vec![(26, 0, 1 << 20)]),
        ("table in the text", vec![(26, 0, 2)]),
        ("table missing", vec![(26, 0, 0)]),
        ("copy behind the end", vec![(21, 0, 1 << 20)]),
        ("copy missing", vec![(21, 0, 0)]),
        ("copy is the table itself", vec![(21, 0, 27)]),
        ("copy half over the table", vec![(21, 0, 28)]),
    ] {
        let world = world_of(with_entries(&good, &entries));
        let report = repaired_to(name, &world, Some(&world_of(good.clone())));
        assert!(
            faults(&report).contains(&(Error, DirectoryEntry)),
            "{name}: {}",
            lines(&report)
        );
        assert!(readable(&world, "disk.vmdk") == disk, "{name}");
        let now = world.bytes("disk.vmdk");
        assert_eq!(
            now.len(),
            good.len() + 128 * SECTOR,
            "{name}: one more table"
        );
    }
}

/// Two tables in one place cannot both be right there.
#[test]
fn two_tables_in_one_place() {
    let image = SparseImage::monolithic(2 * 65536);
    let world = world_of(image.build());
    let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
    for (start, byte) in [(0, 1), (65536, 2)] {
        disk.write_at(Sector::new(start), &[byte; SECTOR]).unwrap();
    }
    disk.close().unwrap();
    let good = world.bytes("disk.vmdk");
    let (directory, copy) = (image.directory(), image.redundant_directory());
    let first = u32::try_from(image.first_table()).unwrap();
    let sector_of = |world: &World, sector| {
        let disk = Disk::open("disk.vmdk", &world.options()).unwrap();
        let mut bytes = [0xee; SECTOR];
        disk.read_at(Sector::new(sector), &mut bytes).unwrap();
        bytes
    };
    for damaged in [first, first + 2] {
        let world = world_of(with_entries(&good, &[(directory, 1, damaged)]));
        let report = repair("disk.vmdk", &repair_options(&world)).unwrap();
        assert!(report.is_clean(), "{}", lines(&report));
        assert!(faults(&report).contains(&(Error, DirectoryEntry)));
        assert_sound("two tables", &world);
        assert_eq!(sector_of(&world, 0), [1; SECTOR]);
        assert_eq!(sector_of(&world, 65536), [2; SECTOR]);
    }
    // Without a copy both keep what they show, each in its own place.
    let mut image = with_entries(&good, &[(directory, 1, first), (copy, 0, 0), (copy, 1, 0)]);
    put(&mut image, 8, &1_u32.to_le_bytes());
    let world = world_of(image);
    let report = repaired("two tables without a copy", &world);
    assert!(
        faults(&report).contains(&(Error, Overlap)),
        "{}",
        lines(&report)
    );
    assert_eq!(sector_of(&world, 65536), [1; SECTOR]);
}

/// A table that is nowhere is only given up with permission.
#[test]
fn a_table_is_given_up_only_with_permission() {
    let image = with_entries(&good(), &[(26, 0, 1 << 20), (21, 0, 1 << 21)]);
    let world = world_of(image);
    let report = refused("both tables lost", &world);
    assert_eq!(faults(&report), [(Error, DirectoryEntry)]);
    let finding = &report.findings()[0];
    assert!(
        matches!(finding.repair, Repair::NeedsPermission(_)),
        "{finding}"
    );
    assert_eq!(finding.sectors.unwrap().count().get(), 2048);
    let options = repair_options(&world).allow_loss(true);
    let report = repair("disk.vmdk", &options).unwrap();
    assert!(report.is_clean(), "{}", lines(&report));
    assert_sound("given up", &world);
    let now = world.bytes("disk.vmdk");
    assert_eq!((entry(&now, 26, 0), entry(&now, 21, 0)), (0, 0));
}

/// What only the redundant metadata has is taken from there, unless a writer stopped in the midst of it.
#[test]
fn unfinished_changes_are_not_damage() {
    let good = good();
    let dirty = |entries: &[(u64, u64, u32)]| {
        world_of(patched(&with_entries(&good, entries), &[(72, vec![1])]))
    };
    let world = dirty(&[(27, 5, 0)]);
    let report = repaired("freed, but not in the copy yet", &world);
    assert_eq!(faults(&report), []);
    assert_eq!(entry(&world.bytes("disk.vmdk"), 22, 5), 0);
    let world = dirty(&[(26, 0, 0)]);
    let report = repaired("made, but not in the directory yet", &world);
    assert_eq!(faults(&report), []);
    assert_eq!(entry(&world.bytes("disk.vmdk"), 21, 0), 0);
}

/// Without a better place in the copy, a grain whose place another has gets its own.
#[test]
fn grains_that_share_a_place_get_places_of_their_own() {
    for (name, first, second) in [
        ("one place", 128, 128),
        ("one into the next", 128, 200),
        ("one into the one before", 200, 128),
    ] {
        let mut image = good();
        for table in [22, 27] {
            put_entry(&mut image, table, 7, first);
            put_entry(&mut image, table, 9, second);
        }
        let length = image.len();
        let world = world_of(image);
        let report = repaired(name, &world);
        assert_eq!(faults(&report), [(Error, Overlap)], "{name}");
        assert!(world.bytes("disk.vmdk").len() > length);
    }
    // A grain in a table that lies among the grains.
    let mut image = good();
    let table = image[27 * SECTOR..31 * SECTOR].to_vec();
    let end = u32::try_from(image.len() / SECTOR).unwrap();
    image.extend(table);
    image.resize(image.len().next_multiple_of(128 * SECTOR), 0);
    let image = with_entries(
        &image,
        &[(26, 0, end), (22, 9, end), (u64::from(end), 9, end)],
    );
    let report = repaired("a grain in a table", &world_of(image));
    assert_eq!(faults(&report), [(Error, DirectoryEntry)]);
}

#[test]
fn grains_aligned_in_too_many_ways_are_moved() {
    let mut image = SparseImage::monolithic(2048).build();
    for (grain, place) in [128_usize, 257, 386, 515, 644, 773].into_iter().enumerate() {
        image.resize(image.len().max((place + 128) * SECTOR), 0);
        image[place * SECTOR..][..128 * SECTOR].fill(u8::try_from(grain + 1).unwrap());
        for table in [22, 27] {
            let place = u32::try_from(place).unwrap();
            put_entry(&mut image, table, u64::try_from(grain).unwrap(), place);
        }
    }
    let report = repaired("scattered", &world_of(image));
    assert_eq!(faults(&report), [(Error, Overlap)]);
    assert!(
        report
            .findings()
            .iter()
            .any(|finding| finding.kind == Alignment)
    );
    assert!(
        report
            .findings()
            .iter()
            .any(|finding| finding.kind == UnusedSpace)
            || report.is_clean()
    );
}

/// What a cut file still has of its last grain stays.
#[test]
fn a_cut_file_is_completed() {
    let good = good();
    for length in [300 * SECTOR, 300 * SECTOR + 17, 383 * SECTOR + 1] {
        let world = world_of(good[..length].to_vec());
        let report = repaired("cut", &world);
        assert_eq!(faults(&report), [(Error, FileCut)], "{length}");
        assert_eq!(world.bytes("disk.vmdk").len(), good.len());
    }
    // All of the grain is gone: its entry is cleared, and that is said.
    let world = world_of(good[..256 * SECTOR].to_vec());
    let report = repaired("lost", &world);
    assert_eq!(faults(&report), [(Error, TableEntry)]);
    let finding = &report.findings()[0];
    assert!(finding.to_string().contains("lost"), "{finding}");
    assert_eq!(finding.sectors.unwrap().start().get(), 640);
}

#[test]
fn what_nobody_needs_is_a_note() {
    let mut image = good();
    image.extend([7; 100]);
    let world = world_of(image);
    let report = repaired("tail", &world);
    assert_eq!(report.findings()[0].kind, FileLength);
    assert!(world.bytes("disk.vmdk") == good());
    let mut image = good();
    image.resize(image.len() + 256 * SECTOR, 0);
    let world = world_of(image.clone());
    let report = repaired("leak", &world);
    assert_eq!(report.findings()[0].kind, UnusedSpace);
    assert_eq!(report.findings()[0].repair, Repair::NotNeeded);
    assert!(world.bytes("disk.vmdk") == image);
}

/// In a child, zeros hide what the parent has.
#[test]
fn zeros_of_a_child_stay_zeros() {
    let image = SparseImage::monolithic(2048);
    let child = SparseImage {
        text: child_of(&image.text, 2, 0x1f2e_3d4c, "base.vmdk"),
        ..image
    };
    let entries = [(22, 3, 1), (27, 3, 1)];
    let line = "RW 2048 FLAT \"flat\" 0";
    let world = world_of(with_entries(&child.build(), &entries))
        .with("base.vmdk", descriptor("monolithicFlat", &[line]))
        .with("flat", vec![7; 2048 * SECTOR]);
    let report = repaired("zeros of a child", &world);
    assert_eq!(faults(&report), [(Warning, UnclaimedZeros)]);
    let now = world.bytes("disk.vmdk");
    assert_eq!((now[4], now[8]), (2, 7));
    assert_eq!(entry(&now, 27, 3), 1);
}

/// An extent of a split disk, with its place on the disk.
#[test]
fn extents_in_files_of_their_own() {
    let text = descriptor(
        "twoGbMaxExtentSparse",
        &[
            "RW 2048 SPARSE \"disk-s001.vmdk\"",
            "RW 2048 SPARSE \"disk-s002.vmdk\"",
        ],
    );
    let extent = SparseImage::extent(2048).build();
    let damaged = with_entries(&extent, &[(22, 3, 2), (27, 3, 2)]);
    let world = World::default()
        .with("disk.vmdk", text)
        .with("disk-s001.vmdk", extent)
        .with("disk-s002.vmdk", damaged);
    let report = repaired("split", &world);
    let finding = &report.findings()[0];
    assert_eq!(finding.path.to_str(), Some("disk-s002.vmdk"));
    let sectors = finding.sectors.unwrap();
    assert_eq!(
        (sectors.start().get(), sectors.end().get()),
        (2048 + 384, 2048 + 512)
    );
}

/// However much is wrong, the report stays short and says how much it leaves out.
#[test]
fn reports_are_bounded() {
    let tables = 3000;
    let image = SparseImage::monolithic(tables * 65536);
    let mut bytes = image.build();
    for table in 0..tables {
        put_entry(&mut bytes, image.directory(), table, 5);
        put_entry(&mut bytes, image.redundant_directory(), table, 6);
    }
    let world = world_of(bytes);
    let report = check("disk.vmdk", &check_options(&world)).unwrap();
    assert_eq!(report.findings().len(), 1024);
    assert_eq!(report.omitted(), tables - 1024);
    assert!(!report.is_clean());
    refused("very much", &world);
}
