//! The second part of an answer, in each of the three ways to tell its end.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::secret::WipedBytes;

/// The longest accepted line between chunks, and how many lines may follow the last chunk.
const MAX_LINE: usize = 1024;
const MAX_TRAILERS: usize = 64;

#[derive(Debug)]
pub(super) enum BodyError {
    Io(io::Error),
    Malformed(&'static str),
    TooLong,
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A body of so many bytes.
pub(super) fn of_length(
    stream: &mut impl Read,
    length: u64,
    limit: usize,
) -> Result<WipedBytes, BodyError> {
    let mut body = WipedBytes::default();
    append(stream, length, &mut body, limit)?;
    Ok(body)
}

/// A body in pieces, each behind a line with its length.
pub(super) fn chunked(stream: &mut impl Read, limit: usize) -> Result<WipedBytes, BodyError> {
    let mut body = WipedBytes::default();
    loop {
        let line = read_line(stream)?;
        let length = chunk_length(&line).ok_or(BodyError::Malformed("the length of a chunk"))?;
        if length == 0 {
            break;
        }
        append(stream, length, &mut body, limit)?;
        if !read_line(stream)?.is_empty() {
            return Err(BodyError::Malformed("the end of a chunk"));
        }
    }
    for _ in 0..MAX_TRAILERS {
        if read_line(stream)?.is_empty() {
            return Ok(body);
        }
    }
    Err(BodyError::TooLong)
}

/// A body that ends with the connection. TLS tells a true end from a cut.
pub(super) fn until_closed(stream: &mut impl Read, limit: usize) -> Result<WipedBytes, BodyError> {
    let mut body = WipedBytes::default();
    let mut piece = Zeroizing::new([0; 8192]);
    loop {
        let count = read_some(stream, &mut *piece)?;
        if count == 0 {
            return Ok(body);
        }
        if body.len().saturating_add(count) > limit {
            return Err(BodyError::TooLong);
        }
        body.extend(piece.get(..count).unwrap_or_default());
    }
}

/// Appends so many bytes; room is made for what has come, never for what was announced.
fn append(
    stream: &mut impl Read,
    length: u64,
    body: &mut WipedBytes,
    limit: usize,
) -> Result<(), BodyError> {
    let mut left = usize::try_from(length).map_err(|_| BodyError::TooLong)?;
    if left > limit.saturating_sub(body.len()) {
        return Err(BodyError::TooLong);
    }
    let mut piece = Zeroizing::new([0; 8192]);
    while left > 0 {
        let wanted = left.min(piece.len());
        let count = read_some(stream, piece.get_mut(..wanted).unwrap_or_default())?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        body.extend(piece.get(..count).unwrap_or_default());
        left = left.saturating_sub(count);
    }
    Ok(())
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A line without its end.
fn read_line(stream: &mut impl Read) -> Result<Vec<u8>, BodyError> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if read_some(stream, &mut byte)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match byte {
            [b'\n'] if line.last() == Some(&b'\r') => {
                line.pop();
                return Ok(line);
            }
            [b'\n'] => return Err(BodyError::Malformed("the end of a line between chunks")),
            [other] => line.push(other),
        }
        if line.len() > MAX_LINE {
            return Err(BodyError::TooLong);
        }
    }
}

/// The hexadecimal number before any extension.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii_end();
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(())?;
    u64::from_str_radix(text, 16).ok()
}
