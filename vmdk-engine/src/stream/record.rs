//! One grain of a stream: compressed and inflated.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use crate::error::{Cause, ErrorKind};
use crate::layout::GrainRecord;
use crate::units::GrainSize;

/// What may stand in a record in front of the compressed bytes and, where a grain cannot be compressed, beside its own:
/// one sector with what stands in front. So a record of a usual grain has at most 129 sectors.
const OVERHEAD: usize = 512;

/// Damage to a compressed grain.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("grain {grain}: its record claims {size} compressed bytes")]
    Size { grain: u64, size: u32 },
    #[error("grain {grain}: its record is that of guest sector {found}")]
    OtherGrain { grain: u64, found: u64 },
    #[error("grain {grain}: its record is cut off by the end of the file")]
    Cut { grain: u64 },
    #[error("grain {grain}: its data is not a valid zlib stream")]
    Damaged { grain: u64 },
    #[error("grain {grain}: it inflates to more than a grain")]
    TooLong { grain: u64 },
    #[error("grain {grain}: it inflates to {bytes} bytes only")]
    TooShort { grain: u64, bytes: u64 },
}

impl Cause for RecordError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// The most compressed bytes that a record may have.
pub(crate) fn max_compressed(grain: GrainSize) -> usize {
    grain.bytes().saturating_mul(2)
}

/// The record of one grain, filled up to whole sectors.
pub(crate) fn deflate(grain: GrainSize, number: u64, bytes: &[u8], level: Compression) -> Vec<u8> {
    let head_len = size_of::<GrainRecord>();
    let mut record = vec![0; bytes.len().saturating_add(OVERHEAD)];
    let body = record.get_mut(head_len..).unwrap_or_default();
    let size = compress(bytes, body, level)
        .or_else(|| compress(bytes, body, Compression::none()))
        .expect("stored blocks are hardly longer than what they store");
    let head = GrainRecord {
        first_sector: U64::new(grain.start_of(number).get()),
        size: U32::new(u32::try_from(size).unwrap_or(u32::MAX)),
    };
    if let Some(place) = record.get_mut(..head_len) {
        place.copy_from_slice(head.as_bytes());
    }
    let end = head_len.saturating_add(size);
    record.truncate(end.next_multiple_of(512));
    // What a compressor that had no room has left there, too.
    record.get_mut(end..).unwrap_or_default().fill(0);
    record
}

/// Compresses `bytes` into one zlib stream; `None` if `out` is too short.
fn compress(bytes: &[u8], out: &mut [u8], level: Compression) -> Option<usize> {
    DEFLATE.with_borrow_mut(|kept| {
        let deflate = match kept {
            Some((kept_level, deflate)) if *kept_level == level => {
                deflate.reset();
                deflate
            }
            _ => &mut kept.insert((level, Compress::new(level, true))).1,
        };
        let status = deflate.compress(bytes, out, FlushCompress::Finish).ok()?;
        if status != Status::StreamEnd {
            return None;
        }
        usize::try_from(deflate.total_out()).ok()
    })
}

thread_local! {
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
    /// The level is that of the last grain: usually there is only one.
    static DEFLATE: RefCell<Option<(Compression, Compress)>> = const { RefCell::new(None) };
}

/// Inflates one grain into `out`, which has the length of a grain. Only the last grain may be short, and only by what
/// lies behind `needed`, the bytes of it that the capacity covers; the rest is zeros then.
pub(crate) fn inflate(
    compressed: &[u8],
    out: &mut [u8],
    needed: usize,
    grain: u64,
) -> Result<(), RecordError> {
    let bytes = INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(true);
        inflate_exactly(inflate, compressed, out, grain)
    })?;
    if bytes < needed {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        return Err(RecordError::TooShort { grain, bytes });
    }
    let (_, missing) = out.split_at_mut(bytes);
    missing.fill(0);
    Ok(())
}

/// Inflates the front of a grain, as much as fits `out`, which is shorter than the grain.
///
/// What is behind it may be damaged, and is not looked at: the checksum of a grain, which covers all of it, stands at
/// its end. So a change that leaves a valid zlib stream is not found.
pub(crate) fn inflate_front(
    compressed: &[u8],
    out: &mut [u8],
    grain: u64,
) -> Result<(), RecordError> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(true);
        let status = inflate
            .decompress(compressed, out, FlushDecompress::Finish)
            .map_err(|_| RecordError::Damaged { grain })?;
        let bytes = inflate.total_out();
        if bytes >= u64::try_from(out.len()).unwrap_or(u64::MAX) {
            return Ok(());
        }
        Err(match status {
            Status::StreamEnd => RecordError::TooShort { grain, bytes },
            _ => RecordError::Damaged { grain },
        })
    })
}

