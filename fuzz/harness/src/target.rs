//! The fuzz targets: which bytes of an input mean what.

use std::fmt;
use std::sync::LazyLock;

use vmdk_engine::Disk;

use crate::change::change;
use crate::examine::examine;
use crate::files::Files;
use crate::image::{self, GRAIN, Stream};
use crate::mend::mend;
use crate::numbers::Numbers;

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A descriptor text, among files that it may name.
    Descriptor,
    /// A hosted sparse extent: header, directories, tables.
    Sparse,
    /// An ESX copy-on-write extent, over a parent.
    Cowd,
    /// A space-efficient sparse extent, over a parent.
    SeSparse,
    /// A stream-optimised extent, or a script that makes one (the table at `stream_of`).
    Stream,
    /// Several files with their names, the first of which is opened.
    OpenAnything,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Descriptor,
        Self::Sparse,
        Self::Cowd,
        Self::SeSparse,
        Self::Stream,
        Self::OpenAnything,
    ];

    /// The name of the target, of its program and of its folders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Sparse => "sparse",
            Self::Cowd => "cowd",
            Self::SeSparse => "sesparse",
            Self::Stream => "stream",
            Self::OpenAnything => "open_anything",
        }
    }

    /// The disks that an input stands for.
    #[must_use]
    pub fn files(self, input: &[u8]) -> Vec<Files> {
        match self {
            Self::Descriptor => vec![described(input)],
            Self::Sparse => named_and_alone("RW", input),
            Self::Cowd => vec![
                delta("VMFSSPARSE", u64::from(word(input, 12)), input),
                bare_cowd(input),
            ],
            Self::SeSparse => vec![delta("SESPARSE", long(input, 16), input)],
            Self::Stream => named_and_alone("RDONLY", &stream_of(input)),
            Self::OpenAnything => vec![unpack(input)],
        }
    }

    /// Does with an input what the target is about, and panics if a claim does not hold.
    pub fn run(self, input: &[u8]) {
        LazyLock::force(&OPEN);
        self.files(input).iter().for_each(read_and_write);
    }
}

/// A disk that stays open, and with it the threads that all disks share: nothing is started for each input anew.
static OPEN: LazyLock<Disk> = LazyLock::new(|| {
    let text = image::text("custom", &["RW 8 ZERO".to_owned()]);
    let files = Files::default().with("disk.vmdk", text);
    Disk::open(files.disk(), &files.options()).expect("zeros can be read")
});

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Opens a disk in every way that there is, and holds it to what is promised.
fn read_and_write(files: &Files) {
    let first = files.contents().into_iter().next().unwrap_or_default();
    let mut numbers = Numbers::of(&first);
    let options = files.options();
    let samples = examine(files, &options, &mut numbers);
    mend(files, samples.as_deref());
    match samples {
        Some(samples) => change(files, &samples, &mut numbers),
        None => {
            examine(files, &options.clone().single_link(true), &mut numbers);
            examine(files, &options.tolerate_missing_parent(true), &mut numbers);
        }
    }
}

/// A text as the disk, and files under the names that the seeds use.
pub(crate) fn described(text: &[u8]) -> Files {
    let grains = image::some_grains(9);
    let base = image::text("monolithicFlat", &["RW 128 FLAT \"base\" 0".to_owned()]);
    Files::default()
        .with("disk.vmdk", text)
        .with("base.vmdk", base)
        .with("base", vec![0x11; 128 * 512])
        .with("flat", vec![0x22; 128 * 512])
        .with("sparse", image::Sparse::extent(128, grains.clone()).build())
        .with("cowd", image::cowd(128, 1, &grains))
        .with("sesparse", image::se_sparse(128, &grains))
}

/// A text that names one other file.
fn named(text: &str, extent: &[u8]) -> Files {
    Files::default()
        .with("disk.vmdk", text)
        .with("extent", extent)
}

/// A hosted sparse file as the extent of a text that gives it the size of its header, and as a disk of its own.
fn named_and_alone(access: &str, bytes: &[u8]) -> Vec<Files> {
    let line = format!("{access} {} SPARSE \"extent\"", long(bytes, 12));
    let alone = Files::default().with("disk.vmdk", bytes);
    vec![named(&image::text("custom", &[line]), bytes), alone]
}

