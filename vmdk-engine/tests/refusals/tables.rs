//! Grain directories and grain tables of hosted sparse extents.

use super::support::image::{SparseImage, put, put_entry};
use super::support::range;
use super::*;

#[test]
fn tables_of_sparse_extents() {
    let good = good();
    let both = |index: u64, value: u32| vec![(27, index, value), (22, index, value)];
    let directories = |value: u32| vec![(26, 0, value), (21, 0, value)];
    for (name, entries, read_only, writable) in [
        (
            "table behind the end",
            directories(1 << 20),
            DAMAGED,
            REPAIR,
        ),
        ("table at 2^32 - 1", directories(u32::MAX), DAMAGED, REPAIR),
        ("table in the text", directories(5), DAMAGED, REPAIR),
        ("table in the directory", directories(26), DAMAGED, REPAIR),
        (
            "both directories name one table",
            vec![(21, 0, 27)],
            Fine,
            REPAIR,
        ),
        (
            "table in one directory only",
            vec![(21, 0, 0)],
            Fine,
            REPAIR,
        ),
        ("grain behind the end", both(3, 1 << 20), DAMAGED, REPAIR),
        ("grain at 2^32 - 1", both(3, u32::MAX), DAMAGED, REPAIR),
        ("grain in the text", both(3, 2), DAMAGED, REPAIR),
        ("grain in the tables", both(3, 27), DAMAGED, REPAIR),
        ("two grains at one place", both(3, 128), Fine, REPAIR),
        ("copies differ", vec![(22, 5, 0)], Fine, REPAIR),
        ("entry 1 without its flag", both(3, 1), Fine, Fine),
        (
            "table missing in both directories",
            vec![(26, 0, 0), (21, 0, 0)],
            Fine,
            Fine,
        ),
    ] {
        let mut image = good.clone();
        for (sector, index, entry) in entries {
            put_entry(&mut image, sector, index, entry);
        }
        check(name, &image, read_only, writable);
    }
}

/// Damage behind good sectors is an error however the request reaches it, never zeros and never a hole.
#[test]
fn damage_behind_good_sectors_is_no_hole() {
    let border = 65536;
    let image = SparseImage::monolithic(2 * border);
    for (name, behind_grain) in [("behind a hole", false), ("behind data", true)] {
        let gate = MemoryGate::default().with("disk.vmdk", image.build());
        let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
        if behind_grain {
            disk.write_at(Sector::new(border - 1), &[1; SECTOR])
                .unwrap();
        }
        disk.write_at(Sector::new(border), &[2; SECTOR]).unwrap();
        disk.close().unwrap();
        let mut bytes = gate.bytes("disk.vmdk");
        for directory in [image.directory(), image.redundant_directory()] {
            put_entry(&mut bytes, directory, 1, 1 << 20);
        }

        let gate = MemoryGate::default().with("disk.vmdk", bytes);
        let disk = Disk::open("disk.vmdk", &gate.options()).unwrap();
        let mut sectors = [0xee; 2 * SECTOR];
        let error = disk
            .read_at(Sector::new(border - 1), &mut sectors)
            .unwrap_err();
        assert_eq!(error.kind(), Corrupt, "{name}: {error}");
        let mapped: Vec<_> = disk.extents(range(border - 200, border + 200)).collect();
        let (last, good) = mapped.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().kind(), Corrupt, "{name}");
        let end = good.last().unwrap().as_ref().unwrap().range.end();
        assert_eq!(end, Sector::new(border), "{name}");
    }
}

/// After a crash, stale redundant tables are expected and mended; anything worse is refused.
#[test]
fn dirty_disks_are_checked_before_they_are_written() {
    let mut stale = good();
    stale[72] = 1;
    put_entry(&mut stale, 22, 5, 0);
    let gate = MemoryGate::default().with("disk.vmdk", stale.clone());
    assert_eq!(outcome(&gate, false).0, Fine);
    assert!(gate.bytes("disk.vmdk") == stale, "a reader changes nothing");
    Disk::open("disk.vmdk", &gate.options().writable(true))
        .unwrap()
        .close()
        .unwrap();
    assert!(gate.bytes("disk.vmdk") == good_like(&stale));

    let mut overlapping = stale.clone();
    for table in [22, 27] {
        put_entry(&mut overlapping, table, 5, 200);
    }
    check(
        "overlapping grains after a crash",
        &overlapping,
        Fine,
        REPAIR,
    );
}

/// A 1 MiB disk whose grains, at these sectors of the file, belong to the guest's grains 0, 1, 2 and so on.
fn with_grains_at(places: &[u64]) -> Vec<u8> {
    let mut image = SparseImage::monolithic(2048).build();
    for (grain, place) in (0_u8..).zip(places) {
        let start = usize::try_from(*place).unwrap() * SECTOR;
        let length = image.len().max(start + 128 * SECTOR);
        image.resize(length, 0);
        image[start..start + 128 * SECTOR].fill(grain + 1);
        for table in [22, 27] {
            put_entry(
                &mut image,
                table,
                u64::from(grain),
                u32::try_from(*place).unwrap(),
            );
        }
    }
    image
}

/// Grains need not lie at multiples of their size, nor all at the same distance from one, but must not overlap.
#[test]
fn grains_may_be_aligned_as_they_like_but_not_overlap() {
    for (name, places, writable) in [
        ("aligned alike", &[138, 266, 394][..], Fine),
        ("aligned in two ways", &[138, 512, 266], Fine),
        ("side by side", &[128, 300, 428, 556], Fine),
        ("an odd one into the next", &[300, 256, 384], REPAIR),
        ("an odd one into the one before", &[384, 511], REPAIR),
        ("one behind an odd one", &[300, 384], REPAIR),
        ("two odd ones", &[138, 200], REPAIR),
        ("aligned in five ways", &[128, 257, 386, 515, 644], REPAIR),
    ] {
        check(name, &with_grains_at(places), Fine, writable);
    }
}

/// New grains lie at multiples of their size; beside odd ones, that is no damage for whoever opens the disk next.
#[test]
fn a_crash_after_writing_between_odd_grains_is_survived() {
    let gate = MemoryGate::default().with("disk.vmdk", with_grains_at(&[138, 266]));
    let disk = Disk::open("disk.vmdk", &gate.options().writable(true)).unwrap();
    disk.write_at(Sector::new(1000), &[9; SECTOR]).unwrap();
    disk.flush().unwrap();
    // As the file is now, a crash would leave it.
    let crashed = gate.bytes("disk.vmdk");
    assert_eq!(crashed[72], 1);
    let gate = MemoryGate::default().with("disk.vmdk", crashed);
    let (found, error) = outcome(&gate, true);
    assert_eq!(found, Fine, "{error:?}");
}

/// A table at the border of metadata and grains is no place for a grain either.
#[test]
fn a_grain_in_a_table_at_the_border_is_found() {
    let mut image = SparseImage::monolithic(2048).build();
    image.resize(512 * SECTOR, 0);
    // One directory only, and its table across the end of what the header reserves for metadata.
    put(&mut image, 8, &1_u32.to_le_bytes());
    put_entry(&mut image, 26, 0, 126);
    put_entry(&mut image, 126, 0, 128);
    check("grain over half a table", &image, Fine, REPAIR);
}

/// The image with its redundant table mended and its dirty byte cleared.
fn good_like(stale: &[u8]) -> Vec<u8> {
    let mut image = stale.to_vec();
    image[72] = 0;
    let table = image[27 * SECTOR..31 * SECTOR].to_vec();
    put(&mut image, 22 * SECTOR, &table);
    image
}
