//! Streams as streams: what is written comes back, in every way that there is to read it; and what is damaged, cut or
//! made on purpose is refused.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use support::image::{MemoryGate, StreamImage, put, put_entry};
use support::{Numbers, content, has_qemu, run, samples};
use vmdk_engine::{
    CreateOptions, Disk, DiskKind, Error, ErrorKind, OpenOptions, Sector, SectorCount,
    StreamReader, StreamWriter,
};

const GRAIN_BYTES: usize = 65536;

fn options(sectors: u64) -> CreateOptions {
    CreateOptions::new(DiskKind::StreamOptimized, SectorCount::new(sectors))
}

fn writer(sectors: u64) -> StreamWriter<Vec<u8>> {
    StreamWriter::new(Vec::new(), "disk.vmdk", &options(sectors)).unwrap()
}

/// Content with holes, text and noise, by grains.
fn patchwork(sectors: u64, seed: u64) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(sectors * 512).unwrap()];
    let mut numbers = Numbers::new(seed);
    for grain in content.chunks_mut(GRAIN_BYTES) {
        match numbers.below(4) {
            0 => {}
            1 => numbers.fill(grain),
            2 => grain.fill(u8::try_from(numbers.below(256)).unwrap()),
            _ => {
                let at =
                    usize::try_from(numbers.below(u64::try_from(grain.len()).unwrap())).unwrap();
                grain[at] = 1;
            }
        }
    }
    content
}

/// Content without zeros that compresses well.
fn stripes(sectors: u32) -> Vec<u8> {
    let byte = |at: u32| u8::try_from(at / 777 % 255 + 1).unwrap();
    (0..sectors * 512).map(byte).collect()
}

/// Writes a disk in pieces of `grains`.
fn stream_of(content: &[u8], grains: usize) -> Vec<u8> {
    let mut writer = writer(u64::try_from(content.len() / 512).unwrap());
    for (number, piece) in (0..).zip(content.chunks(grains * GRAIN_BYTES)) {
        let start = number * u64::try_from(grains).unwrap() * 128;
        writer.write_at(Sector::new(start), piece).unwrap();
    }
    writer.finish().unwrap()
}

/// The content as the sequential reader gives it.
fn read_stream(stream: impl Read) -> Result<Vec<u8>, Error> {
    let reader = StreamReader::new(stream)?;
    let mut content = vec![0; usize::try_from(reader.capacity().bytes().unwrap().get()).unwrap()];
    for grain in reader {
        let grain = grain?;
        let start = usize::try_from(grain.start().get() * 512).unwrap();
        content[start..start + grain.bytes().len()].copy_from_slice(grain.bytes());
    }
    Ok(content)
}

fn open(stream: &[u8]) -> Result<Disk, Error> {
    let gate = MemoryGate::default().with("disk.vmdk", stream);
    Disk::open("disk.vmdk", &gate.options())
}

fn error_of<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_both_ways(
        sectors in prop::sample::select(&[1_u64, 7, 127, 128, 129, 1000, 4096, 5003][..]),
        pieces in 1_usize..9,
        level in 0_u32..10,
        seed in any::<u64>(),
    ) {
        let model = patchwork(sectors, seed);
        let mut writer = writer(sectors).with_level(level);
        for (number, piece) in (0..).zip(model.chunks(pieces * GRAIN_BYTES)) {
            let start = number * u64::try_from(pieces).unwrap() * 128;
            // Zeros may be written or left out.
            if seed % 2 == 0 || piece.iter().any(|byte| *byte != 0) {
                writer.write_at(Sector::new(start), piece).unwrap();
            }
        }
        let stream = writer.finish().unwrap();
        prop_assert!(read_stream(&stream[..]).unwrap() == model);
        let disk = open(&stream).unwrap();
        prop_assert!(content(&disk) == model);
        // In small pieces, forwards, with the read-ahead at work.
        let mut start = 0;
        let step = 1 + seed % 200;
        while start < sectors {
            let count = step.min(sectors - start);
            let mut part = vec![0xee; usize::try_from(count * 512).unwrap()];
            disk.read_at(Sector::new(start), &mut part).unwrap();
            let at = usize::try_from(start * 512).unwrap();
            prop_assert!(part == model[at..at + part.len()], "sector {start}");
            start += count;
        }
    }
}

