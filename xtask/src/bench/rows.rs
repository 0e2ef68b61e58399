//! What is measured, and with which program of QEMU's it is compared.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Programs, run_quietly};
use crate::Result;
use crate::shell::command;

/// Bytes of the disks that are read.
pub(super) const READ_BYTES: u64 = 1 << 30;
/// Bytes of the disks that are written or compressed.
pub(super) const WRITE_BYTES: u64 = 256 << 20;
/// Bytes of the disk whose map is long, and of its part in which every second grain is allocated.
pub(super) const MAP_BYTES: u64 = 1 << 40;
pub(super) const FRAGMENTED_BYTES: u64 = 16 << 30;
/// Bytes of the disk that is only opened.
pub(super) const HUGE_BYTES: u64 = 62 << 40;

/// Small requests, and the bytes between two of them: they look random, and both sides can compute them.
const REQUESTS: &str = "50000";
const STEP: &str = "2428928";

/// One side's work.
pub(super) struct Work {
    pub(super) command: Vec<String>,
    pub(super) writes: bool,
    /// Files that must not be there when the work begins.
    removed: Vec<PathBuf>,
    /// A disk of nothing, made before the work begins.
    created: Option<Vec<String>>,
}

impl Work {
    fn new<T: ToString>(command: impl IntoIterator<Item = T>) -> Self {
        Self {
            command: command.into_iter().map(|word| word.to_string()).collect(),
            writes: false,
            removed: Vec::new(),
            created: None,
        }
    }

    fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    /// Makes a folder of the work's own, empty each time.
    fn into_fresh(mut self, folder: &Path) -> Self {
        self.removed.push(folder.to_owned());
        self.writes()
    }

    fn created_by<T: ToString>(mut self, command: impl IntoIterator<Item = T>) -> Self {
        self.created = Some(command.into_iter().map(|word| word.to_string()).collect());
        self
    }

    /// Brings the files to the state in which the work begins.
    pub(super) fn prepare(&self) -> Result {
        self.clean_up();
        for folder in &self.removed {
            fs::create_dir_all(folder)?;
        }
        match self.created.as_deref() {
            Some([program, arguments @ ..]) => run_quietly(command(program).args(arguments)),
            _ => Ok(()),
        }
    }

