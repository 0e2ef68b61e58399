//! Compression of one piece of data, both ways.
//!
//! Every piece is compressed by itself, and its length is known before it is decompressed: what does not give exactly
//! that many bytes is refused. Memory is bounded by that length.

mod fastlz;
mod skipz;
mod zlib;

pub use fastlz::Level as FastLzLevel;

/// How data is compressed on its way. It is chosen for each request; a host may always answer without compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// 0: not at all.
    #[default]
    None,
    /// 1: a whole zlib stream for each piece.
    Zlib,
    /// 2: a FastLZ block for each piece.
    FastLz,
    /// 3: zeroes are left out.
    SkipZ,
}

impl Compression {
    /// The method with this number in messages.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Zlib),
            2 => Some(Self::FastLz),
            3 => Some(Self::SkipZ),
            _ => None,
        }
    }

    /// Its number in messages.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Zlib => 1,
            Self::FastLz => 2,
            Self::SkipZ => 3,
        }
    }

    /// Compresses a piece into `into`, which is cleared first, and tells whether that made it smaller. If not, `into`
    /// holds nothing of use and the piece is to be sent as it is.
    #[must_use]
    pub fn compress(self, data: &[u8], into: &mut Vec<u8>) -> bool {
        into.clear();
        match self {
            Self::None => return false,
            Self::Zlib => zlib::compress(data, into),
            Self::FastLz => fastlz::compress(FastLzLevel::for_length(data.len()), data, into),
            Self::SkipZ => skipz::compress(data, into),
        }
        !into.is_empty() && into.len() < data.len()
    }

    /// Decompresses a piece that has the length of `into`.
    ///
    /// # Errors
    /// [`CompressError`] when `data` is not such a piece; `into` may be partly filled then.
    pub fn decompress(self, data: &[u8], into: &mut [u8]) -> Result<(), CompressError> {
        match self {
            Self::None if data.len() == into.len() => {
                into.copy_from_slice(data);
                Ok(())
            }
            Self::None => Err("it has another length"),
            Self::Zlib => zlib::decompress(data, into),
            Self::FastLz => fastlz::decompress(data, into),
            Self::SkipZ => skipz::decompress(data, into),
        }
        .map_err(|error| CompressError::new(self, error))
    }
}

/// Why data cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data compressed with {method:?} is damaged: {why}")]
pub struct CompressError {
    method: Compression,
    why: &'static str,
}

impl CompressError {
    fn new(method: Compression, why: &'static str) -> Self {
        Self { method, why }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const METHODS: [Compression; 3] = [Compression::Zlib, Compression::FastLz, Compression::SkipZ];

    /// Data as disks hold it: runs of zeroes, of repeated words, and of anything.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        let run = prop_oneof![
            (0usize..3000).prop_map(|count| vec![0; count]),
            (vec(any::<u8>(), 1..20), 1usize..200).prop_map(|(word, count)| word.repeat(count)),
            vec(any::<u8>(), 0..300),
        ];
        vec(run, 0..12).prop_map(|runs| runs.concat())
    }

    #[test]
    fn numbers_are_those_of_messages() {
        for number in 0..4 {
            let method = Compression::from_number(number).unwrap();
            assert_eq!(method.number(), number);
        }
        assert_eq!(Compression::from_number(4), None);
    }

    #[test]
    fn a_fragment_of_zeroes_becomes_small() {
        for method in METHODS {
            let mut small = Vec::new();
            assert!(method.compress(&[0; 65536], &mut small), "{method:?}");
            assert!(small.len() < 1024, "{method:?}: {}", small.len());
            let mut back = vec![1; 65536];
            method.decompress(&small, &mut back).unwrap();
            assert_eq!(back, [0; 65536]);
        }
    }

    #[test]
    fn nothing_compressed_is_larger_than_raw() {
        let noise: Vec<u8> = (0u32..4096)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] | 1)
            .collect();
        for method in METHODS {
            assert!(!method.compress(b"", &mut Vec::new()), "{method:?}");
            assert!(!method.compress(b"a", &mut Vec::new()), "{method:?}");
            let mut into = Vec::new();
            if method.compress(&noise, &mut into) {
                assert!(into.len() < noise.len());
            }
        }
        assert!(!Compression::None.compress(&[0; 512], &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn data_comes_back(data in data()) {
            for method in METHODS {
                let mut small = Vec::new();
                if !method.compress(&data, &mut small) {
                    continue;
                }
                let mut back = vec![0xA5; data.len()];
                method.decompress(&small, &mut back).unwrap();
                prop_assert_eq!(&back, &data);
                // A length that is not the right one is noticed.
                let mut longer = vec![0; data.len() + 1];
                prop_assert!(method.decompress(&small, &mut longer).is_err());
                prop_assert!(method.decompress(&small, &mut back[1..]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_taken_or_refused(data in vec(any::<u8>(), 0..200), length in 0usize..2000) {
            let mut into = vec![0; length];
            for method in METHODS {
                let _ = method.decompress(&data, &mut into);
            }
        }

        #[test]
        fn damaged_data_is_taken_or_refused(data in data(), at: prop::sample::Index, to: u8) {
            for method in METHODS {
                let mut small = Vec::new();
                if method.compress(&data, &mut small) {
                    let at = at.index(small.len());
                    small[at] = to;
                    let mut back = vec![0; data.len()];
                    let _ = method.decompress(&small, &mut back);
                }
            }
        }
    }
}
