use std::io::Write;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn compressed(level: Level, data: &[u8]) -> Vec<u8> {
    let mut into = Vec::new();
    compress(level, data, &mut into);
    into
}

fn decompressed(data: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    let mut into = vec![0xA5; length];
    decompress(data, &mut into).map(|()| into)
}

/// Numbers that never repeat soon, from a state that is changed.
fn noise(state: &mut u32, count: usize) -> Vec<u8> {
    let next = || {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Noise that comes again at many distances and lengths.
fn samples() -> Vec<Vec<u8>> {
    let mut state = 1;
    let mut samples = vec![
        vec![0; 16],
        vec![7; 65536],
        vec![0; 200_000],
        noise(&mut state, 65536),
        b"to be or not to be, that is the question. ".repeat(300),
    ];
    let near = [1usize, 2, 7, 600];
    let far = [8190, 8191, 8192, 8193, 73_726, 73_727, 73_728];
    let lengths = [3usize, 4, 5, 8, 9, 10, 263, 264, 265, 518, 519, 520, 3000];
    let few = [4, 5, 265, 520];
    let near = near
        .iter()
        .flat_map(|distance| lengths.iter().map(move |count| (*distance, *count)));
    let far = far
        .iter()
        .flat_map(|distance| few.iter().map(move |count| (*distance, *count)));
    for (distance, count) in near.chain(far) {
        let word = noise(&mut state, count);
        let mut sample = word.clone();
        if let Some(between) = distance.checked_sub(count) {
            sample.extend(noise(&mut state, between));
        }
        sample.extend(word);
        sample.extend(noise(&mut state, 20));
        // So that it gets smaller, and is not left as it is.
        sample.extend(vec![0; 4000]);
        samples.push(sample);
    }
    samples
}

#[test]
fn every_length_and_distance_comes_back() {
    for (at, sample) in samples().into_iter().enumerate() {
        for level in [Level::One, Level::Two] {
            let small = compressed(level, &sample);
            if small.is_empty() {
                continue;
            }
            assert_eq!(small[0] >> 5, (level == Level::Two).into());
            assert!(
                decompressed(&small, sample.len()).unwrap() == sample,
                "sample {at}, {level:?}"
            );
        }
    }
}

#[test]
fn far_matches_are_found_in_level_2() {
    let mut state = 5;
    let word = noise(&mut state, 5000);
    let sample = [word.clone(), noise(&mut state, 20_000), word].concat();
    let two = compressed(Level::Two, &sample);
    assert!(!two.is_empty() && two.len() < 26_000, "{}", two.len());
    assert!(compressed(Level::One, &sample).is_empty());
}

#[test]
fn short_input_is_left_alone() {
    assert!(compressed(Level::One, &[0; 15]).is_empty());
    assert!(!compressed(Level::One, &[0; 16]).is_empty());
    assert_eq!(Level::for_length(65535), Level::One);
    assert_eq!(Level::for_length(65536), Level::Two);
}

#[test]
fn bad_blocks_are_refused() {
    // One literal, then 3 bytes from 1 back.
    let good = [0, b'x', 1 << 5, 0];
    assert_eq!(decompressed(&good, 4).unwrap(), b"xxxx");
    assert_eq!(decompressed(&good, 3), Err("it is longer than announced"));
    assert_eq!(decompressed(&good, 5), Err("it has another length"));
    assert_eq!(decompressed(&good[..3], 4), Err("it ends too early"));
    assert_eq!(decompressed(&[], 0), Err("it ends too early"));
    let before = [0, b'x', 1 << 5, 1];
    assert_eq!(decompressed(&before, 4), Err("a match is before its begin"));
    let level_3 = [2 << 5, b'x'];
    assert_eq!(decompressed(&level_3, 1), Err("its level is unknown"));
    let literals_beyond = [31, b'x'];
    assert!(decompressed(&literals_beyond, 32).is_err());
    let endless = [1 << 5, b'x', 7 << 5, 255, 255, 255, 255];
    assert!(decompressed(&endless, 5000).is_err());
}

proptest! {
    #[test]
    fn any_block_is_taken_or_refused(first in 0u8..64, rest in vec(any::<u8>(), 0..100), length in 0usize..1000) {
        let block: Vec<u8> = std::iter::once(first).chain(rest).collect();
        let _ = decompressed(&block, length);
    }
}

/// The reference library takes our blocks and we take its own.
#[test]
fn the_reference_library_agrees() {
    const SCRIPT: &str = "
import struct, sys, fastlz
data = sys.stdin.buffer
while True:
    head = data.read(12)
    if not head:
        break
    level, raw, small = struct.unpack('<III', head)
    raw = data.read(raw)
    small = data.read(small)
    # The binding puts the length before a block.
    assert fastlz.decompress(struct.pack('<I', len(raw)) + small) == raw, (level, len(raw))
    theirs = fastlz.compress(raw, level)[4:]
    sys.stdout.buffer.write(struct.pack('<I', len(theirs)) + theirs)
";
    // `cargo xtask test` makes it.
    let python = std::env::var_os("VSPHERE_NFC_PYTHON").unwrap_or("python3".into());
    let found = Command::new(&python)
        .args(["-c", "import fastlz"])
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: FastLZ is not compared: {} has no package pyfastlz",
            python.display()
        );
        return;
    }
    let samples = samples();
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for sample in &samples {
        for (number, level) in [(1, Level::One), (2, Level::Two)] {
            let small = compressed(level, sample);
            if small.is_empty() {
                continue;
            }
            for number in [number, sample.len(), small.len()] {
                asked.extend(u32::try_from(number).unwrap().to_le_bytes());
            }
            asked.extend(sample);
            asked.extend(small);
            expected.push(sample);
        }
    }
    let mut python = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&asked));
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the reference library disagrees");
    writer.join().unwrap().unwrap();
    let mut theirs = output.stdout.as_slice();
    for sample in expected {
        let (length, rest) = theirs.split_first_chunk().unwrap();
        let (block, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        assert!(decompressed(block, sample.len()).unwrap() == *sample);
        theirs = rest;
    }
    assert!(theirs.is_empty());
}
