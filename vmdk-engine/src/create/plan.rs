//! Which files make up a new disk.

use disk_units::{ByteLen, SectorCount};

use super::layout::FreshLayout;
use super::names::DiskName;
use crate::descriptor::{ExtentKind, MAX_EXTENTS};
use crate::error::{Cause, ErrorKind};
use crate::extent::header::{CAPACITY_LIMIT, MAX_DIRECTORY_ENTRIES};
use crate::info::DiskKind;

/// The sectors of each file of a split disk but the last: 2047 MiB.
pub(crate) const SPLIT: SectorCount = SectorCount::new(4_192_256);
/// Entries of grain tables are 32-bit sector numbers.
const SPARSE_LIMIT: u64 = u32::MAX as u64;

/// Streams count compressed sectors, so that their limit is that of any reader: 128 TiB.
const STREAM_LIMIT: u64 = MAX_DIRECTORY_ENTRIES * 65_536;

/// Why there can be no such disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("a disk must have at least one sector")]
    NoCapacity,
    #[error("{sectors} sectors are more than a disk of this kind can have, {limit}")]
    TooBig { sectors: u64, limit: u64 },
    #[error("disks of the kind {0} cannot be created")]
    Kind(&'static str),
}

impl Cause for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCapacity => ErrorKind::InvalidArgument,
            Self::TooBig { .. } => ErrorKind::FileTooBig,
            Self::Kind(_) => ErrorKind::Unsupported,
        }
    }
}

/// What is in a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewFormat {
    /// Grains, in the file that has the descriptor too.
    Monolithic,
    /// Grains, in a file beside the descriptor.
    Sparse,
    /// Compressed grains, written from the first to the last, in the file that has the descriptor too.
    Stream,
    /// Raw sectors that all have their space.
    Flat,
    /// Raw sectors of an ESX host, with or without space for all of them.
    Vmfs { is_thin: bool },
}

/// One extent of a new disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewExtent {
    pub(crate) name: String,
    pub(crate) sectors: SectorCount,
    pub(crate) format: NewFormat,
}

impl NewExtent {
    /// Its line of the descriptor.
    pub(crate) fn line(&self) -> String {
        let (access, keyword, offset) = match self.format {
            NewFormat::Monolithic | NewFormat::Sparse => ("RW", ExtentKind::Sparse, ""),
            // As exports of ESX and vCenter have it.
            NewFormat::Stream => ("RDONLY", ExtentKind::Sparse, ""),
            NewFormat::Flat => ("RW", ExtentKind::Flat, " 0"),
            NewFormat::Vmfs { .. } => ("RW", ExtentKind::Vmfs, ""),
        };
        let (keyword, sectors, name) = (keyword.keyword(), self.sectors, &self.name);
        format!("{access} {sectors} {keyword} \"{name}\"{offset}")
    }

    /// Whether the file has the descriptor too.
    pub(crate) fn has_text(&self) -> bool {
        matches!(self.format, NewFormat::Monolithic | NewFormat::Stream)
    }

    /// The space that the new file takes.
    pub(crate) fn space(&self) -> ByteLen {
        match self.format {
            NewFormat::Vmfs { is_thin: true } => ByteLen::ZERO,
            _ => self.file_len(),
        }
    }

    /// The bytes of the new file, and so the work of making it.
    pub(crate) fn file_len(&self) -> ByteLen {
        let sectors = match self.format {
            NewFormat::Monolithic => FreshLayout::monolithic(self.sectors).overhead(),
            NewFormat::Sparse => FreshLayout::split(self.sectors).overhead(),
            // It begins when it is written.
            NewFormat::Stream => SectorCount::ZERO,
            NewFormat::Flat | NewFormat::Vmfs { .. } => self.sectors,
        };
        sectors.bytes().unwrap_or(ByteLen::new(u64::MAX))
    }
}

/// Refuses capacities that disks of this kind cannot have.
pub(crate) fn check_size(kind: DiskKind, capacity: SectorCount) -> Result<(), PlanError> {
    let limit = match kind {
        _ if capacity.is_zero() => return Err(PlanError::NoCapacity),
        DiskKind::MonolithicSparse => {
            let metadata = FreshLayout::monolithic(capacity).overhead();
            SPARSE_LIMIT.saturating_sub(metadata.get())
        }
        DiskKind::SplitSparse | DiskKind::SplitFlat => {
            let parts = u64::try_from(MAX_EXTENTS).unwrap_or(u64::MAX);
            SPLIT.get().saturating_mul(parts)
        }
        DiskKind::StreamOptimized => STREAM_LIMIT,
        _ => CAPACITY_LIMIT.saturating_sub(1),
    };
    match capacity.get() {
        sectors if sectors > limit => Err(PlanError::TooBig { sectors, limit }),
        _ => Ok(()),
    }
}