/// An extent that lies over a parent with some data and many zeros.
fn delta(kind: &str, capacity: u64, extent: &[u8]) -> Files {
    let line = format!("RW {capacity} {kind} \"extent\"");
    let flat = capacity.min(64);
    let lines = [
        format!("RW {flat} FLAT \"flat\" 0"),
        format!("RW {} ZERO", capacity - flat),
    ];
    named(&image::child(&image::text("custom", &[line])), extent)
        .with("base.vmdk", image::text("custom", &lines))
        .with("flat", vec![0x11; 64 * 512])
}

/// A COWD file as a disk of its own, over a base that may fit it.
fn bare_cowd(bytes: &[u8]) -> Files {
    let grains = image::some_grains(9);
    Files::default().with("disk.vmdk", bytes).with(
        "base.vmdk",
        image::bare(image::cowd(8192, 1, &grains), &image::GEOMETRY, 7),
    )
}

/// The bytes of a stream: the input itself if it has the signature of one.
///
/// Otherwise the input is a script, so that checksums and places agree however it is changed. It begins with the
/// capacity in grains (one byte), then come steps of a byte for what to do and its operands:
///
/// | step | operands | appends |
/// |---|---|---|
/// | 0 | grain, fill, sectors | a record, well compressed |
/// | 1 | grain, length, bytes | a record of these bytes |
/// | 2 | sectors, kind | a marker |
/// | 3 | | the table of the records so far |
/// | 4 | | a table without a place |
/// | 5 | length, bytes | these bytes, up to the next sector |
/// | 6 | | the end, without a directory and a footer |
///
/// At the end of the script come the last table, the directory and the footer.
pub(crate) fn stream_of(input: &[u8]) -> Vec<u8> {
    if input.starts_with(b"KDMV") {
        return input.to_vec();
    }
    let mut script = input.iter().copied();
    let mut next = || script.next();
    let Some(grains) = next() else {
        return Vec::new();
    };
    let mut stream = Stream::new((u64::from(grains) + 1) * GRAIN - 3);
    let mut steps = 0;
    while let Some(step) = next().filter(|_| steps < 200) {
        steps += 1;
        let mut operand = || u64::from(next().unwrap_or(0));
        match step % 7 {
            0 => {
                let (grain, fill, sectors) = (operand(), operand(), operand());
                let length = usize::try_from(sectors % 20 * 512).expect("small");
                let fill = u8::try_from(fill).expect("a byte");
                let length = if length == 0 { 4096 } else { length };
                stream.record(grain, &image::stored(&vec![fill; length]));
            }
            1 => {
                let (grain, length) = (operand(), operand());
                let bytes: Vec<u8> = (0..length).map_while(|_| next()).collect();
                stream.record(grain, &bytes);
            }
            2 => {
                let (sectors, kind) = (operand(), operand());
                stream.marker(sectors, u32::try_from(kind).expect("a byte"));
            }
            3 => stream.table(),
            4 => stream.no_table(),
            5 => {
                let length = operand();
                let bytes: Vec<u8> = (0..length).map_while(|_| next()).collect();
                stream.raw(&bytes);
            }
            _ => return stream.cut(),
        }
    }
    stream.table();
    stream.finish()
}

/// Several files in one input: for each its name behind one byte of length, its content behind four.
pub(crate) fn pack(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, content) in files {
        packed.push(u8::try_from(name.len()).expect("a short name"));
        packed.extend(name.as_bytes());
        packed.extend(
            u32::try_from(content.len())
                .expect("a small file")
                .to_le_bytes(),
        );
        packed.extend(content);
    }
    packed
}

/// The files of an input; what is cut off is short or missing.
fn unpack(mut input: &[u8]) -> Files {
    let mut files = Files::default();
    for _ in 0..16 {
        let Some((length, rest)) = input.split_first() else {
            break;
        };
        let (name, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let size = usize::try_from(word(rest, 0)).unwrap_or(usize::MAX);
        let rest = rest.get(4..).unwrap_or_default();
        let (content, rest) = rest.split_at(size.min(rest.len()));
        files = files.with(&String::from_utf8_lossy(name), content);
        input = rest;
    }
    files
}

/// The places of the contents in a packed input.
pub(crate) fn contents_of(input: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(length) = input.get(at) {
        let size = at + 1 + usize::from(*length);
        let start = size + 4;
        if start >= input.len() {
            break;
        }
        let length = usize::try_from(word(input, size)).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(input.len());
        found.push(start..end);
        at = end;
    }
    found
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    u32::from_le_bytes(*found.unwrap_or(&[0; 4]))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    u64::from_le_bytes(*found.unwrap_or(&[0; 8]))
}
