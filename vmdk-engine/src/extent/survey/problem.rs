//! What a survey can find.

use std::fmt;

/// One of the two copies of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Primary,
    Copy,
}

impl Side {
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Primary => "the grain directory",
            Self::Copy => "the redundant grain directory",
        }
    }
}

/// Something in the directories or tables that breaks a rule. Sectors are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// This directory has no table where the other one has.
    TableMissing { table: u32, side: Side },
    /// This directory names a place where no table can be.
    TableMisplaced { table: u32, sector: u32, side: Side },
    /// Another table or a grain has the place, or a part of it.
    TableContested { table: u32, sector: u32, side: Side },
    /// The copies of a table differ.
    CopiesDiffer { table: u32 },
    /// The entry of a grain.
    Grain {
        grain: u64,
        sector: u32,
        fault: GrainFault,
    },
}

/// What is wrong with the entry of a grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrainFault {
    /// It points into the header, the text or a directory.
    InMetadata,
    /// It points behind the end of the file.
    BehindEnd,
    /// The end of the file cuts the grain.
    Cut,
    /// Another grain has the place, or a part of it.
    Overlaps,
    /// The grains are aligned in too many ways to tell whether they overlap.
    Scattered,
    /// The capacity ends before the grain.
    BehindCapacity,
    /// It says "zeros" in an extent that does not claim such entries.
    UnclaimedZeros,
}

impl Problem {
    /// Whether it is in the way of a writer.
    pub(crate) fn forbids_writing(self) -> bool {
        !matches!(
            self,
            Self::Grain {
                fault: GrainFault::BehindCapacity | GrainFault::UnclaimedZeros,
                ..
            }
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TableMissing { table, side } => {
                write!(formatter, "{} lacks grain table {table}", side.directory())
            }
            Self::TableMisplaced {
                table,
                sector,
                side,
            } => write!(
                formatter,
                "{} has grain table {table} at sector {sector}, inside other metadata or behind the end of the file",
                side.directory()
            ),
            Self::TableContested {
                table,
                sector,
                side,
            } => write!(
                formatter,
                "{} has grain table {table} at sector {sector}, where another table or a grain is",
                side.directory()
            ),
            Self::CopiesDiffer { table } => {
                write!(
                    formatter,
                    "grain table {table} and its redundant copy differ"
                )
            }
            Self::Grain {
                grain,
                sector,
                fault,
            } => write!(formatter, "grain {grain} at sector {sector} {fault}"),
        }
    }
}

impl fmt::Display for GrainFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InMetadata => "lies inside the metadata",
            Self::BehindEnd => "lies behind the end of the file",
            Self::Cut => "is cut off by the end of the file",
            Self::Overlaps => "overlaps another grain",
            Self::Scattered => "lies at an odd distance from the others",
            Self::BehindCapacity => "lies behind the capacity",
            Self::UnclaimedZeros => "is marked as zeros, which the header does not provide for",
        })
    }
}
