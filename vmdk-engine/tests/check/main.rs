//! Checks and repairs: each inconsistency is found and named, and repaired without losing anything that can be read, or
//! left alone with a reason.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod crash;
mod damage;
mod directories;
mod esx;
mod qemu;
mod sparse;
mod stream;
mod text;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use support::image::{SparseImage, put, put_entry};
use support::world::World;
use vmdk_engine::{
    CheckOptions, Disk, FindingKind, Repair, RepairOptions, Report, Sector, Severity, check, repair,
};

const SECTOR: usize = 512;

/// 1 MiB with two grains of data, as QEMU writes it: text 1..21, RGD 21, RGT 22, GD 26, GT 27, grains from 128.
fn good() -> Vec<u8> {
    static GOOD: LazyLock<Vec<u8>> = LazyLock::new(make_good);
    GOOD.clone()
}

fn make_good() -> Vec<u8> {
    let world = World::default().with("disk.vmdk", SparseImage::monolithic(2048).build());
    let disk = Disk::open("disk.vmdk", &world.options().writable(true)).unwrap();
    disk.write_at(Sector::ZERO, &[1; 128 * SECTOR]).unwrap();
    disk.write_at(Sector::new(640), &[2; 512]).unwrap();
    disk.close().unwrap();
    world.bytes("disk.vmdk")
}

fn check_options(world: &World) -> CheckOptions {
    CheckOptions::new().gate(world.gate())
}

fn repair_options(world: &World) -> RepairOptions {
    RepairOptions::new().gate(world.gate())
}

/// All files with their bytes.
fn files(world: &World) -> BTreeMap<String, Vec<u8>> {
    let names = world.names();
    let bytes = |name: &String| world.bytes(name);
    names
        .iter()
        .map(|name| (name.clone(), bytes(name)))
        .collect()
}

/// Each sector of the disk, or `None` where it cannot be read.
fn readable(world: &World, name: &str) -> Option<Vec<Option<Vec<u8>>>> {
    let disk = Disk::open(name, &world.options()).ok()?;
    let end = disk.capacity().get();
    let mut found = Vec::new();
    // Damage is looked for where tables of the tests describe something: the first two of each 32 MiB.
    for start in (0..end)
        .step_by(4096)
        .filter(|start| start % 65536 < 8192)
        .take(8)
    {
        let count = usize::try_from((end - start).min(4096)).unwrap();
        let mut bytes = vec![0; count * SECTOR];
        if disk.read_at(Sector::new(start), &mut bytes).is_ok() {
            found.extend(bytes.chunks(SECTOR).map(|sector| Some(sector.to_vec())));
            continue;
        }
        for (sector, bytes) in (start..).zip(bytes.chunks_mut(SECTOR)) {
            let result = disk.read_at(Sector::new(sector), bytes);
            found.push(result.is_ok().then(|| bytes.to_vec()));
        }
    }
    Some(found)
}

/// What was found, worse than a note, without the words.
fn faults(report: &Report) -> Vec<(Severity, FindingKind)> {
    let findings = report.findings().iter();
    findings
        .filter(|finding| finding.severity > Severity::Info)
        .map(|finding| (finding.severity, finding.kind))
        .collect()
}

fn lines(report: &Report) -> String {
    let findings = report.findings().iter();
    findings.map(|finding| format!("{finding}\n")).collect()
}

/// Checks a disk, which changes nothing, and repairs it; everything that could be read reads the same afterwards, and a
/// second check is content. Returns what was found.
fn repaired(name: &str, world: &World) -> Report {
    repaired_to(name, world, None)
}

/// The same for a disk that was this one before it was damaged: what read otherwise may read so again.
fn repaired_to(name: &str, world: &World, original: Option<&World>) -> Report {
    let before = files(world);
    let could_read = readable(world, "disk.vmdk").unwrap_or_default();
    let found = check("disk.vmdk", &check_options(world)).unwrap();
    assert!(files(world) == before, "{name}: a check changed a file");
    let report = repair("disk.vmdk", &repair_options(world)).unwrap();
    assert!(report.is_clean(), "{name}:\n{}", lines(&report));
    assert_eq!(faults(&found), faults(&report), "{name}");
    assert_sound(name, world);
    let can_read = readable(world, "disk.vmdk").unwrap();
    let original = original.and_then(|original| readable(original, "disk.vmdk"));
    let was = |sector: usize| original.as_ref().map(|original| &original[sector]);
    for (sector, (before, now)) in could_read.iter().zip(&can_read).enumerate() {
        assert!(
            before.is_none() || before == now || was(sector) == Some(now),
            "{name}: sector {sector} changed"
        );
    }
    assert!(
        can_read.iter().all(Option::is_some),
        "{name}: not all reads"
    );
    report
}

/// The disk is clean by a check, and opens for writing, unless its kind is only read.
fn assert_sound(name: &str, world: &World) {
    let report = check("disk.vmdk", &check_options(world)).unwrap();
    assert!(report.is_clean(), "{name}: still:\n{}", lines(&report));
    match Disk::open("disk.vmdk", &world.options().writable(true)) {
        Ok(disk) => disk.close().unwrap(),
        Err(error) => assert_eq!(error.kind(), vmdk_engine::ErrorKind::Unsupported, "{name}"),
    }
}

/// A repair refuses and changes nothing. Returns the report.
fn refused(name: &str, world: &World) -> Report {
    let before = files(world);
    let report = repair("disk.vmdk", &repair_options(world)).unwrap();
    assert!(!report.is_clean(), "{name}:\n{}", lines(&report));
    assert!(
        files(world) == before,
        "{name}: a refused repair changed a file"
    );
    for finding in report.findings() {
        assert!(
            !matches!(finding.repair, Repair::Repaired(_)),
            "{name}: {finding}"
        );
    }
    report
}

/// A patch of an image.
type Patch = (usize, Vec<u8>);

fn patched(image: &[u8], patches: &[Patch]) -> Vec<u8> {
    let mut image = image.to_vec();
    for (position, bytes) in patches {
        put(&mut image, *position, bytes);
    }
    image
}

fn with_entries(image: &[u8], entries: &[(u64, u64, u32)]) -> Vec<u8> {
    let mut image = image.to_vec();
    for (sector, index, entry) in entries {
        put_entry(&mut image, *sector, *index, *entry);
    }
    image
}

fn world_of(image: Vec<u8>) -> World {
    World::default().with("disk.vmdk", image)
}
