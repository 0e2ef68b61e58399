//! Both sides once more.
//!
//! The comparison is a copy as well, with all that makes one fast, onto a target that does not write but compares.

use std::error::Error;
use std::fmt;
use std::io;

use vixdisklib::{CopyTarget, Sector, SectorCount, SectorRange, copy};

use crate::common::Result;
use crate::options::Options;
use crate::source::Source;
use crate::target::Target;
use crate::watch::Watch;

/// The first sector in which the two sides differ.
#[derive(Debug)]
pub(crate) struct Differs(Sector);

impl Error for Differs {}

impl fmt::Display for Differs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sector = self.0;
        write!(
            formatter,
            "--verify: sector {sector} of the target is not what it is in the source"
        )
    }
}

/// Compares all of the target with what the source has; where the source is said to have nothing, with zeros.
pub(crate) fn compare(
    source: &Source,
    target: &mut Target,
    options: &Options,
    watch: &Watch,
) -> Result<()> {
    let mut comparison = Comparison {
        target,
        bytes: Vec::new(),
        difference: None,
    };
    let bar = watch.bar("comparing")?;
    let how = options.how();
    let done = copy(source.disk(), &mut comparison, &how, |progress| {
        bar.step(progress)
    });
    bar.end();
    if let Some(sector) = comparison.difference {
        return Err(Differs(sector).into());
    }
    println!("{} bytes verified", done?.total);
    Ok(())
}

struct Comparison<'target> {
    target: &'target mut Target,
    bytes: Vec<u8>,
    difference: Option<Sector>,
}

impl Comparison<'_> {
    /// Remembers the first sector of `start` that is not as expected, and ends the comparison.
    fn check(&mut self, start: Sector, is_same: impl Fn(usize, &[u8]) -> bool) -> io::Result<()> {
        self.target.read_at(start, &mut self.bytes)?;
        let mut sectors = self.bytes.chunks(512).enumerate();
        let Some((index, _)) = sectors.find(|(index, sector)| !is_same(*index, sector)) else {
            return Ok(());
        };
        self.difference = start.checked_add(SectorCount::new(index as u64));
        Err(io::Error::other("the sides differ"))
    }
}

impl CopyTarget for Comparison<'_> {
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
        self.target.begin(capacity)
    }

    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
        self.bytes.resize(bytes.len(), 0);
        self.check(start, |index, sector| {
            bytes
                .get(index * 512..)
                .is_some_and(|rest| rest.starts_with(sector))
        })
    }

    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
        const PIECE: SectorCount = SectorCount::new(2048);
        for part in self.target.data(range)? {
            for piece in part.pieces(PIECE) {
                let length = piece.bytes().unwrap_or_default().get();
                self.bytes
                    .resize(usize::try_from(length).unwrap_or_default(), 0);
                self.check(piece.start(), |_, sector| {
                    sector.iter().all(|byte| *byte == 0)
                })?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: SectorCount) -> io::Result<()> {
        Ok(())
    }
}
