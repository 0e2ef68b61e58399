//! Grains that could not be compressed: zlib streams (RFC 1950) of nothing but stored blocks (RFC 1951, section 3.2.4),
//! which are read from the file straight to where their bytes are wanted.

#![allow(
    clippy::big_endian_bytes,
    reason = "zlib streams have their numbers in this order"
)]

use std::io::IoSliceMut;

use disk_units::ByteLen;
use zlib_rs::adler32::adler32;

use crate::storage::Storage;

/// What stands in front of the first block, in front of each block, and behind the last one.
const ZLIB_HEADER: usize = 2;
const BLOCK_HEADER: usize = 5;
const CHECKSUM: usize = 4;

/// The bytes that [`read`] wants to know first.
pub(super) const FRONT: usize = ZLIB_HEADER + BLOCK_HEADER;

/// Reads the zlib stream that takes up `length` bytes from `position`, and begins with `front`, into `out`. False if it is
/// no stream of stored blocks, with the right checksum, that fills `out` and nothing more; `out` holds anything then.
pub(super) fn read(
    storage: &dyn Storage,
    position: ByteLen,
    length: usize,
    front: [u8; FRONT],
    out: &mut [u8],
) -> bool {
    let [method, flags, mut header @ ..] = front;
    // Deflate, in whatever window, without a preset dictionary.
    let is_zlib = method & 0xf == 8
        && flags & 1 << 5 == 0
        && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    if !is_zlib {
        return false;
    }
    let (mut checksum, mut rest, mut used) = (1, out, FRONT);
    loop {
        let [kind, low, high, not_low, not_high] = header;
        let count = u16::from_le_bytes([low, high]);
        // Of the first byte the lowest bit marks the last block, and the next two say that it is stored.
        let is_stored = kind & 0b110 == 0 && count == !u16::from_le_bytes([not_low, not_high]);
        let Some((part, behind)) = rest.split_at_mut_checked(usize::from(count)) else {
            return false;
        };
        let is_last = kind & 1 == 1;
        let tail = if is_last { CHECKSUM } else { BLOCK_HEADER };
        let start = used;
        used = used.saturating_add(part.len()).saturating_add(tail);
        let from = u64::try_from(start).ok().map(ByteLen::new);
        let from = from.and_then(|start| position.checked_add(start));
        let (true, true, Some(from)) = (is_stored, used <= length, from) else {
            return false;
        };
        let (next, _) = header.split_at_mut(tail);
        let bufs = &mut [IoSliceMut::new(part), IoSliceMut::new(next)];
        if storage.read_exact_vectored_at(bufs, from).is_err() {
            return false;
        }
        checksum = adler32(checksum, part);
        if is_last {
            let [first, second, third, fourth, _] = header;
            let wanted = u32::from_be_bytes([first, second, third, fourth]);
            return behind.is_empty() && used == length && checksum == wanted;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write as _;

    use super::*;
    use crate::storage::MemoryStorage;

    /// A zlib stream of stored blocks of these lengths, and the bytes in them.
    fn stored(lengths: &[u16], byte: impl Fn(usize) -> u8) -> (Vec<u8>, Vec<u8>) {
        let (mut stream, mut content) = (vec![0x78, 0x9c], Vec::new());
        for (index, length) in lengths.iter().enumerate() {
            stream.push(u8::from(index + 1 == lengths.len()));
            stream.extend(length.to_le_bytes());
            stream.extend((!length).to_le_bytes());
            let bytes: Vec<u8> = (content.len()..)
                .map(&byte)
                .take((*length).into())
                .collect();
            stream.extend(&bytes);
            content.extend(bytes);
        }
        stream.extend(adler32(1, &content).to_be_bytes());
        (stream, content)
    }

    /// What comes of a stream that stands at an odd place of a file.
    fn outcome(stream: &[u8], length: usize, wanted: usize) -> Option<Vec<u8>> {
        let storage = MemoryStorage::new([b"123", stream].concat());
        let mut out = vec![0xee; wanted];
        let front = *stream.first_chunk()?;
        read(&storage, ByteLen::new(3), length, front, &mut out).then_some(out)
    }

    proptest! {
        /// Whatever it takes, an inflater takes too, and to the same bytes; so nothing damaged passes.
        #[test]
        fn it_agrees_with_an_inflater(
            lengths in prop::collection::vec(0_u16..300, 1..6),
            change in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
            more in -3_isize..4,
        ) {
            let (mut stream, content) = stored(&lengths, |at| (at * 7 % 251).to_le_bytes()[0]);
            if let Some((at, bits)) = change {
                let at = at.index(stream.len());
                stream[at] ^= bits;
            }
            let wanted = content.len().saturating_add_signed(more);
            let found = outcome(&stream, stream.len(), wanted);
            if change.is_none() {
                prop_assert_eq!(found.is_some(), more == 0 || wanted == content.len());
            }
            if let Some(found) = found {
                let mut inflated = vec![0; wanted + 1];
                let mut inflate = flate2::Decompress::new(true);
                let status = inflate.decompress(&stream, &mut inflated, flate2::FlushDecompress::Finish);
                prop_assert_eq!(status.unwrap(), flate2::Status::StreamEnd);
                prop_assert_eq!(&inflated[..wanted], found);
                prop_assert_eq!(inflate.total_out(), wanted as u64);
            }
        }
    }

    #[test]
    fn what_other_programs_store_is_read() {
        for size in [1, 1000, 65_536] {
            let content: Vec<u8> = (0_u32..size).map(|at| (at % 253) as u8).collect();
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(&content).unwrap();
            let stream = encoder.finish().unwrap();
            assert_eq!(outcome(&stream, stream.len(), content.len()), Some(content));
        }
    }

    #[test]
    fn compressed_cut_and_overlong_streams_are_not() {
        let (stream, content) = stored(&[400, 300], |_| 5);
        let wanted = content.len();
        assert!(outcome(&stream, stream.len(), wanted).is_some());
        assert!(outcome(&stream, stream.len() - 1, wanted).is_none());
        assert!(
            outcome(&stream, stream.len() + 1, wanted).is_none(),
            "bytes behind it"
        );
        assert!(outcome(&stream[..stream.len() - 1], stream.len(), wanted).is_none());
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&content).unwrap();
        let compressed = encoder.finish().unwrap();
        assert!(outcome(&compressed, compressed.len(), wanted).is_none());
    }
}
