//! Extents inside the areas that changed since an earlier backup.

use std::fmt;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::{Extent, Extents};
use crate::error::{Error, ErrorKind, Operation, Result};

/// The areas of a disk that changed, as change tracking reports them: sorted, apart from each other, inside the disk.
///
/// ```
/// use vixdisklib::{ByteLen, ChangedAreas, Sector, SectorCount, SectorRange};
///
/// // What vSphere's QueryChangedDiskAreas answers, in bytes.
/// let areas = ChangedAreas::from_bytes(
///     SectorCount::new(1000),
///     [(ByteLen::new(131_072), ByteLen::new(65_536)), (ByteLen::new(0), ByteLen::new(65_536))],
/// )?;
/// assert_eq!(areas.sectors(), SectorCount::new(256));
/// let first = SectorRange::new(Sector::new(0), SectorCount::new(128)).unwrap();
/// assert_eq!(areas.as_slice()[0], first);
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedAreas(Vec<SectorRange>);

impl ChangedAreas {
    /// The areas of a disk of `capacity` sectors, in any order; those that touch or overlap become one, and empty ones
    /// go. One that reaches past the end of the disk is cut, as trackers count in blocks that need not fit.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] for an area that begins past the end: the list is of another disk.
    pub fn new(
        capacity: SectorCount,
        areas: impl IntoIterator<Item = SectorRange>,
    ) -> Result<Self> {
        let disk = SectorRange::whole(capacity);
        let mut sorted = Vec::new();
        for area in areas.into_iter().filter(|area| !area.is_empty()) {
            let inside = disk.intersection(area).filter(|inside| !inside.is_empty());
            sorted.push(inside.ok_or_else(|| outside(capacity).with_range(area))?);
        }
        sorted.sort_unstable_by_key(|area: &SectorRange| area.start());
        let mut merged: Vec<SectorRange> = Vec::with_capacity(sorted.len());
        for area in sorted {
            if let Some(last) = merged.last_mut()
                && area.start() <= last.end()
                && let Some(joined) = SectorRange::between(last.start(), last.end().max(area.end()))
            {
                *last = joined;
            } else {
                merged.push(area);
            }
        }
        Ok(Self(merged))
    }

    /// As [`new`](Self::new), from start and length in bytes, rounded outwards to sectors.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_bytes(
        capacity: SectorCount,
        areas: impl IntoIterator<Item = (ByteLen, ByteLen)>,
    ) -> Result<Self> {
        let sectors = |(start, length): (ByteLen, ByteLen)| {
            let end = start.checked_add(length)?;
            let first = Sector::new(start.get() / disk_units::SECTOR_SIZE as u64);
            let end = Sector::new(end.sectors_rounded_up().get());
            let end = if length.is_zero() { first } else { end };
            SectorRange::between(first, end)
        };
        let areas: Option<Vec<_>> = areas.into_iter().map(sectors).collect();
        Self::new(capacity, areas.ok_or_else(|| outside(capacity))?)
    }

    /// The areas in order; between two of them there is at least one sector.
    #[must_use]
    pub fn as_slice(&self) -> &[SectorRange] {
        &self.0
    }

    /// How many sectors they have in all.
    #[must_use]
    pub fn sectors(&self) -> SectorCount {
        // They lie apart inside one disk, so the sum fits.
        SectorCount::new(self.0.iter().map(|area| area.count().get()).sum())
    }
}

fn outside(capacity: SectorCount) -> Error {
    let text = format!("an area begins behind the disk's {capacity} sectors");
    Error::new(ErrorKind::OutOfRange, Operation::Configure, text)
}

impl<'disk> Extents<'disk> {
    /// The parts of the extents that lie in `areas`: in order, no part outside of an area, none of an area left out that
    /// these extents cover. Neighbours inside one area differ. What lies between areas is not asked for where that saves
    /// a query.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
    /// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
    /// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
    /// use vixdisklib::{ChangedAreas, Library, OpenFlags, Sector, SectorCount, SectorRange};
    ///
    /// let disk = Library::embedded()?.connect_local()?.open_disk(&path, OpenFlags::READ_ONLY)?;
    /// let changed = SectorRange::new(Sector::new(8), SectorCount::new(4)).unwrap();
    /// let areas = ChangedAreas::new(disk.capacity(), [changed])?;
    /// for extent in disk.extents(SectorRange::whole(disk.capacity()))?.within(&areas) {
    ///     let extent = extent?;
    ///     println!("{} changed, and {} data", extent.range, if extent.holds_data() { "is" } else { "is no" });
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within<'areas>(mut self, areas: &'areas ChangedAreas) -> Within<'disk, 'areas> {
        let end = areas.0.last().map_or(Sector::ZERO, |last| last.end());
        self.stop_at(end);
        Within {
            extents: self,
            areas: &areas.0,
            current: None,
        }
    }
}

/// The parts of extents that lie in changed areas; made by [`Extents::within`]. After an error it ends.
#[must_use]
pub struct Within<'disk, 'areas> {
    extents: Extents<'disk>,
    /// The areas that are not through yet.
    areas: &'areas [SectorRange],
    /// An extent that reaches beyond the last area that is through.
    current: Option<Extent>,
}

impl fmt::Debug for Within<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Within")
            .field("extents", &self.extents)
            .field("areas", &self.areas.len())
            .finish_non_exhaustive()
    }
}

