//! What becomes of the entries of one table, put in words.

use super::finding::{FindingKind, Notes, Repair, Severity, possible};
use super::tables::Extent;

/// What becomes of the entry of a grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// Kept; the file is extended to the grain's end.
    Complete,
    /// Kept; the header must provide for it.
    Claim,
    /// It is wrong, and this is the redundant one.
    Replace(u32),
    /// There was none, and this is the redundant one.
    Restore(u32),
    /// It is wrong, and the grain gets a copy of what the redundant one names, where another grain or table is too.
    Rescue(u32),
    /// It is wrong, and there is no other.
    Clear,
    /// It says "zeros", as no entry does as well.
    ClearZeros,
    /// The capacity does not reach it.
    Cut,
    /// It gets a copy of the grain.
    Move,
}

/// What is gathered of one table under one heading.
#[derive(Clone, Copy, Debug, Default)]
struct Heading {
    count: u64,
    first: u64,
    last: u64,
}

impl Heading {
    fn add(&mut self, grain: u64) {
        if self.count == 0 {
            self.first = grain;
        }
        self.count = self.count.saturating_add(1);
        self.last = grain;
    }
}

/// The notes on the entries of one table: one for each kind of fault, however many entries have it.
pub(super) struct EntryNotes<'a> {
    extent: &'a Extent<'a>,
    table: u32,
    completed: Heading,
    claimed: Heading,
    replaced: Heading,
    restored: Heading,
    rescued: Heading,
    cleared: Heading,
    zeros: Heading,
    cut: Heading,
    moved: Heading,
    differing: Heading,
}

impl<'a> EntryNotes<'a> {
    pub(super) fn new(extent: &'a Extent<'a>, table: u32) -> Self {
        let none = Heading::default();
        Self {
            extent,
            table,
            completed: none,
            claimed: none,
            replaced: none,
            restored: none,
            rescued: none,
            cleared: none,
            zeros: none,
            cut: none,
            moved: none,
            differing: none,
        }
    }

    pub(super) fn add(&mut self, grain: u64, entry: u32, copy: Option<u32>, fate: Fate) {
        let heading = match fate {
            Fate::Keep if copy.is_some_and(|copy| copy != entry) => &mut self.differing,
            Fate::Keep => return,
            Fate::Complete => &mut self.completed,
            Fate::Claim => &mut self.claimed,
            Fate::Replace(_) => &mut self.replaced,
            Fate::Restore(_) => &mut self.restored,
            Fate::Rescue(_) => &mut self.rescued,
            Fate::Clear => &mut self.cleared,
            Fate::ClearZeros => &mut self.zeros,
            Fate::Cut => &mut self.cut,
            Fate::Move => &mut self.moved,
        };
        heading.add(grain);
    }

    pub(super) fn finish(self, notes: &mut Notes<'_>) {
        use FindingKind::{
            BehindCapacity, CopiesDiffer, FileCut, Overlap, TableEntry, UnclaimedZeros,
        };
        use Severity::{Error, Info, Warning};
        let table = self.table;
        let below = if self.extent.has_parent {
            "what the parent has shows there"
        } else {
            "they read as zeros"
        };
        let differing = if self.extent.shape.is_dirty {
            Info
        } else {
            Error
        };
        let rows: [(Heading, Severity, FindingKind, String, Repair); 10] = [
            (
                self.completed,
                Error,
                FileCut,
                "cut off by the end of the file".to_owned(),
                possible("the file is extended with zeros to the end of the grain"),
            ),
            (
                self.claimed,
                Warning,
                UnclaimedZeros,
                "marked as zeros, which the header does not provide for".to_owned(),
                possible("the header is made to provide for such grains, as format version 2"),
            ),
            (
                self.replaced,
                Error,
                TableEntry,
                "at places where they cannot be".to_owned(),
                possible("the places that the redundant table has are taken"),
            ),
            (
                self.restored,
                Error,
                CopiesDiffer,
                "in the redundant table only".to_owned(),
                possible(
                    "they are entered again: the disk was closed properly, so that nobody can have been about to free them",
                ),
            ),
            (
                self.rescued,
                Error,
                TableEntry,
                "at places where they cannot be, and in the redundant table at places that are not theirs alone"
                    .to_owned(),
                possible("each gets a copy of what the redundant table names"),
            ),
            (
                self.cleared,
                Error,
                TableEntry,
                "at places where they cannot be, with no better place in a redundant table"
                    .to_owned(),
                possible(format!(
                    "their entries are cleared: what could not be read before is lost, and {below}"
                )),
            ),
            (
                self.zeros,
                Warning,
                UnclaimedZeros,
                "marked as zeros, which the header does not provide for".to_owned(),
                possible("the marks are cleared; the grains still read as zeros"),
            ),
            (
                self.cut,
                Warning,
                BehindCapacity,
                "entered behind the capacity".to_owned(),
                possible("their entries are cleared"),
            ),
            (
                self.moved,
                Error,
                Overlap,
                "at places that another grain has".to_owned(),
                possible(
                    "each gets a copy of what is there; which of them had it first is not known",
                ),
            ),
            (
                self.differing,
                differing,
                CopiesDiffer,
                "entered otherwise in the redundant table".to_owned(),
                possible("the redundant table is written anew"),
            ),
        ];
        for (heading, severity, kind, what, repair) in rows {
            if heading.count == 0 {
                continue;
            }
            let grains = if heading.count == 1 {
                format!("grain {} is", heading.first)
            } else {
                format!("{} grains from {} on are", heading.count, heading.first)
            };
            let sectors = self.extent.sectors(heading.first, heading.last);
            let text = format!("grain table {table}: {grains} {what}");
            notes.add(severity, kind, sectors, text, repair);
        }
    }
}