#[test]
fn the_parts_of_a_stream_stand_where_exports_have_them() {
    let sectors = 2 * 65536 + 300;
    let mut writer = writer(sectors);
    writer.write_at(Sector::new(0), &[1; GRAIN_BYTES]).unwrap();
    writer
        .write_at(Sector::new(2 * 65536 + 256), &[2; 44 * 512])
        .unwrap();
    assert_eq!(writer.written(), Sector::new(sectors));
    let stream = writer.finish().unwrap();
    let number = |at: usize| u32::from_le_bytes(stream[at..at + 4].try_into().unwrap());
    let marker = |sector: usize| {
        (
            number(sector * 512),
            number(sector * 512 + 8),
            number(sector * 512 + 12),
        )
    };
    assert_eq!(&stream[..4], b"KDMV");
    assert_eq!((number(4), number(8)), (3, 0x30001));
    assert_eq!(stream[56..64], [0xff; 8]);
    assert!(stream[512..].starts_with(b"# Disk DescriptorFile\n"));
    let text = String::from_utf8_lossy(&stream[512..21 * 512]).into_owned();
    assert!(text.contains("createType=\"streamOptimized\""), "{text}");
    assert!(
        text.contains(&format!("\nRDONLY {sectors} SPARSE \"disk.vmdk\"\n")),
        "{text}"
    );
    // A record of a sector each; the table without a grain is left out.
    assert_eq!(number(128 * 512), 0);
    assert_eq!(marker(129), (4, 0, 1));
    assert_eq!(number(130 * 512), 128);
    assert_eq!(number(134 * 512), 2 * 65536 + 256);
    assert_eq!(marker(135), (4, 0, 1));
    assert_eq!(number(136 * 512 + 2 * 4), 134);
    assert_eq!(marker(140), (1, 0, 2));
    let directory = [
        number(141 * 512),
        number(141 * 512 + 4),
        number(141 * 512 + 8),
    ];
    assert_eq!(directory, [130, 0, 136]);
    assert_eq!(marker(142), (1, 0, 3));
    assert_eq!(stream[143 * 512..][..56], stream[..56]);
    assert_eq!(number(143 * 512 + 56), 141);
    assert_eq!(stream[144 * 512..], [0; 512]);
    let mut expected = vec![0; usize::try_from(sectors * 512).unwrap()];
    expected[..GRAIN_BYTES].fill(1);
    let last = expected.len() - 44 * 512;
    expected[last..].fill(2);
    assert!(read_stream(&stream[..]).unwrap() == expected);
    assert!(content(&open(&stream).unwrap()) == expected);
}

#[test]
fn an_empty_stream_is_a_disk_of_zeros() {
    let stream = writer(1000).finish().unwrap();
    assert_eq!(stream.len(), (128 + 5) * 512);
    assert!(
        read_stream(&stream[..])
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
    assert!(
        content(&open(&stream).unwrap())
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn a_stream_goes_forward_only_and_in_whole_grains() {
    let mut writer = writer(1000);
    let kind = |result: Result<(), Error>| error_of(result);
    writer
        .write_at(Sector::new(128), &[1; GRAIN_BYTES])
        .unwrap();
    for (start, length) in [
        (128, GRAIN_BYTES),
        (0, GRAIN_BYTES),
        (255, 512),
        (256, 512),
        (257, GRAIN_BYTES),
    ] {
        let error = writer
            .write_at(Sector::new(start), &vec![1; length])
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Unsupported,
            "{start} {length}: {error}"
        );
    }
    assert_eq!(
        kind(writer.write_at(Sector::new(896), &[1; GRAIN_BYTES])),
        ErrorKind::OutOfRange
    );
    assert_eq!(
        kind(writer.write_at(Sector::new(256), &[1; 100])),
        ErrorKind::InvalidArgument
    );
    writer.write_at(Sector::new(0), &[]).unwrap();
    // Nothing of that has done any harm.
    writer.write_at(Sector::new(896), &[2; 104 * 512]).unwrap();
    let read = read_stream(&writer.finish().unwrap()[..]).unwrap();
    let mut expected = vec![0; 512_000];
    expected[GRAIN_BYTES..2 * GRAIN_BYTES].fill(1);
    expected[896 * 512..].fill(2);
    assert!(read == expected);
    for sectors in [0, u64::MAX] {
        let error = StreamWriter::new(io::sink(), "disk.vmdk", &options(sectors)).unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::InvalidArgument | ErrorKind::FileTooBig
            ),
            "{error}"
        );
    }
}

