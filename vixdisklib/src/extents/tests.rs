//! The iterators against a bitmap of sectors.

use super::*;

use proptest::prelude::*;

/// A disk of single sectors, described a few runs at a time.
struct Bitmap {
    data: Vec<bool>,
    page: usize,
}

impl ExtentSource for Bitmap {
    fn page(&self, range: SectorRange, _chunk: ChunkSize) -> Result<Vec<Extent>> {
        let sectors = range.start().get()..range.end().get();
        let runs = sectors.take(self.page).map(|sector| {
            let allocated = self.data[usize::try_from(sector).expect("small")];
            let range = SectorRange::new(Sector::new(sector), SectorCount::new(1)).expect("small");
            Extent {
                range,
                allocated,
                zero: !allocated,
                depth: 0,
            }
        });
        Ok(runs.collect())
    }
}

/// A disk that fails after its first page.
struct Failing;

impl ExtentSource for Failing {
    fn page(&self, range: SectorRange, _chunk: ChunkSize) -> Result<Vec<Extent>> {
        if !range.start().is_zero() {
            return Err(Error::new(ErrorKind::Io, Operation::Extents, "gone"));
        }
        Ok(vec![Extent::unknown(range.split_at(Sector::new(1)).0)])
    }
}

fn range(start: usize, end: usize) -> SectorRange {
    SectorRange::between(Sector::new(start as u64), Sector::new(end as u64)).expect("ordered")
}

/// Checks order, cover and that neighbours differ; gives the runs back as a bitmap.
fn flatten(range: SectorRange, runs: impl Iterator<Item = Result<Extent>>) -> Vec<bool> {
    let mut position = range.start();
    let mut last = None;
    let mut bits = Vec::new();
    for run in runs {
        let run = run.expect("no error");
        assert_eq!(run.range.start(), position);
        assert!(!run.range.is_empty());
        assert_ne!(last, Some(run.allocated));
        assert_ne!(run.allocated, run.zero);
        last = Some(run.allocated);
        position = run.range.end();
        bits.extend((0..run.range.count().get()).map(|_| run.allocated));
    }
    assert_eq!(position, range.end());
    bits
}

#[test]
fn after_an_error_the_iterator_ends() {
    let mut extents = Extents::new(&Failing, range(0, 10), ChunkSize::MIN);
    assert!(extents.next().expect("an item").is_err());
    assert!(extents.next().is_none());
}

#[test]
fn a_hole_that_may_show_the_parent_is_not_zero_in_any_chunk() {
    struct Single;
    impl ExtentSource for Single {
        fn page(&self, range: SectorRange, _chunk: ChunkSize) -> Result<Vec<Extent>> {
            let (first, rest) = range.split_at(Sector::new(130));
            let hole = |range, zero| Extent {
                range,
                allocated: false,
                zero,
                depth: 0,
            };
            Ok(vec![hole(first, false), hole(rest, true)])
        }
    }
    let whole = range(0, 300);
    let extents = Extents::new(&Single, whole, ChunkSize::MIN);
    let shape: Vec<_> = Chunks::new(extents, whole, ChunkSize::MIN)
        .map(|chunk| {
            chunk
                .map(|chunk| (chunk.range, chunk.zero))
                .expect("no error")
        })
        .collect();
    assert_eq!(shape, [(range(0, 300), false)]);
}

#[test]
fn zeroes_that_are_recorded_hold_no_data() {
    struct Zeroed;
    impl ExtentSource for Zeroed {
        fn page(&self, range: SectorRange, _chunk: ChunkSize) -> Result<Vec<Extent>> {
            Ok(vec![Extent {
                range,
                allocated: true,
                zero: true,
                depth: 0,
            }])
        }
    }
    let whole = range(0, 300);
    let extents = Extents::new(&Zeroed, whole, ChunkSize::MIN);
    let chunks: Vec<_> = Chunks::new(extents, whole, ChunkSize::MIN)
        .map(|chunk| chunk.expect("no error"))
        .collect();
    assert_eq!(
        chunks,
        [Extent {
            range: whole,
            allocated: false,
            zero: true,
            depth: 0
        }]
    );
}

/// A disk of runs, one page.
struct Runs(Vec<(u64, bool, bool)>);

impl Runs {
    fn extents(&self) -> impl Iterator<Item = Extent> {
        let mut start = 0;
        self.0.iter().map(move |(count, allocated, zero)| {
            let range = SectorRange::new(Sector::new(start), SectorCount::new(*count));
            start += count;
            Extent {
                range: range.expect("small"),
                allocated: *allocated,
                zero: *zero,
                depth: 0,
            }
        })
    }

    fn chunks(&self) -> Vec<Extent> {
        let count = self.0.iter().map(|run| run.0).sum();
        let whole = SectorRange::whole(SectorCount::new(count));
        let extents = Extents::new(self, whole, ChunkSize::MIN);
        Chunks::new(extents, whole, ChunkSize::MIN)
            .map(|chunk| chunk.expect("no error"))
            .collect()
    }
}

impl ExtentSource for Runs {
    fn page(&self, _: SectorRange, _: ChunkSize) -> Result<Vec<Extent>> {
        Ok(self.extents().collect())
    }
}

#[test]
fn data_ends_what_an_unknown_hole_before_it_casts_doubt_on() {
    let disk = Runs(vec![
        (10, false, false),
        (10, true, false),
        (364, false, true),
    ]);
    let shape: Vec<_> = disk
        .chunks()
        .iter()
        .map(|chunk| (chunk.range, chunk.allocated, chunk.zero))
        .collect();
    assert_eq!(
        shape,
        [(range(0, 128), true, false), (range(128, 384), false, true)]
    );
}

proptest! {
    #[test]
    fn chunks_claim_no_more_than_is_known(
        runs in prop::collection::vec((1_u64..300, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let disk = Runs(runs);
        for chunk in disk.chunks() {
            let inside = disk.extents().filter(|run| run.range.intersection(chunk.range).is_some_and(|part| !part.is_empty()));
            for run in inside {
                prop_assert!(chunk.allocated || !run.holds_data(), "{chunk:?} hides {run:?}");
                prop_assert!(!chunk.zero || run.zero, "{chunk:?} against {run:?}");
            }
        }
    }

    #[test]
    fn runs_and_chunks_equal_the_model(
        data in prop::collection::vec(any::<bool>(), 1..2000),
        sparse in any::<bool>(),
        page in 1_usize..600,
        chunk in 128_u64..400,
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        // Half of the disks have long holes, so that whole chunks are empty.
        let data: Vec<bool> = data.iter().enumerate().map(|(at, bit)| *bit && (!sparse || at % 500 < 20)).collect();
        let (a, b) = (cut.0.index(data.len() + 1), cut.1.index(data.len() + 1));
        let part = range(a.min(b), a.max(b));
        let disk = Bitmap { data, page };
        let chunk = ChunkSize::new(SectorCount::new(chunk)).expect("in range");

        let bits = flatten(part, Extents::new(&disk, part, chunk));
        let (start, end) = (a.min(b), a.max(b));
        prop_assert_eq!(&bits[..], &disk.data[start..end]);

        let size = usize::try_from(chunk.sectors().get()).expect("small");
        let chunks = flatten(part, Chunks::new(Extents::new(&disk, part, chunk), part, chunk));
        for (at, allocated) in chunks.iter().enumerate().map(|(at, bit)| (at + start, *bit)) {
            let floor = at / size * size;
            let inside = &disk.data[floor.max(start)..(floor + size).min(end)];
            prop_assert_eq!(allocated, inside.contains(&true), "sector {}", at);
        }
    }
}
