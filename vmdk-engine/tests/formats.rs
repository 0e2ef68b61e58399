//! Every operation on every format: what comes of it is what the tables of `FORMATS.md` say, cell by cell.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::esx::{CowdImage, SeSparseImage};
use support::image::{SparseImage, StreamImage, descriptor, put};
use support::{Numbers, content, range};
use tempfile::TempDir;
use vmdk_engine::{
    AfterCommit, Allocation, CheckOptions, CommitOptions, CreateOptions, Disk, DiskKind, Error,
    ErrorKind, Existing, FolderGate, GrowOptions, ListGate, OpenGate, OpenOptions, RepairOptions,
    Sector, SectorCount, SectorRange, ZeroMode, check, commit, grow, rename, repair, unlink,
    unwatched,
};

const TABLES: &str = include_str!("../FORMATS.md");

/// No whole number of grains.
const SECTORS: u64 = 2064;

/// A disk of one format, with data in it, in a folder of its own.
struct Subject {
    folder: TempDir,
    disk: PathBuf,
    gate: Arc<dyn OpenGate>,
    content: Vec<u8>,
    /// What the engine would call a new one; `None` for formats without a kind.
    kind: Option<DiskKind>,
}

type Outcome = Result<(), ErrorKind>;

fn kind_of<T>(result: Result<T, Error>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

fn bytes(sectors: u64) -> usize {
    usize::try_from(sectors * 512).unwrap()
}

impl Subject {
    fn new(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut subject = Self {
            disk: folder.path().join("disk.vmdk"),
            folder,
            gate: Arc::new(FolderGate),
            content: vec![0; bytes(SECTORS)],
            kind: None,
        };
        match format {
            "monolithicSparse" => subject.create(DiskKind::MonolithicSparse),
            "twoGbMaxExtentSparse" => subject.create(DiskKind::SplitSparse),
            "monolithicFlat" => subject.create(DiskKind::MonolithicFlat),
            "twoGbMaxExtentFlat" => subject.create(DiskKind::SplitFlat),
            "vmfs, thick" => subject.create(DiskKind::VmfsFlat),
            "vmfs, thin" => subject.create(DiskKind::VmfsThin),
            "streamOptimized" => {
                subject.kind = Some(DiskKind::StreamOptimized);
                subject.fill(&[(3, 200), (900, 1100), (2063, 2064)]);
                let image = StreamImage::build(&subject.content, true);
                fs::write(&subject.disk, image.bytes).unwrap();
            }
            "vmfsSparse (COWD)" => {
                subject.kind = Some(DiskKind::VmfsSparse);
                subject.put("disk-delta.vmdk", &subject_cowd());
                subject.describe(
                    "vmfsSparse",
                    &[format!("RW {SECTORS} VMFSSPARSE \"disk-delta.vmdk\"")],
                );
                subject.filled_by_esx(1);
            }
            "COWD without a descriptor" => {
                let mut image = subject_cowd();
                // The geometry of a base.
                for (index, number) in [8_u32, 16, 63].into_iter().enumerate() {
                    put(&mut image, 32 + index * 4, &number.to_le_bytes());
                }
                subject.put("disk.vmdk", &image);
                subject.filled_by_esx(1);
            }
            "seSparse" => {
                subject.kind = Some(DiskKind::SeSparse);
                let image = SeSparseImage::new(SECTORS).fill(3, 0, 3).fill(9, 1, 9);
                subject.put("disk-sesparse.vmdk", &image.build());
                subject.describe(
                    "seSparse",
                    &[format!("RW {SECTORS} SESPARSE \"disk-sesparse.vmdk\"")],
                );
                subject.filled_by_esx(8);
            }
            "fullDevice" => {
                subject.fill(&[(0, SECTORS)]);
                fs::create_dir(subject.folder.path().join("dev")).unwrap();
                subject.put("dev/disk", &subject.content.clone());
                let device = subject.folder.path().join("dev/disk");
                subject.gate = Arc::new(ListGate::new().allow_devices([&device]));
                let line = format!("RW {SECTORS} FLAT \"{}\" 0", device.display());
                fs::create_dir(subject.folder.path().join("vm")).unwrap();
                subject.disk = subject.folder.path().join("vm/disk.vmdk");
                subject.describe("fullDevice", &[line]);
            }
            "custom" => {
                subject.kind = Some(DiskKind::Custom);
                subject.fill(&[(0, 400)]);
                let flat = subject.content[..bytes(400)].to_vec();
                subject.put("disk-flat.vmdk", &flat);
                let rest = SECTORS - 500;
                subject.put("disk-s001.vmdk", &SparseImage::extent(rest).build());
                let lines = [
                    "RW 400 FLAT \"disk-flat.vmdk\" 0".to_owned(),
                    "RW 100 ZERO".to_owned(),
                    format!("RW {rest} SPARSE \"disk-s001.vmdk\""),
                ];
                subject.describe("custom", &lines);
            }
            other => panic!("no such format: {other}"),
        }
        subject
    }

    fn create(&mut self, kind: DiskKind) {
        self.kind = Some(kind);
        let options = CreateOptions::new(kind, SectorCount::new(SECTORS));
        let disk = Disk::create(&self.disk, &options, &mut unwatched).unwrap();
        self.fill(&[(3, 200), (900, 1100), (2063, 2064)]);
        for (start, end) in [(3, 200), (900, 1100), (2063, 2064)] {
            let part = &self.content[bytes(start)..bytes(end)];
            disk.write_at(Sector::new(start), part).unwrap();
        }
        disk.close().unwrap();
    }

    fn fill(&mut self, parts: &[(u64, u64)]) {
        let mut numbers = Numbers::new(SECTORS);
        for (start, end) in parts {
            numbers.fill(&mut self.content[bytes(*start)..bytes(*end)]);
        }
    }

    /// The grains 3 and 9, of so many sectors, hold their own number.
    fn filled_by_esx(&mut self, grain: u64) {
        for number in [3_u8, 9] {
            let start = u64::from(number) * grain;
            self.content[bytes(start)..bytes(start + grain)].fill(number);
        }
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn describe(&self, create_type: &str, lines: &[String]) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        fs::write(&self.disk, descriptor(create_type, &lines)).unwrap();
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.disk.with_file_name(name)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::new().gate(Arc::clone(&self.gate))
    }

    fn open(&self, is_writable: bool) -> Result<Disk, ErrorKind> {
        kind_of(Disk::open(
            &self.disk,
            &self.options().writable(is_writable),
        ))
    }

    /// Whether a disk, by default this one, has what this one had when it was made.
    fn has_content(&self, path: &Path) -> bool {
        content(&Disk::open(path, &self.options()).unwrap()) == self.content
    }
}

fn subject_cowd() -> Vec<u8> {
    let capacity = u32::try_from(SECTORS).unwrap();
    CowdImage::new(capacity, 1).fill(3, 3).fill(9, 9).build()
}

/// Zeros or trims some sectors; only those may change, and only to zeros.
fn clear(subject: &Subject, change: impl Fn(&Disk, SectorRange) -> Result<(), Error>) -> Outcome {
    let disk = subject.open(true)?;
    kind_of(change(&disk, range(0, 256)))?;
    disk.close().unwrap();
    let now = content(&subject.open(false)?);
    assert!(now[bytes(256)..] == subject.content[bytes(256)..]);
    let before = subject.content.iter();
    assert!(
        now.iter()
            .zip(before)
            .all(|(now, before)| *now == 0 || now == before)
    );
    Ok(())
}

fn options_of(kind: DiskKind, capacity: u64) -> CreateOptions {
    CreateOptions::new(kind, SectorCount::new(capacity))
}

/// Does the thing to the disk and makes sure of the result; `Err` if it was refused, and then nothing has changed.
fn attempt(operation: &str, subject: &Subject) -> Outcome {
    let disk = &subject.disk;
    match operation {
        "read" => {
            assert!(content(&subject.open(false)?) == subject.content);
        }
        "map" => {
            let disk = subject.open(false)?;
            let mut next = Sector::ZERO;
            for extent in disk.extents(SectorRange::whole(disk.capacity())) {
                let extent = kind_of(extent)?;
                assert_eq!(extent.range.start(), next);
                next = extent.range.end();
                let part = &subject.content[bytes(extent.range.start().get())..bytes(next.get())];
                let is_zero = part.iter().all(|byte| *byte == 0);
                assert!(is_zero || extent.state == Allocation::Data, "{extent:?}");
            }
            assert_eq!(next.get(), SECTORS);
        }
        "write" => {
            let writer = subject.open(true)?;
            let data = [0x5a; 512 * 3];
            kind_of(writer.write_at(Sector::new(250), &data))?;
            kind_of(writer.close())?;
            let mut expected = subject.content.clone();
            expected[bytes(250)..bytes(253)].copy_from_slice(&data);
            assert!(content(&subject.open(false)?) == expected);
        }
        "zero" => {
            clear(subject, |disk, range| {
                disk.write_zeroes(range, ZeroMode::MayFree)
            })?;
            let now = content(&subject.open(false)?);
            assert!(now[..bytes(256)].iter().all(|byte| *byte == 0));
        }
        "trim" => clear(subject, Disk::trim)?,
        "change the data base" => {
            let writer = subject.open(true)?;
            kind_of(writer.set_metadata("toolsVersion", "7"))?;
            writer.close().unwrap();
            let found = subject.open(false)?.metadata("toolsVersion");
            assert_eq!(found.as_deref(), Some("7"));
            assert!(subject.has_content(disk));
        }
        "lock" => {
            let writer = subject.open(true)?;
            assert_eq!(subject.open(true).err(), Some(ErrorKind::AlreadyLocked));
            drop(writer);
            subject.open(true)?.close().unwrap();
        }
        "be a parent" => {
            let child = subject.beside("child.vmdk");
            make_child(subject, &child, DiskKind::MonolithicSparse)?;
            assert!(subject.has_content(&child));
        }
        "be made as a child" => {
            let base = subject.beside("base.vmdk");
            let kind = subject.kind.unwrap();
            Disk::create(
                &base,
                &options_of(DiskKind::MonolithicFlat, 100),
                &mut unwatched,
            )
            .unwrap();
            let base = Disk::open(&base, &OpenOptions::new()).unwrap();
            let child = subject.beside("child.vmdk");
            kind_of(base.create_child(&child, kind, &mut unwatched))?;
            assert_eq!(
                Disk::open(&child, &OpenOptions::new())
                    .unwrap()
                    .info()
                    .links,
                2
            );
        }
        "take a commit" => {
            let child = subject.beside("child.vmdk");
            // A parent that cannot be written refuses before anything else is needed of it.
            make_child(subject, &child, DiskKind::MonolithicSparse)?;
            let writer = Disk::open(&child, &subject.options().writable(true)).unwrap();
            writer.write_at(Sector::new(250), &[0x5a; 512]).unwrap();
            writer.close().unwrap();
            let options = CommitOptions::new()
                .afterwards(AfterCommit::RemoveChild)
                .gate(Arc::clone(&subject.gate));
            kind_of(commit(&child, &options, &mut unwatched))?;
            let mut expected = subject.content.clone();
            expected[bytes(250)..bytes(251)].fill(0x5a);
            assert!(content(&subject.open(false)?) == expected);
            assert!(!child.exists());
        }
        "be cloned" => {
            let clone = subject.beside("clone.vmdk");
            let options = options_of(DiskKind::MonolithicSparse, SECTORS);
            kind_of(subject.open(false)?.clone_to(
                &clone,
                &options,
                Existing::Keep,
                &mut unwatched,
            ))?;
            assert!(subject.has_content(&clone));
        }
        "be made by a clone" => {
            let clone = subject.beside("clone.vmdk");
            let options = options_of(subject.kind.unwrap(), SECTORS);
            kind_of(subject.open(false)?.clone_to(
                &clone,
                &options,
                Existing::Keep,
                &mut unwatched,
            ))?;
            assert!(subject.has_content(&clone));
            assert_eq!(
                Some(Disk::open(&clone, &subject.options()).unwrap().info().kind),
                subject.kind
            );
        }
        "create" => {
            let new = subject.beside("new.vmdk");
            let options = options_of(subject.kind.unwrap(), SECTORS);
            kind_of(Disk::create(&new, &options, &mut unwatched))?
                .close()
                .unwrap();
            let new = Disk::open(&new, &subject.options()).unwrap();
            assert_eq!(Some(new.info().kind), subject.kind);
            assert!(content(&new).iter().all(|byte| *byte == 0));
        }
        "grow" => {
            let options = GrowOptions::new().gate(Arc::clone(&subject.gate));
            kind_of(grow(
                disk,
                SectorCount::new(SECTORS + 1000),
                &options,
                &mut unwatched,
            ))?;
            let now = content(&subject.open(false)?);
            assert!(now[..bytes(SECTORS)] == subject.content);
            assert!(now[bytes(SECTORS)..] == vec![0; bytes(1000)]);
        }
        "shrink" => {
            kind_of(subject.open(true)?.shrink(&mut unwatched))?;
            assert!(subject.has_content(disk));
        }
        "defragment" => {
            kind_of(subject.open(true)?.defragment(&mut unwatched))?;
            assert!(subject.has_content(disk));
        }
        "rename" => {
            let other = subject.beside("other.vmdk");
            kind_of(rename(disk, &other, &[], &*subject.gate))?;
            assert!(subject.has_content(&other) && !disk.exists());
        }
        "remove" => {
            kind_of(unlink(disk, &*subject.gate))?;
            let left: Vec<_> = fs::read_dir(disk.parent().unwrap()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
        "check" => {
            let options = CheckOptions::new().gate(Arc::clone(&subject.gate));
            let report = kind_of(check(disk, &options))?;
            assert!(report.is_clean(), "{report:?}");
            assert!(subject.has_content(disk));
        }
        "repair" => {
            let options = RepairOptions::new().gate(Arc::clone(&subject.gate));
            let report = kind_of(repair(disk, &options))?;
            assert!(report.is_clean(), "{report:?}");
            assert!(subject.has_content(disk));
        }
        other => panic!("no such operation: {other}"),
    }
    Ok(())
}

fn make_child(subject: &Subject, child: &Path, kind: DiskKind) -> Outcome {
    kind_of(
        subject
            .open(false)?
            .create_child(child, kind, &mut unwatched),
    )
}

/// The tables: for each format, what comes of each operation; "–" where there is nothing to try.
fn cells() -> Vec<(String, String, String)> {
    let mut cells = Vec::new();
    let mut operations: Option<Vec<&str>> = None;
    for line in TABLES.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            operations = None;
            continue;
        };
        let mut row = row.split('|').map(str::trim);
        let first = row.next().unwrap();
        match &operations {
            None => operations = (first == "Format").then(|| row.collect()),
            Some(_) if first.starts_with("--") => {}
            Some(operations) => {
                for (operation, cell) in operations.iter().zip(row) {
                    let cell = (first.to_owned(), (*operation).to_owned(), cell.to_owned());
                    cells.push(cell);
                }
            }
        }
    }
    cells
}

#[test]
fn every_cell_of_the_tables_is_true() {
    let cells = cells();
    let mut wrong = Vec::new();
    for (format, operation, cell) in &cells {
        if cell == "–" {
            continue;
        }
        let subject = Subject::new(format);
        let outcome = match attempt(operation, &subject) {
            Ok(()) => "yes".to_owned(),
            Err(kind) => format!("no: {kind:?}"),
        };
        // Whatever was refused has changed nothing.
        if outcome != "yes" {
            assert!(subject.has_content(&subject.disk), "{format}: {operation}");
        }
        if outcome != *cell {
            wrong.push(format!("{format}: {operation}: {outcome}, not {cell}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = |part: fn(&(String, String, String)) -> &String| -> BTreeSet<_> {
        cells.iter().map(part).collect()
    };
    assert_eq!(all(|cell| &cell.0).len(), 12, "formats");
    assert_eq!(all(|cell| &cell.1).len(), 20, "operations");
}

/// The tests behind the columns exist under the names that the tables give.
#[test]
fn every_test_that_the_tables_name_exists() {
    let mut named = 0;
    for name in TABLES.split('`').skip(1).step_by(2) {
        let Some((file, function)) = name.split_once("::") else {
            continue;
        };
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let single = fs::read_to_string(tests.join(file).with_extension("rs"));
        let text = single.unwrap_or_else(|_| {
            let parts = fs::read_dir(tests.join(file));
            let parts = parts.unwrap_or_else(|_| panic!("no tests {file}"));
            parts
                .map(|part| fs::read_to_string(part.unwrap().path()).unwrap())
                .collect()
        });
        assert!(text.contains(&format!("fn {function}(")), "no test {name}");
        named += 1;
    }
    assert!(named > 30, "{named}");
}