impl Iterator for Within<'_, '_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Result<Extent>> {
        loop {
            let (area, later) = self.areas.split_first()?;
            let extent = match self.current.take() {
                Some(extent) => extent,
                None => {
                    self.extents.skip_to(area.start());
                    match self.extents.next()? {
                        Ok(extent) => extent,
                        Err(error) => {
                            self.areas = &[];
                            return Some(Err(error));
                        }
                    }
                }
            };
            if extent.range.end() >= area.end() {
                self.areas = later;
                self.current = (extent.range.end() > area.end()).then_some(extent);
            }
            let part = extent.range.intersection(*area);
            if let Some(range) = part.filter(|part| !part.is_empty()) {
                return Some(Ok(Extent { range, ..extent }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    use crate::extents::{ChunkSize, ExtentSource};

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered")
    }

    #[test]
    fn areas_are_sorted_joined_and_cut() {
        let capacity = SectorCount::new(1000);
        let areas = [
            range(900, 1024),
            range(10, 20),
            range(15, 30),
            range(30, 40),
            range(50, 50),
            range(41, 42),
        ];
        let areas = ChangedAreas::new(capacity, areas).expect("of this disk");
        assert_eq!(
            areas.as_slice(),
            [range(10, 40), range(41, 42), range(900, 1000)]
        );
        assert_eq!(areas.sectors(), SectorCount::new(131));
        assert!(
            ChangedAreas::new(capacity, [])
                .expect("nothing changed")
                .as_slice()
                .is_empty()
        );
        let error = ChangedAreas::new(capacity, [range(1000, 1001)]).expect_err("another disk");
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(error.sectors(), Some(range(1000, 1001)));
    }

    #[test]
    fn bytes_are_rounded_outwards() {
        let capacity = SectorCount::new(1000);
        let areas = |start, length| {
            ChangedAreas::from_bytes(capacity, [(ByteLen::new(start), ByteLen::new(length))])
        };
        assert_eq!(areas(511, 2).expect("fits").as_slice(), [range(0, 2)]);
        assert_eq!(areas(512, 512).expect("fits").as_slice(), [range(1, 2)]);
        assert_eq!(areas(700, 0).expect("empty").as_slice(), []);
        let error = areas(u64::MAX, 2).expect_err("no such place");
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
    }

    /// Runs of 10 sectors, data and hole in turn, a few at a time; it remembers what it was asked.
    #[derive(Default)]
    struct Striped(std::cell::RefCell<Vec<SectorRange>>);

    impl ExtentSource for Striped {
        fn page(&self, range: SectorRange, _: ChunkSize) -> Result<Vec<Extent>> {
            self.0.borrow_mut().push(range);
            let first = range.start().get() / 10;
            let runs = (first..first + 3).filter_map(|index| {
                let run = SectorRange::new(Sector::new(index * 10), SectorCount::new(10))?;
                let range = run.intersection(range).filter(|run| !run.is_empty())?;
                let allocated = index % 2 == 0;
                Some(Extent {
                    range,
                    allocated,
                    zero: !allocated,
                    depth: 0,
                })
            });
            Ok(runs.collect())
        }
    }

    fn within(areas: &ChangedAreas, disk: &Striped) -> Vec<(SectorRange, bool)> {
        let extents = Extents::new(disk, range(0, 1000), ChunkSize::MIN);
        extents
            .within(areas)
            .map(|extent| extent.expect("no error"))
            .map(|extent| (extent.range, extent.allocated))
            .collect()
    }

    #[test]
    fn between_areas_nothing_is_asked() {
        let disk = Striped::default();
        let areas = [range(5, 12), range(505, 525)];
        let areas = ChangedAreas::new(SectorCount::new(1000), areas).expect("fits");
        assert_eq!(
            within(&areas, &disk),
            [
                (range(5, 10), true),
                (range(10, 12), false),
                (range(505, 510), true),
                (range(510, 520), false),
                (range(520, 525), true)
            ]
        );
        assert_eq!(*disk.0.borrow(), [range(5, 525), range(505, 525)]);
    }

    #[test]
    fn no_area_no_question() {
        let disk = Striped::default();
        assert_eq!(within(&ChangedAreas::default(), &disk), []);
        assert!(disk.0.borrow().is_empty());
    }

    proptest! {
        #[test]
        fn it_is_the_intersection(cuts in prop::collection::vec((0_u64..1000, 0_u64..60), 0..20)) {
            let areas = cuts.iter().map(|(start, count)| range(*start, start + count));
            let areas = ChangedAreas::new(SectorCount::new(1000), areas).expect("begins inside");
            let mut model = [false; 1000];
            for (start, count) in cuts {
                for sector in start..(start + count).min(1000) {
                    model[usize::try_from(sector).expect("small")] = true;
                }
            }
            let mut seen = [false; 1000];
            let mut last = 0;
            for (part, allocated) in within(&areas, &Striped::default()) {
                prop_assert!(part.start().get() >= last);
                last = part.end().get();
                for sector in part.start().get()..part.end().get() {
                    prop_assert_eq!(allocated, sector / 10 % 2 == 0);
                    seen[usize::try_from(sector).expect("small")] = true;
                }
            }
            prop_assert_eq!(seen, model);
        }
    }
}