    /// Removes what the work made.
    pub(super) fn clean_up(&self) {
        for folder in &self.removed {
            // That it is not there is fine, and if it stays, the next attempt to write there says why.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A line of the table.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) peer: &'static str,
    /// The least ratio to reach.
    pub(super) target: f64,
    /// Bytes that each side moves, where that means something.
    pub(super) bytes: Option<u64>,
    pub(super) ours: Work,
    pub(super) theirs: Work,
}

/// Where the images are.
pub(super) struct Places(PathBuf);

impl Places {
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(super) fn of(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

/// qemu-img writes to nowhere: what it reads still passes through it.
fn to_nowhere(disk: &str, bytes: u64) -> Work {
    let nowhere = format!("driver=null-co,size={bytes}");
    Work::new([
        "qemu-img",
        "convert",
        "-n",
        "-f",
        "vmdk",
        disk,
        "--target-image-opts",
        &nowhere,
    ])
}

fn qemu_requests(disk: &str, more: &[&str]) -> Work {
    let words = [
        "qemu-img",
        "bench",
        "-q",
        "-f",
        "vmdk",
        "-d",
        "64",
        "-t",
        "writeback",
    ];
    Work::new(words.iter().chain(more).chain(&[disk]))
}

/// All rows.
pub(super) fn all(folder: &Path, programs: &Programs) -> Vec<Row> {
    let places = Places::new(folder);
    let ours = programs.ours.to_string_lossy().into_owned();
    [
        reading(&places, &ours),
        writing(&places, &ours),
        cloning(&places, &ours),
        metadata(&places, &ours),
        over_nbd(&places, &programs.serve_nbd.to_string_lossy()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn reading(places: &Places, ours: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = [
        ("monolithicFlat", READ_BYTES, 1.0),
        ("monolithicSparse", READ_BYTES, 1.0),
        ("twoGbMaxExtentSparse", READ_BYTES, 1.0),
        ("streamOptimized", WRITE_BYTES, 1.5),
    ]
    .into_iter()
    .map(|(kind, bytes, target)| {
        let disk = places.of(&format!("{kind}.vmdk"));
        Row {
            name: format!("read all of {kind}"),
            peer: "qemu-img convert to null-co",
            target,
            bytes: Some(bytes),
            ours: Work::new([ours, "read", &disk]),
            theirs: to_nowhere(&disk, bytes),
        }
    })
    .collect();
    let stream = places.of("streamOptimized.vmdk");
    rows.push(Row {
        name: "read streamOptimized front to back".to_owned(),
        peer: "qemu-img convert to null-co",
        target: 1.5,
        bytes: Some(WRITE_BYTES),
        ours: Work::new([ours, "stream-read", &stream]),
        theirs: to_nowhere(&stream, WRITE_BYTES),
    });
    let disk = places.of("monolithicSparse.vmdk");
    let small = ["-s", "4096", "-c", REQUESTS, "-S", STEP];
    rows.push(Row {
        name: "random read, 4 KiB, monolithicSparse".to_owned(),
        peer: "qemu-img bench, 64 at once",
        target: 1.0,
        bytes: None,
        ours: Work::new([ours, "random-read", &disk, REQUESTS, STEP]),
        theirs: qemu_requests(&disk, &small),
    });
    rows
}

fn writing(places: &Places, ours: &str) -> Vec<Row> {
    let blocks = (WRITE_BYTES >> 20).to_string();
    let size = WRITE_BYTES.to_string();
    let mut rows = Vec::new();
    for kind in ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse"] {
        let (our_folder, their_folder) = (places.of("ours"), places.of("theirs"));
        let our_disk = format!("{our_folder}/disk.vmdk");
        let their_disk = format!("{their_folder}/disk.vmdk");
        let option = format!("subformat={kind}");
        // Both begin with the same: a disk of ours would have all its space already.
        let create = ["qemu-img", "create", "-q", "-f", "vmdk", "-o", &option];
        rows.push(Row {
            name: format!("write all of a new {kind}"),
            peer: "qemu-img bench -w, 1 MiB, 64 at once",
            target: 1.0,
            bytes: Some(WRITE_BYTES),
            ours: Work::new([ours, "write", &our_disk, "1048576"])
                .into_fresh(our_folder.as_ref())
                .created_by(create.iter().chain(&[our_disk.as_str(), &size])),
            theirs: qemu_requests(&their_disk, &["-w", "-s", "1048576", "-c", &blocks])
                .into_fresh(their_folder.as_ref())
                .created_by(create.iter().chain(&[their_disk.as_str(), &size])),
        });
    }
    let small = ["-w", "-s", "4096", "-c", REQUESTS, "-S", STEP];
    for (state, ours_at, theirs_at) in [
        ("full", "full-ours.vmdk", "full-theirs.vmdk"),
        ("half-empty", "half-ours.vmdk", "half-theirs.vmdk"),
    ] {
        rows.push(Row {
            name: format!("random write, 4 KiB, {state} monolithicSparse"),
            peer: "qemu-img bench -w, 64 at once",
            target: 1.0,
            bytes: None,
            ours: Work::new([ours, "random-write", &places.of(ours_at), REQUESTS, STEP]).writes(),
            theirs: qemu_requests(&places.of(theirs_at), &small).writes(),
        });
    }
    rows
}

/// The disk that is cloned is sparse, and half of it is there.
fn cloning(places: &Places, ours: &str) -> Vec<Row> {
    let source = places.of("source.vmdk");
    let kinds = [
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
    ];
    kinds
        .into_iter()
        .map(|kind| {
            let (our_folder, their_folder) = (places.of("ours"), places.of("theirs"));
            let our_disk = format!("{our_folder}/disk.vmdk");
            let their_disk = format!("{their_folder}/disk.vmdk");
            let option = format!("subformat={kind}");
            let convert = [
                "qemu-img",
                "convert",
                "-t",
                "writeback",
                "-f",
                "vmdk",
                "-O",
                "vmdk",
                "-o",
                &option,
                &source,
                &their_disk,
            ];
            Row {
                name: format!("clone into {kind}"),
                peer: "qemu-img convert",
                target: 1.5,
                bytes: Some(WRITE_BYTES),
                ours: Work::new([ours, "clone", &source, kind, &our_disk])
                    .into_fresh(our_folder.as_ref()),
                theirs: Work::new(convert).into_fresh(their_folder.as_ref()),
            }
        })
        .collect()
}

fn metadata(places: &Places, ours: &str) -> Vec<Row> {
    let fragmented = places.of("fragmented.vmdk");
    let huge = places.of("huge.vmdk");
    vec![
        Row {
            name: "map of a fragmented 1 TiB monolithicSparse".to_owned(),
            peer: "qemu-img map --output=json",
            target: 5.0,
            bytes: None,
            ours: Work::new([ours, "map", &fragmented]),
            theirs: Work::new([
                "qemu-img",
                "map",
                "--output=json",
                "-f",
                "vmdk",
                &fragmented,
            ]),
        },
        Row {
            name: "open a 62 TiB monolithicSparse".to_owned(),
            peer: "qemu-img info",
            target: 1.0,
            bytes: None,
            ours: Work::new([ours, "open", &huge]),
            theirs: Work::new(["qemu-img", "info", "-f", "vmdk", &huge]),
        },
    ]
}

fn over_nbd(places: &Places, serve_nbd: &str) -> Vec<Row> {
    let disk = places.of("monolithicSparse.vmdk");
    let socket = places.of("socket");
    let serve = [
        serve_nbd,
        "--read-only",
        "--unix",
        &socket,
        "--run",
        "exec nbdcopy \"$uri\" null:",
        &disk,
    ];
    let theirs = [
        "nbdcopy",
        "--",
        "[",
        "qemu-nbd",
        "--read-only",
        "--shared=8",
        "-f",
        "vmdk",
        &disk,
        "]",
        "null:",
    ];
    vec![Row {
        name: "read all of monolithicSparse over NBD".to_owned(),
        peer: "qemu-nbd, both with nbdcopy",
        target: 1.0,
        bytes: Some(READ_BYTES),
        ours: Work::new(serve),
        theirs: Work::new(theirs),
    }]
}
