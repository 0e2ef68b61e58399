//! Receiving TLS records one by one, so that what follows the last one stays in the socket.

use std::io::{self, Read, Write};

/// The type, the version and the length that begin a record.
const HEADER: usize = 5;

/// A stream whose reads end with the record that they are in.
///
/// The port 902 carries one TLS session after another, or clear text after one. A TLS library receives as much as there
/// is; what belongs to the next session would be lost with the first.
#[derive(Debug)]
pub(crate) struct Records<S> {
    stream: S,
    header: [u8; HEADER],
    /// How many bytes of the header are known.
    known: usize,
    /// How many bytes of the record are missing.
    missing: usize,
}

impl<S> Records<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            header: [0; HEADER],
            known: 0,
            missing: 0,
        }
    }

    /// Whether the last record was received to its end.
    pub(crate) fn is_between(&self) -> bool {
        self.known == 0 && self.missing == 0
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Read> Read for Records<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let in_header = self.missing == 0;
        let most = if in_header {
            HEADER.saturating_sub(self.known)
        } else {
            self.missing
        };
        let length = most.min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let count = self.stream.read(buffer)?;
        if !in_header {
            self.missing = self.missing.saturating_sub(count);
            return Ok(count);
        }
        for (known, received) in self
            .header
            .iter_mut()
            .skip(self.known)
            .zip(buffer.iter().take(count))
        {
            *known = *received;
        }
        self.known = self.known.saturating_add(count);
        if self.known == HEADER {
            let [_, _, _, high, low] = self.header;
            self.missing = usize::from(high) << 8 | usize::from(low);
            self.known = 0;
        }
        Ok(count)
    }
}

impl<S: Write> Write for Records<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_read_crosses_the_end_of_a_record(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
            step in 1_usize..400,
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for record in &records {
                let [low, high] = u16::try_from(record.len()).expect("short").to_le_bytes();
                bytes.extend([22, 3, 3, high, low]);
                bytes.extend(record);
                ends.push(bytes.len());
            }
            let mut stream = Records::new(bytes.as_slice());
            let mut received = Vec::new();
            let mut piece = vec![0; step];
            loop {
                let count = stream.read(&mut piece).expect("memory");
                if count == 0 {
                    break;
                }
                let begun = received.len();
                received.extend_from_slice(&piece[..count]);
                prop_assert!(!ends.iter().any(|end| begun < *end && *end < received.len()));
                prop_assert_eq!(stream.is_between(), ends.contains(&received.len()));
            }
            prop_assert_eq!(received, bytes);
        }
    }
}