/// Takes so many bytes and then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken = buf.len().min(self.0);
        self.0 -= taken;
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_sink_is_reported_once_and_ends_the_stream() {
    let mut noise = vec![0; 16 * GRAIN_BYTES];
    Numbers::new(5).fill(&mut noise);
    let mut writer = StreamWriter::new(Full(700_000), "disk.vmdk", &options(10_000)).unwrap();
    let mut errors = Vec::new();
    for round in 0..4 {
        if let Err(error) = writer.write_at(Sector::new(round * 2048), &noise) {
            errors.push(error.kind());
        }
    }
    assert_eq!(errors[0], ErrorKind::DiskFull);
    assert!(
        errors[1..]
            .iter()
            .all(|kind| *kind == ErrorKind::WritesSuspended)
    );
    assert_eq!(
        error_of(writer.finish().map(|_| ())),
        ErrorKind::WritesSuspended
    );
}

/// A sink whose bytes can be looked at after the writer is gone.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_unfinished_stream_is_refused_by_everyone() {
    let mut noise = vec![0; 64 * GRAIN_BYTES];
    Numbers::new(5).fill(&mut noise);
    let sink = Shared::default();
    let mut writer = StreamWriter::new(sink.clone(), "disk.vmdk", &options(20_000)).unwrap();
    writer.write_at(Sector::new(0), &noise).unwrap();
    drop(writer);
    let bytes = sink.0.lock().unwrap().clone();
    assert!(!bytes.is_empty());
    assert_eq!(error_of(open(&bytes)), ErrorKind::InvalidDisk);
    assert_eq!(error_of(read_stream(&bytes[..])), ErrorKind::InvalidDisk);
    if has_qemu() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        fs::write(&path, bytes).unwrap();
        let info = Command::new("qemu-img")
            .arg("info")
            .arg(&path)
            .output()
            .unwrap();
        assert!(!info.status.success());
    }
}

