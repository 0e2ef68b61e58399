//! Changes to an input that keep enough of a format's shape to get past its first checks.

use std::ops::Range;

use crate::Target;
use crate::numbers::Numbers;
use crate::target::contents_of;

/// Words of descriptors, and values that are at some limit.
const WORDS: &[&str] = &[
    "version=1\n",
    "version=3\n",
    "CID=",
    "parentCID=1f2e3d4c\n",
    "parentFileNameHint=\"base.vmdk\"\n",
    "createType=\"custom\"\n",
    "encoding=\"windows-1252\"\n",
    "isNativeSnapshot=\"yes\"\n",
    "changeTrackPath=\"ctk\"\n",
    "RW 128 FLAT \"flat\" 0\n",
    "RW 128 SPARSE \"sparse\"\n",
    "RW 128 VMFSSPARSE \"cowd\"\n",
    "RW 128 SESPARSE \"sesparse\"\n",
    "RW 128 VMFS \"flat\"\n",
    "RW 0 ZERO\n",
    "RDONLY 9 ZERO\n",
    "NOACCESS 7 FLAT \"flat\" 0\n",
    "RW ",
    "RDONLY ",
    "NOACCESS ",
    " FLAT ",
    " SPARSE ",
    " ZERO",
    " VMFS ",
    " VMFSRAW ",
    "\"flat\"",
    "\"disk.vmdk\"",
    "\"base.vmdk\"",
    "18446744073709551615",
    "18014398509481983",
    "4294967296",
    "0",
    "-1",
    "\"",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "#",
    " ",
    "\t",
    "=",
    "ddb.",
    "ddb.uuid = \"60 00\"\n",
    "ddb.thinProvisioned = \"1\"\n",
    "ddb.logicalSectorSize = \"4096\"\n",
    "ddb.geometry.sectors = \"0\"\n",
    "\u{e4}",
    "\u{feff}",
];

/// Changes the first `size` bytes of `data`, which may become up to `max_size` long; returns their new number.
///
/// `usual` is the fuzzer's own change, of the same form.
pub fn mutate(
    target: Target,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    usual: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut numbers = Numbers::new(u64::from(seed));
    if size == 0 || numbers.below(3) == 0 {
        let size = usual(data, size, max_size);
        return with_signature(target, data, size, &mut numbers);
    }
    match target {
        Target::Descriptor => words(data, size, max_size, &mut numbers),
        Target::Stream if !data.starts_with(b"KDMV") => usual(data, size, max_size),
        Target::OpenAnything => {
            let contents = contents_of(&data[..size]);
            if contents.is_empty() {
                return usual(data, size, max_size);
            }
            let place: Range<usize> = contents[numbers.index(contents.len())].clone();
            if !place.is_empty() {
                numbers_at(&mut data[place], &mut numbers);
            }
            size
        }
        _ => {
            numbers_at(&mut data[..size], &mut numbers);
            size
        }
    }
}

/// Puts back, mostly, what a file without is refused for at once.
fn with_signature(target: Target, data: &mut [u8], size: usize, numbers: &mut Numbers) -> usize {
    let signature: &[u8] = match target {
        Target::Sparse => b"KDMV",
        Target::Cowd => b"COWD",
        Target::SeSparse => &[0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0],
        _ => return size,
    };
    if numbers.below(16) != 0 && size >= 512 {
        data[..signature.len()].copy_from_slice(signature);
        if target == Target::Sparse {
            data[73..77].copy_from_slice(b"\n \r\n");
        }
    }
    size
}

/// Inserts a word, or puts it over what is there, or takes some bytes out.
fn words(data: &mut [u8], size: usize, max_size: usize, numbers: &mut Numbers) -> usize {
    let word = numbers.pick(WORDS).as_bytes();
    let at = numbers.index(size);
    match numbers.below(4) {
        0 => {
            let count = numbers.index(40).min(size - at);
            data.copy_within(at + count..size, at);
            size - count
        }
        1 if at + word.len() <= size => {
            data[at..at + word.len()].copy_from_slice(word);
            size
        }
        _ if size + word.len() <= max_size => {
            data.copy_within(at..size, at + word.len());
            data[at..at + word.len()].copy_from_slice(word);
            size + word.len()
        }
        _ => size,
    }
}

/// Gives one number of a header or a table a value that matters, or that of another.
fn numbers_at(data: &mut [u8], numbers: &mut Numbers) {
    let file = u64::try_from(data.len() / 512).expect("64 bits");
    // Most of what can go wrong is in the header, the rest in words that are aligned.
    let width = numbers.pick(&[1, 2, 4, 4, 4, 8]);
    let at = if numbers.below(3) == 0 {
        numbers.index(data.len().min(256))
    } else {
        numbers.index(data.len()) / width * width
    };
    let end = (at + width).min(data.len());
    let source = numbers.index(data.len()) / width * width;
    let copied: Vec<u8> = data[source..].iter().copied().take(end - at).collect();
    let near = |numbers: &mut Numbers| numbers.below(file + 3);
    let value: u64 = match numbers.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX >> numbers.below(64),
        3 => 1 << numbers.below(64),
        4 | 5 => near(numbers),
        6 => file.wrapping_sub(numbers.below(9)),
        _ => {
            data[at..at + copied.len()].copy_from_slice(&copied);
            return;
        }
    };
    data[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
}
