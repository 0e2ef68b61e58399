//! One zlib stream (RFC 1950) for each piece.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

/// Fast: what is sent waits for it.
const LEVEL: u32 = 1;

pub(super) fn compress(data: &[u8], into: &mut Vec<u8>) {
    // Whatever does not fit is sent as it is.
    into.reserve(data.len());
    let mut stream = Compress::new(flate2::Compression::new(LEVEL), true);
    let done = stream.compress_vec(data, into, FlushCompress::Finish);
    if !matches!(done, Ok(Status::StreamEnd)) {
        into.clear();
    }
}

pub(super) fn decompress(data: &[u8], into: &mut [u8]) -> Result<(), &'static str> {
    let mut stream = Decompress::new(true);
    let status = stream
        .decompress(data, into, FlushDecompress::Finish)
        .map_err(|_| "it is no zlib stream")?;
    // With no room left, the end of the stream may still be unread.
    let status = match status {
        Status::StreamEnd => status,
        _ => {
            let read = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
            let rest = data.get(read..).unwrap_or_default();
            stream
                .decompress(rest, &mut [0], FlushDecompress::Finish)
                .map_err(|_| "it is no zlib stream")?
        }
    };
    if status != Status::StreamEnd {
        return Err("its stream does not end where it should");
    }
    if stream.total_out() != u64::try_from(into.len()).unwrap_or(u64::MAX) {
        return Err("it has another length");
    }
    if stream.total_in() != u64::try_from(data.len()).unwrap_or(u64::MAX) {
        return Err("something follows its stream");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_must_be_whole_and_alone() {
        let data = b"abcabcabcabcabcabcabcabcabcabcabcabc".repeat(10);
        let mut small = Vec::new();
        compress(&data, &mut small);
        assert_eq!(small[0], 0x78, "RFC 1950 with a window of 32 KiB");
        let mut back = vec![0; data.len()];
        decompress(&small, &mut back).unwrap();
        assert_eq!(back, data);

        assert!(decompress(&small[..small.len() - 1], &mut back).is_err());
        let mut wrong_sum = small.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert!(decompress(&wrong_sum, &mut back).is_err());
        small.push(0);
        assert_eq!(
            decompress(&small, &mut back),
            Err("something follows its stream")
        );
    }

    #[test]
    fn other_levels_are_understood() {
        let data: Vec<u8> = (0..65536u32).map(|at| (at / 7 % 251) as u8).collect();
        for level in 0..=9 {
            let mut stream = Compress::new(flate2::Compression::new(level), true);
            let mut small = Vec::with_capacity(80_000);
            let done = stream.compress_vec(&data, &mut small, FlushCompress::Finish);
            assert_eq!(done.unwrap(), Status::StreamEnd);
            let mut back = vec![0; data.len()];
            decompress(&small, &mut back).unwrap();
            assert!(back == data, "level {level}");
        }
    }
}
