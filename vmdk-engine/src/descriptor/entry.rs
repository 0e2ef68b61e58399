//! One `key = value` line.

use std::ops::Range;

/// A `key = value` line: where its parts stand in the text.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Splits `key = "value"`, which stands `position` bytes into the text. Quotes end at the next quote: there is no escape.
pub(super) fn split_entry(line: &[u8], position: usize) -> Option<Entry> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (key, rest) = line.split_at_checked(equals)?;
    let key = key.trim_ascii_end();
    let value = rest.split_first()?.1.trim_ascii_start();
    let mut start = position.saturating_add(line.len().saturating_sub(value.len()));
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => {
            start = start.saturating_add(1);
            quoted.split(|byte| *byte == b'"').next()?
        }
        None => value,
    };
    Some(Entry {
        key: position..position.saturating_add(key.len()),
        value: start..start.saturating_add(value.len()),
    })
}