/// The extents of a disk of this kind, in order.
pub(crate) fn extents(
    kind: DiskKind,
    capacity: SectorCount,
    name: &DiskName,
) -> Result<Vec<NewExtent>, PlanError> {
    check_size(kind, capacity)?;
    let one = |name: String, format| {
        Ok(vec![NewExtent {
            name,
            sectors: capacity,
            format,
        }])
    };
    let split = |name: &dyn Fn(usize) -> String, format| {
        let parts = parts_of(capacity).zip(1..);
        Ok(parts
            .map(|(sectors, number)| NewExtent {
                name: name(number),
                sectors,
                format,
            })
            .collect())
    };
    match kind {
        DiskKind::MonolithicSparse => one(name.file.clone(), NewFormat::Monolithic),
        DiskKind::MonolithicFlat => one(name.flat(), NewFormat::Flat),
        DiskKind::SplitSparse => split(&|number| name.sparse_part(number), NewFormat::Sparse),
        DiskKind::SplitFlat => split(&|number| name.flat_part(number), NewFormat::Flat),
        DiskKind::VmfsFlat => one(name.flat(), NewFormat::Vmfs { is_thin: false }),
        DiskKind::VmfsThin => one(name.flat(), NewFormat::Vmfs { is_thin: true }),
        DiskKind::StreamOptimized => one(name.file.clone(), NewFormat::Stream),
        DiskKind::VmfsSparse | DiskKind::SeSparse | DiskKind::Custom => {
            Err(PlanError::Kind(kind.create_type()))
        }
    }
}

/// The sizes of the parts that a capacity is split into.
pub(crate) fn parts_of(capacity: SectorCount) -> impl Iterator<Item = SectorCount> {
    let mut rest = capacity;
    std::iter::from_fn(move || {
        let part = rest.min(SPLIT);
        rest = rest.checked_sub(part)?;
        (!part.is_zero()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(kind: DiskKind, sectors: u64) -> Result<Vec<String>, PlanError> {
        let name = DiskName::of(Path::new("d.vmdk")).expect("a name");
        let extents = extents(kind, SectorCount::new(sectors), &name)?;
        Ok(extents.iter().map(NewExtent::line).collect())
    }

    #[test]
    fn files_are_named_and_split_as_vmware_does() {
        for (kind, sectors, lines) in [
            (
                DiskKind::MonolithicSparse,
                100,
                vec![r#"RW 100 SPARSE "d.vmdk""#],
            ),
            (
                DiskKind::MonolithicFlat,
                100,
                vec![r#"RW 100 FLAT "d-flat.vmdk" 0"#],
            ),
            (
                DiskKind::VmfsFlat,
                1 << 40,
                vec![r#"RW 1099511627776 VMFS "d-flat.vmdk""#],
            ),
            (DiskKind::VmfsThin, 1, vec![r#"RW 1 VMFS "d-flat.vmdk""#]),
            (
                DiskKind::StreamOptimized,
                1 << 38,
                vec![r#"RDONLY 274877906944 SPARSE "d.vmdk""#],
            ),
            (
                DiskKind::SplitSparse,
                4_192_256,
                vec![r#"RW 4192256 SPARSE "d-s001.vmdk""#],
            ),
            (
                DiskKind::SplitFlat,
                2 * 4_192_256 + 1,
                vec![
                    r#"RW 4192256 FLAT "d-f001.vmdk" 0"#,
                    r#"RW 4192256 FLAT "d-f002.vmdk" 0"#,
                    r#"RW 1 FLAT "d-f003.vmdk" 0"#,
                ],
            ),
        ] {
            assert_eq!(plan(kind, sectors).expect("possible"), lines);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use ErrorKind::{FileTooBig, InvalidArgument, Unsupported};
        // 65,536 tables twice, two directories and the descriptor.
        let largest = u64::from(u32::MAX) - 525_440;
        plan(DiskKind::MonolithicSparse, largest).expect("just possible");
        plan(DiskKind::SplitSparse, 4_192_256 * 16_384).expect("just possible");
        for (kind, sectors, expected) in [
            (DiskKind::MonolithicSparse, 0, InvalidArgument),
            (
                DiskKind::MonolithicSparse,
                u64::from(u32::MAX) - 500_000,
                FileTooBig,
            ),
            (DiskKind::MonolithicSparse, u64::MAX, FileTooBig),
            (DiskKind::SplitFlat, 4_192_256 * 16_384 + 1, FileTooBig),
            (DiskKind::MonolithicFlat, 1 << 54, FileTooBig),
            (DiskKind::StreamOptimized, (1 << 38) + 1, FileTooBig),
            (DiskKind::VmfsSparse, 1, Unsupported),
            (DiskKind::SeSparse, 1, Unsupported),
            (DiskKind::Custom, 1, Unsupported),
        ] {
            let error = plan(kind, sectors).expect_err("impossible");
            assert_eq!(error.kind(), expected, "{kind:?} {sectors}");
        }
    }
}