/// Inflates one whole zlib stream and checks its checksum; returns how many bytes of `out` it fills.
fn inflate_exactly(
    inflate: &mut Decompress,
    compressed: &[u8],
    out: &mut [u8],
    grain: u64,
) -> Result<usize, RecordError> {
    let damaged = |_| RecordError::Damaged { grain };
    let mut status = inflate
        .decompress(compressed, out, FlushDecompress::Finish)
        .map_err(damaged)?;
    if status != Status::StreamEnd && inflate.total_out() == u64::try_from(out.len()).unwrap_or(0) {
        // The buffer is full: what is left may be the checksum alone.
        let used = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        let rest = compressed.get(used..).unwrap_or_default();
        let mut extra = [0; 1];
        status = inflate
            .decompress(rest, &mut extra, FlushDecompress::Finish)
            .map_err(damaged)?;
        if inflate.total_out() > u64::try_from(out.len()).unwrap_or(0) {
            return Err(RecordError::TooLong { grain });
        }
    }
    if status != Status::StreamEnd {
        return Err(RecordError::Damaged { grain });
    }
    let used = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
    if used < compressed.len() {
        tracing::debug!(
            grain,
            "bytes behind the end of a compressed grain are ignored"
        );
    }
    Ok(usize::try_from(inflate.total_out())
        .unwrap_or(out.len())
        .min(out.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grain() -> GrainSize {
        GrainSize::new(128).expect("a power of two")
    }

    /// Bytes that no compressor makes smaller.
    fn noise() -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..8192).flat_map(|_| next()).collect()
    }

    #[test]
    fn records_keep_their_bound_and_come_back_at_every_level() {
        let text: Vec<u8> = b"all work and no play "
            .repeat(65536)
            .into_iter()
            .take(65536)
            .collect();
        for bytes in [noise(), text, vec![7; 65536]] {
            for level in 0..=9 {
                let record = deflate(grain(), 5, &bytes, Compression::new(level));
                assert!(record.len() <= 129 * 512, "level {level}");
                assert!(record.len().is_multiple_of(512));
                let (head, rest) = record.split_at(12);
                assert_eq!(head[..8], 640_u64.to_le_bytes());
                let size = u32::from_le_bytes(head[8..].try_into().expect("four bytes"));
                let (compressed, padding) = rest.split_at(usize::try_from(size).expect("small"));
                assert!(padding.len() < 512 && padding.iter().all(|byte| *byte == 0));
                let mut out = vec![1; 65536];
                inflate(compressed, &mut out, 65536, 5).expect("a good record");
                assert!(out == bytes, "level {level}");
            }
        }
    }

    #[test]
    fn a_stream_that_does_not_fit_falls_back_to_stored_blocks() {
        let bytes = noise();
        assert_eq!(compress(&bytes, &mut [0; 65536], Compression::new(6)), None);
        let mut out = vec![0; 65536 + 500];
        assert!(compress(&bytes, &mut out, Compression::none()).is_some());
    }

    #[test]
    fn the_front_alone_is_the_front_and_damage_counts_as_far_as_it_reaches() {
        let text: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(65536).collect();
        for (bytes, level) in [(noise(), 0), (noise(), 6), (text, 6)] {
            let record = deflate(grain(), 0, &bytes, Compression::new(level));
            let good = &record[12..];
            for length in [512, 4096, 33_280, 65_024] {
                let mut out = vec![1; length];
                inflate_front(good, &mut out, 0).expect("good");
                assert!(out == bytes[..length], "level {level}, {length} bytes");
                // A quarter of what is compressed never gives half, nor less than its half an eighth.
                let quarter = &good[..good.len() / 4];
                let result = inflate_front(quarter, &mut out, 0);
                assert_eq!(
                    result.is_ok(),
                    length < 8192,
                    "level {level}, {length} bytes"
                );
            }
        }
        let mut short = vec![0; 65536];
        let part = compress(&[3; 1000], &mut short, Compression::new(9)).expect("fits");
        inflate_front(&short[..part], &mut [0; 512], 0).expect("covers what is asked for");
        let error = inflate_front(&short[..part], &mut [0; 1024], 0).expect_err("too short");
        assert!(matches!(error, RecordError::TooShort { bytes: 1000, .. }));
    }

    #[test]
    fn damage_is_told_apart() {
        let record = deflate(grain(), 0, &[7; 65536], Compression::new(6));
        let size = usize::from(record[8]) + 256 * usize::from(record[9]);
        let good = &record[12..12 + size];
        let mut out = vec![0; 65536];
        let mut try_it = |compressed: &[u8], needed| inflate(compressed, &mut out, needed, 0);
        try_it(good, 65536).expect("good");
        let extra = [good, b"extra"].concat();
        try_it(&extra, 65536).expect("bytes behind the end are ignored");
        for cut in 0..size {
            let error = try_it(&good[..cut], 65536).expect_err("cut");
            assert!(
                matches!(error, RecordError::Damaged { .. }),
                "{cut}: {error}"
            );
        }
        let mut wrong_sum = good.to_vec();
        wrong_sum[size - 1] ^= 1;
        let error = try_it(&wrong_sum, 65536).expect_err("wrong checksum");
        assert!(matches!(error, RecordError::Damaged { .. }));
        let mut short = vec![0; 65536];
        let bomb = compress(&[0; 1 << 20], &mut short, Compression::new(9)).expect("fits");
        let error = try_it(&short[..bomb], 65536).expect_err("too long");
        assert!(matches!(error, RecordError::TooLong { .. }));
        let half = compress(&[3; 1000], &mut short, Compression::new(9)).expect("fits");
        try_it(&short[..half], 512).expect("covers what is needed");
        let error = try_it(&short[..half], 1024).expect_err("too short");
        assert!(matches!(error, RecordError::TooShort { bytes: 1000, .. }));
    }
}