fn qemu_sum(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("raw");
    run(Command::new("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([path, &raw]));
    let sum = Sha256::digest(fs::read(&raw).unwrap()).to_vec();
    fs::remove_file(raw).unwrap();
    sum
}

#[test]
fn qemu_img_reads_what_is_written_and_finds_it_good() {
    if !has_qemu() {
        return;
    }
    for (seed, sectors) in (0..).zip([1, 100, 128, 129, 4096, 70_001, 131_500]) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        let model = patchwork(sectors, seed);
        fs::write(&path, stream_of(&model, 7)).unwrap();
        let info = run(Command::new("qemu-img")
            .args(["info", "--output=json"])
            .arg(&path));
        assert!(
            info.contains(&format!("\"virtual-size\": {}", sectors * 512)),
            "{info}"
        );
        assert!(
            info.contains("\"create-type\": \"streamOptimized\""),
            "{info}"
        );
        assert_eq!(
            qemu_sum(&path),
            Sha256::digest(&model).to_vec(),
            "{sectors} sectors"
        );
        let raw = scratch.path().join("model.raw");
        fs::write(&raw, &model).unwrap();
        run(Command::new("qemu-img")
            .args(["compare", "-f", "vmdk", "-F", "raw"])
            .args([&path, &raw]));
        let check = run(Command::new("qemu-img").arg("check").arg(&path));
        assert!(check.contains("No errors"), "{check}");
    }
}

#[test]
fn streams_of_qemu_img_are_read_and_missed_grains_are_noticed() {
    if !has_qemu() {
        return;
    }
    for sectors in [128, 300, 5003] {
        let scratch = tempfile::tempdir().unwrap();
        let (raw, path) = (
            scratch.path().join("m.raw"),
            scratch.path().join("disk.vmdk"),
        );
        let model = patchwork(sectors, 3 + sectors);
        fs::write(&raw, &model).unwrap();
        run(Command::new("qemu-img")
            .args([
                "convert",
                "-f",
                "raw",
                "-O",
                "vmdk",
                "-o",
                "subformat=streamOptimized",
            ])
            .args([&raw, &path]));
        let stream = fs::read(&path).unwrap();
        assert!(
            read_stream(&stream[..]).unwrap() == model,
            "{sectors} sectors"
        );
        assert!(
            content(&open(&stream).unwrap()) == model,
            "{sectors} sectors"
        );
        // Cut at any border of sectors it lacks a grain, unless it lacks zeros at the end only.
        for end in (1..stream.len() / 512)
            .rev()
            .step_by(1 + stream.len() / 512 / 300)
        {
            if let Ok(read) = read_stream(&stream[..end * 512]) {
                assert!(read == model, "{sectors} sectors, cut at {end}");
            }
        }
    }
}

#[test]
fn the_public_export_is_read_both_ways() {
    let Some(samples) = samples() else { return };
    let path = samples.join("qemu-iotests/iotest-version3.vmdk");
    let file = io::BufReader::new(fs::File::open(&path).unwrap());
    let reader = StreamReader::new(file).unwrap();
    assert_eq!(reader.capacity().get(), 33_554_432);
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    let mut grains = 0;
    for grain in reader {
        let grain = grain.unwrap();
        let mut same = vec![0; grain.bytes().len()];
        disk.read_at(grain.start(), &mut same).unwrap();
        assert!(grain.bytes() == same, "{grain:?}");
        // The first hundred hold one sector of one digit each.
        let number = grain.start().get() / 1280;
        if number < 100 {
            let at = usize::try_from(number * 512).unwrap();
            let digit = b'0' + u8::try_from(number % 10).unwrap();
            assert_eq!(grain.start().get(), number * 1280);
            assert!(
                grain.bytes()[at..at + 512]
                    .iter()
                    .all(|byte| *byte == digit)
            );
            let others = grain.bytes().iter().filter(|byte| **byte != 0).count();
            assert_eq!(others, 512);
        }
        grains += 1;
    }
    assert_eq!(grains, 151);
}

#[test]
fn every_public_stream_has_one_content_however_it_is_read() {
    let Some(samples) = samples() else { return };
    for name in [
        "vmdk-rs/streamOptimized.vmdk",
        "vmdk-forensic/compressed_stream_opt.vmdk",
    ] {
        let bytes = fs::read(samples.join(name)).unwrap();
        assert!(
            read_stream(&bytes[..]).unwrap() == content(&open(&bytes).unwrap()),
            "{name}"
        );
    }
}

#[test]
fn a_stream_cut_anywhere_gives_what_was_good_and_then_an_error() {
    let model = patchwork(2000, 9);
    let stream = stream_of(&model, 1);
    for end in (0..stream.len()).step_by(613) {
        let Ok(reader) = StreamReader::new(&stream[..end]) else {
            continue;
        };
        let mut failed = false;
        for grain in reader {
            assert!(!failed, "cut at {end}: the error is the last item");
            match grain {
                Ok(grain) => {
                    let at = usize::try_from(grain.start().get() * 512).unwrap();
                    assert!(model[at..].starts_with(grain.bytes()));
                }
                Err(_) => failed = true,
            }
        }
        assert!(failed, "cut at {end}");
    }
}

#[test]
fn the_source_is_left_right_behind_the_stream() {
    let model = patchwork(1000, 4);
    let mut bytes = stream_of(&model, 3);
    bytes.extend(b"what follows in an archive");
    let mut reader = StreamReader::new(&bytes[..]).unwrap();
    assert!(reader.by_ref().all(|grain| grain.is_ok()));
    assert_eq!(reader.into_inner(), b"what follows in an archive");
}

/// Where the records and the markers of a small stream stand, in sectors.
fn records(stream: &[u8]) -> Vec<usize> {
    let mut sectors = Vec::new();
    let mut at = 128;
    loop {
        let head = &stream[at * 512..at * 512 + 16];
        let size = u32::from_le_bytes(head[8..12].try_into().unwrap());
        if size == 0 {
            return sectors;
        }
        sectors.push(at);
        at += (12 + usize::try_from(size).unwrap()).div_ceil(512);
    }
}

#[test]
fn hostile_streams_are_refused() {
    let model = stripes(1000);
    let good = stream_of(&model, 3);
    let grains = records(&good);
    let tail = good.len() - 3 * 512;
    let read = |stream: &[u8]| read_stream(stream).map(|content| content.len());
    let patched = |at: usize, bytes: &[u8]| {
        let mut stream = good.clone();
        put(&mut stream, at, bytes);
        read(&stream)
    };
    let record = |number: usize| grains[number] * 512;
    assert_eq!(patched(0, b"KDMV").unwrap(), model.len());

    use ErrorKind::{Corrupt, InvalidDisk, Unsupported, UnsupportedVersion};
    let huge = u64::MAX.to_le_bytes();
    let cases: Vec<(&str, Result<usize, Error>, ErrorKind)> = vec![
        (
            "a grain again",
            patched(record(2), &128_u64.to_le_bytes()),
            Corrupt,
        ),
        (
            "between two grains",
            patched(record(2), &257_u64.to_le_bytes()),
            Corrupt,
        ),
        (
            "behind the disk",
            patched(record(2), &1024_u64.to_le_bytes()),
            Corrupt,
        ),
        (
            "far behind the disk",
            patched(record(2), &(u64::MAX - 127).to_le_bytes()),
            Corrupt,
        ),
        (
            "a record of 2 GiB",
            patched(record(2) + 8, &0x7fff_ffff_u32.to_le_bytes()),
            Corrupt,
        ),
        (
            "a record of one byte",
            patched(record(2) + 8, &1_u32.to_le_bytes()),
            Corrupt,
        ),
        (
            "a record without data",
            patched(record(2) + 8, &0_u32.to_le_bytes()),
            Corrupt,
        ),
        (
            "a marker of 2^64 sectors",
            patched(tail - 1024, &huge),
            Corrupt,
        ),
        (
            "an unknown marker",
            patched(tail - 1024 + 12, &9_u32.to_le_bytes()),
            Corrupt,
        ),
        (
            "a footer of other capacity",
            patched(tail + 512 + 12, &2000_u64.to_le_bytes()),
            InvalidDisk,
        ),
        (
            "a footer without magic",
            patched(tail + 512, b"XXXX"),
            InvalidDisk,
        ),
        ("no footer", patched(tail, &[0; 16]), InvalidDisk),
        (
            "garbage for data",
            patched(record(1) + 20, &[0xaa; 200]),
            Corrupt,
        ),
        ("not compressed", patched(8, &[1, 0, 0, 0]), InvalidDisk),
        ("no markers", patched(8, &[1, 0, 1, 0]), Unsupported),
        ("version 4", patched(4, &[4]), UnsupportedVersion),
        ("version 0", patched(4, &[0]), UnsupportedVersion),
        ("capacity 0", patched(12, &[0; 8]), InvalidDisk),
        (
            "capacity of 2^53",
            patched(12, &(1_u64 << 53).to_le_bytes()),
            InvalidDisk,
        ),
        ("grain size 0", patched(20, &[0; 8]), InvalidDisk),
        ("grain size 100", patched(20, &[100]), InvalidDisk),
        (
            "grain size 2^63",
            patched(20, &(1_u64 << 63).to_le_bytes()),
            InvalidDisk,
        ),
        ("no text", patched(28, &[0; 8]), InvalidDisk),
        ("text behind the grains", patched(28, &huge), InvalidDisk),
        (
            "text of 2^40 sectors",
            patched(36, &(1_u64 << 40).to_le_bytes()),
            InvalidDisk,
        ),
        (
            "513 entries per table",
            patched(44, &513_u32.to_le_bytes()),
            InvalidDisk,
        ),
        (
            "grains behind 2 TiB",
            patched(64, &(1_u64 << 40).to_le_bytes()),
            Corrupt,
        ),
        ("not a disk", read(&[7; 4096]), InvalidDisk),
        (
            "a text descriptor",
            read(b"# Disk DescriptorFile\nversion=1\n"),
            InvalidDisk,
        ),
        ("nothing", read(&[]), InvalidDisk),
    ];
    for (what, result, kind) in cases {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn a_bomb_is_not_inflated_further_than_a_grain() {
    // 64 MiB of zeros in a record of 64 KiB, where a grain has 64 KiB.
    let bomb = support::image::deflate(&vec![0; 64 << 20]);
    let content = vec![1; 2 * GRAIN_BYTES];
    let image = StreamImage::build(&content, true);
    let first = usize::try_from(image.records[0]).unwrap() * 512;
    let mut stream = image.bytes[..first + 12].to_vec();
    put(
        &mut stream,
        first + 8,
        &u32::try_from(bomb.len()).unwrap().to_le_bytes(),
    );
    stream.extend(&bomb);
    stream.resize(stream.len().next_multiple_of(512), 0);
    stream.extend(&image.bytes[usize::try_from(image.records[1]).unwrap() * 512..]);
    assert_eq!(error_of(read_stream(&stream[..])), ErrorKind::Corrupt);
}

/// Bytes for ever: the head of a stream, and then always the same sector.
struct Endless {
    head: Vec<u8>,
    at: usize,
    sector: [u8; 512],
}

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for byte in buf.iter_mut() {
            *byte = self
                .head
                .get(self.at)
                .copied()
                .unwrap_or(self.sector[self.at % 512]);
            self.at += 1;
        }
        Ok(buf.len())
    }
}

#[test]
fn a_source_without_end_is_left_in_bounded_time_and_memory() {
    let good = stream_of(&[1; GRAIN_BYTES], 1);
    let mut sector = [0; 512];
    // Each marker claims the most that one may: a table of four sectors.
    sector[0] = 4;
    sector[12] = 1;
    let source = Endless {
        head: good[..128 * 512].to_vec(),
        at: 0,
        sector,
    };
    // 2 TiB of them would end it. The reader holds on to nothing meanwhile, so that a caller who limits the source is
    // told what it was.
    let error = read_stream(source.take(8 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDisk);
    assert!(error.to_string().contains("incomplete"), "{error}");
    // A repeated grain ends it at once.
    let mut sector = [0; 512];
    sector[8] = 100;
    let source = Endless {
        head: good[..128 * 512].to_vec(),
        at: 0,
        sector,
    };
    assert_eq!(error_of(read_stream(source)), ErrorKind::Corrupt);
}

#[test]
fn tables_in_front_must_agree_with_the_grains() {
    let Some(samples) = samples() else { return };
    let path = samples.join("vmdk-rs/streamOptimized.vmdk");
    let mut stream = fs::read(path).unwrap();
    let model = read_stream(&stream[..]).unwrap();
    assert!(!model.is_empty());
    // One more entry in the first table.
    let number =
        |stream: &[u8], at: usize| u64::from_le_bytes(stream[at..at + 8].try_into().unwrap());
    let directory = usize::try_from(number(&stream, 56)).unwrap() * 512;
    let table = u32::from_le_bytes(stream[directory..directory + 4].try_into().unwrap());
    put_entry(&mut stream, u64::from(table), 511, 12_345);
    let error = read_stream(&stream[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("incomplete"), "{error}");
}

#[test]
fn a_long_request_and_many_readers_see_the_same() {
    let model = patchwork(20_000, 11);
    let disk = open(&stream_of(&model, 5)).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (disk, model) = (&disk, &model);
            scope.spawn(move || {
                let mut numbers = Numbers::new(seed);
                for _ in 0..60 {
                    let start = numbers.below(20_000);
                    let count = 1 + numbers.below((20_000 - start).min(3000));
                    let mut part = vec![0xee; usize::try_from(count * 512).unwrap()];
                    disk.read_at(Sector::new(start), &mut part).unwrap();
                    let at = usize::try_from(start * 512).unwrap();
                    assert!(part == model[at..at + part.len()]);
                }
            });
        }
    });
}

#[test]
fn damage_shows_where_it_is_and_nowhere_else() {
    let model = stripes(4000);
    let mut stream = stream_of(&model, 4);
    let grains = records(&stream);
    stream[grains[10] * 512 + 30] ^= 0xff;
    let disk = open(&stream).unwrap();
    let kind = |start: u64, count: usize| {
        let result = disk.read_at(Sector::new(start), &mut vec![0; count * 512]);
        result.err().map(|error| error.kind())
    };
    assert_eq!(kind(0, 4000), Some(ErrorKind::Corrupt));
    for round in 0..3 {
        // By a reader that gets grains ahead, too.
        for start in (0..4000).step_by(8) {
            let expected = (1280..1408).contains(&start).then_some(ErrorKind::Corrupt);
            assert_eq!(kind(start, 8), expected, "sector {start}, round {round}");
        }
    }
    assert_eq!(kind(1280, 128), Some(ErrorKind::Corrupt));
    assert_eq!(kind(1408, 2592), None);
}
