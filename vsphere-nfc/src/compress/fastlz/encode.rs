//! Finds matches with a table of the places where three bytes were last seen.

use super::{Level, NEAR};

/// Shorter input is not compressed.
const SHORTEST: usize = 16;

/// Entries of the table, as a power of two.
const TABLE_BITS: u32 = 13;

/// The longest distance of a match of level 2, minus 1. One less than what fits, as the reference library does.
const FAR: usize = 65535 + NEAR - 1;

/// The longest match of level 1; those of level 2 have no limit.
const LONGEST: usize = 255 + 9;

/// The most literals that one control byte begins.
const LITERALS: usize = 32;

/// Compresses a block. Leaves `into` empty when that does not make it smaller.
pub(in crate::compress) fn compress(level: Level, data: &[u8], into: &mut Vec<u8>) {
    if data.len() < SHORTEST {
        return;
    }
    let mut table = vec![0u32; 1 << TABLE_BITS];
    let mut at = 0;
    let mut literals = 0;
    while let Some(three) = data.get(at..).and_then(<[u8]>::first_chunk::<3>) {
        let slot = table.get_mut(slot_of(*three));
        let here = u32::try_from(at).unwrap_or(u32::MAX);
        // Zero also stands for never seen; the comparison below finds out.
        let seen = slot.map_or(0, |slot| std::mem::replace(slot, here));
        let seen = usize::try_from(seen).unwrap_or(usize::MAX);
        let found = match_between(level, data, seen, at);
        if let Some((count, distance)) = found {
            put_literals(data.get(literals..at).unwrap_or_default(), into);
            put_match(level, count, distance, into);
            at = at.saturating_add(count);
            literals = at;
        } else {
            at = at.saturating_add(1);
        }
        if into.len() >= data.len() {
            into.clear();
            return;
        }
    }
    put_literals(data.get(literals..).unwrap_or_default(), into);
    if let (Level::Two, Some(first)) = (level, into.first_mut()) {
        *first |= 1 << 5;
    }
}

/// How many bytes at `at` repeat those at `seen`, and the distance minus 1; none if it is not worth a match.
fn match_between(level: Level, data: &[u8], seen: usize, at: usize) -> Option<(usize, usize)> {
    let distance = at.checked_sub(seen)?.checked_sub(1)?;
    let (farthest, longest) = match level {
        Level::One => (NEAR, LONGEST),
        Level::Two => (FAR, usize::MAX),
    };
    if distance > farthest {
        return None;
    }
    let (old, new) = (data.get(seen..)?, data.get(at..)?);
    let pairs = old.iter().zip(new).take(longest);
    let count = pairs.take_while(|(old, new)| old == new).count();
    // A far match takes two bytes more.
    let least = if level == Level::Two && distance >= NEAR {
        5
    } else {
        3
    };
    (count >= least).then_some((count, distance))
}

fn slot_of(three: [u8; 3]) -> usize {
    let [a, b, c] = three.map(u32::from);
    let mixed = (a | b << 8 | c << 16).wrapping_mul(2_654_435_769);
    usize::try_from(mixed >> (32 - TABLE_BITS)).unwrap_or_default()
}

fn put_literals(literals: &[u8], into: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS) {
        into.push(low_byte(run.len().saturating_sub(1)));
        into.extend(run);
    }
}

/// `distance` is one less than the real one.
fn put_match(level: Level, count: usize, distance: usize, into: &mut Vec<u8>) {
    let is_far = level == Level::Two && distance >= NEAR;
    let near = if is_far { NEAR } else { distance };
    let high = low_byte(near >> 8);
    match count.checked_sub(9) {
        None => into.push(low_byte(count.saturating_sub(2)) << 5 | high),
        Some(extension) => {
            into.push(7 << 5 | high);
            let mut left = extension;
            while level == Level::Two && left >= 255 {
                into.push(255);
                left = left.saturating_sub(255);
            }
            into.push(low_byte(left));
        }
    }
    into.push(low_byte(near & 255));
    if is_far {
        let far = distance.saturating_sub(NEAR);
        into.push(low_byte(far >> 8));
        into.push(low_byte(far & 255));
    }
}

/// A number that fits into a byte.
fn low_byte(value: usize) -> u8 {
    value.to_le_bytes().first().copied().unwrap_or_default()
}
