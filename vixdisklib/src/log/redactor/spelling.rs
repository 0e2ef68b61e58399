//! The ways to write a byte.

use std::collections::BTreeSet;

/// How many bytes at the start of `text` spell `secret`, whichever way each of its characters is written; the most if
/// there are several readings.
pub(super) fn spelled(secret: &[u8], text: &[u8]) -> Option<usize> {
    let mut longest = None;
    // Each place in the secret, with the place in the text up to which it may be spelled.
    let mut open: Vec<(usize, usize)> = first(secret, text).collect();
    let mut seen = BTreeSet::new();
    while let Some((known, at)) = open.pop() {
        if !seen.insert((known, at)) {
            continue;
        }
        if known == secret.len() {
            longest = longest.max(Some(at));
            continue;
        }
        let more = first(&secret[known..], &text[at..]);
        open.extend(more.map(|(written, length)| (known + written, at + length)));
    }
    longest
}

/// How many bytes of `secret` the first character of `text` spells, and its own length there: read as an escape, and as
/// it stands.
fn first(secret: &[u8], text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let plain = text
        .first()
        .and_then(|byte| one(secret, *byte))
        .map(|written| (written, 1));
    let escaped = escape(secret, text).and_then(|(written, length)| Some((written?, length)));
    plain.into_iter().chain(escaped)
}

fn escape(secret: &[u8], text: &[u8]) -> Option<(Option<usize>, usize)> {
    match text.first()? {
        b'%' => Some((one(secret, hex(text.get(1..3)?)?), 3)),
        b'+' => Some((one(secret, b' '), 1)),
        b'&' => entity(text).map(|(char, length)| (character(secret, char), length)),
        b'\\' => backslash(secret, text),
        _ => None,
    }
}

/// 1 if `secret` begins with this byte.
fn one(secret: &[u8], byte: u8) -> Option<usize> {
    (secret.first() == Some(&byte)).then_some(1)
}

/// The length of this character, if `secret` begins with it.
fn character(secret: &[u8], char: char) -> Option<usize> {
    let mut bytes = [0; 4];
    let bytes = char.encode_utf8(&mut bytes).as_bytes();
    secret.starts_with(bytes).then_some(bytes.len())
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits, 16)?).ok()
}

/// Digits without a sign.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    let legal = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    legal.then(|| u32::from_str_radix(digits, radix).ok())?
}

/// The character of an entity of XML, and the entity's length.
fn entity(text: &[u8]) -> Option<(char, usize)> {
    /// `&#x10FFFF;`, with some zeroes before the digits.
    const LONGEST: usize = 12;
    let end = text.iter().take(LONGEST).position(|byte| *byte == b';')?;
    let char = match &text[1..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((char, end + 1))
}

/// What a backslash and what follows it spell, in JSON and in C.
fn backslash(secret: &[u8], text: &[u8]) -> Option<(Option<usize>, usize)> {
    Some(match text.get(1)? {
        b'n' => (one(secret, b'\n'), 2),
        b'r' => (one(secret, b'\r'), 2),
        b't' => (one(secret, b'\t'), 2),
        b'x' => (one(secret, hex(text.get(2..4)?)?), 4),
        b'u' => {
            let char = char::from_u32(number(text.get(2..6)?, 16)?)?;
            (character(secret, char), 6)
        }
        other => (one(secret, *other), 2),
    })
}
