//! Copies against what is in memory.

use std::fs::{self, File};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use disk_units::{Sector, SectorRange};
use proptest::prelude::*;
use tempfile::TempDir;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{FnTable, VixDiskLibHandle, VixError};

use super::*;
use crate::api::Api;
use crate::connection::OpenFlags;
use crate::disk::Disk;
use crate::kind::DiskKind;
use crate::library::Library;
use crate::vddk_like::{VDDK, start, start_own};

const GRAIN: usize = 128 * 512;

/// A target in memory. `None` is a sector that was not touched.
struct Memory {
    bytes: Vec<u8>,
    grain: u64,
    finished: bool,
    writes: Vec<SectorRange>,
    fail_at: Option<Sector>,
}

impl Memory {
    fn new(length: usize, fill: u8) -> Self {
        Self {
            bytes: vec![fill; length],
            grain: 128,
            finished: false,
            writes: Vec::new(),
            fail_at: None,
        }
    }

    fn part(&mut self, range: SectorRange) -> &mut [u8] {
        let at = |sector: Sector| usize::try_from(sector.get()).expect("small") * 512;
        &mut self.bytes[at(range.start())..at(range.end())]
    }
}

impl CopyTarget for Memory {
    fn begin(&mut self, capacity: SectorCount) -> io::Result<()> {
        assert_eq!(self.bytes.len() as u64, capacity.get() * 512);
        Ok(())
    }

    fn grain(&self) -> SectorCount {
        SectorCount::new(self.grain)
    }

    fn write_at(&mut self, start: Sector, bytes: &[u8]) -> io::Result<()> {
        let count = SectorCount::new(bytes.len() as u64 / 512);
        let range = SectorRange::new(start, count).expect("fits");
        if self.fail_at.is_some_and(|sector| range.contains(sector)) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no room"));
        }
        assert!(
            self.writes.last().is_none_or(|last| last.end() <= start),
            "ascending"
        );
        self.writes.push(range);
        self.part(range).copy_from_slice(bytes);
        Ok(())
    }

    fn write_zeroes(&mut self, range: SectorRange) -> io::Result<()> {
        self.part(range).fill(0);
        Ok(())
    }

    fn finish(&mut self, _: SectorCount) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}

/// A flat disk with a hole wherever whole pages are zero.
fn flat(library: &Library, contents: &[u8], flags: OpenFlags) -> (TempDir, Disk) {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().expect("a folder");
    let extent = File::create(folder.path().join("disk-flat.vmdk")).expect("an extent");
    extent.set_len(contents.len() as u64).expect("a hole");
    for (index, page) in contents.chunks(4096).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            extent
                .write_all_at(page, index as u64 * 4096)
                .expect("written");
        }
    }
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
         createType=\"monolithicFlat\"\n\n# Extent description\nRW {} FLAT \"disk-flat.vmdk\" 0\n",
        contents.len() / 512
    );
    let path = folder.path().join("disk.vmdk");
    fs::write(&path, descriptor).expect("a descriptor");
    let connection = library.connect_local().expect("local");
    let disk = connection.open_disk(&path, flags).expect("opens");
    (folder, disk)
}

/// Data, a hole, zeroes that are allocated, data, a hole, and a tail that is no whole chunk.
fn contents() -> Vec<u8> {
    let mut bytes = vec![0; 40 * GRAIN + 3 * 512];
    let data = [0..GRAIN, 5 * GRAIN..9 * GRAIN + 512, 20 * GRAIN..38 * GRAIN];
    for (at, byte) in data.into_iter().flatten().map(|at| (at, at % 251 + 1)) {
        bytes[at] = u8::try_from(byte).expect("small");
    }
    // A grain of zeroes in the middle of data, and one with a single byte in it.
    bytes[25 * GRAIN..27 * GRAIN].fill(0);
    bytes[26 * GRAIN + 77] = 1;
    let last = bytes.len() - 1;
    bytes[last] = 9;
    bytes
}

fn embedded() -> Library {
    // One library per process and table, so each test has its own.
    let api = Api {
        table: FnTable { ..TABLE },
        major: Some(8),
    };
    start_own(api)
}

fn go_on(_: &CopyProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn all_done(state: &CopyProgress) -> bool {
    state.done() == state.total
}

#[test]
fn the_target_equals_the_source_whatever_it_held() {
    let contents = contents();
    let vddk = start_own(Api {
        table: VDDK,
        major: Some(8),
    });
    for library in [embedded(), vddk] {
        let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
        let mut target = Memory::new(contents.len(), 0xEE);
        let mut last = ByteLen::ZERO;
        let state = copy(&disk, &mut target, &CopyOptions::new(), |state| {
            assert!(state.done() > last);
            last = state.done();
            ControlFlow::Continue(())
        })
        .expect("copies");
        assert!(target.bytes == contents);
        assert!(target.finished && all_done(&state) && last == state.total);
        assert_eq!(state.skipped, ByteLen::ZERO);

        // Through a disk for several threads, onto zeroes: only grains with data are written.
        let shared = disk.into_shared().expect("shared");
        let mut target = Memory::new(contents.len(), 0);
        let options = CopyOptions::new()
            .target_is_zero(true)
            .request(SectorCount::new(1));
        let state = copy(&shared, &mut target, &options, go_on).expect("copies");
        assert!(target.bytes == contents);
        let grains = contents
            .chunks(GRAIN)
            .filter(|grain| grain.iter().any(|byte| *byte != 0));
        let data: usize = grains.map(<[u8]>::len).sum();
        // Extents may be finer than grains, and then less is read.
        assert!(state.copied.get() > 0 && state.copied.get() <= data as u64);
        assert_eq!(state.zeroed, ByteLen::ZERO);
        assert!(
            target
                .writes
                .iter()
                .all(|range| !range.contains(Sector::new(25 * 128)))
        );
    }
}

#[test]
fn only_what_changed_is_touched() {
    let contents = contents();
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let areas = [(3, 1), (700, 600), (2600, 1), (5122, 1000)];
    let areas = areas.map(|(start, count)| {
        SectorRange::new(Sector::new(start), SectorCount::new(count)).expect("fits")
    });
    let areas = ChangedAreas::new(disk.capacity(), areas).expect("of this disk");
    let mut expected = vec![0xEE; contents.len()];
    for area in areas.as_slice() {
        let at = |sector: Sector| usize::try_from(sector.get()).expect("small") * 512;
        let part = at(area.start())..at(area.end());
        expected[part.clone()].copy_from_slice(&contents[part]);
    }
    let mut target = Memory::new(contents.len(), 0xEE);
    let options = CopyOptions::new().changed(areas.clone());
    let state = copy(&disk, &mut target, &options, go_on).expect("copies");
    assert!(target.bytes == expected);
    assert_eq!(Some(state.total), areas.sectors().bytes());

    let nothing = CopyOptions::new().changed(ChangedAreas::default());
    let state = copy(&disk, &mut target, &nothing, go_on).expect("copies nothing");
    assert_eq!(state, CopyProgress::default());
    assert!(target.bytes == expected);
}

#[test]
fn a_link_alone_is_copied_only_where_the_library_tells_what_it_has() {
    let vddk = Api {
        table: FnTable { ..VDDK },
        major: Some(8),
    };
    let vddk = start_own(vddk);
    let contents = contents();
    for (library, refused) in [(embedded(), false), (vddk, true)] {
        let (folder, mut parent) = flat(&library, &contents, OpenFlags::empty());
        let child = folder.path().join("child.vmdk");
        parent
            .create_child(&child, DiskKind::MONOLITHIC_SPARSE, |_| {})
            .expect("a child");
        parent.close().expect("closes");
        let flags = OpenFlags::READ_ONLY | OpenFlags::SINGLE_LINK;
        let connection = library.connect_local().expect("local");
        let link = connection.open_disk(&child, flags).expect("opens");
        let mut target = Memory::new(contents.len(), 0);
        target.bytes.copy_from_slice(&contents);
        let kind = copy(&link, &mut target, &CopyOptions::new(), go_on)
            .err()
            .map(|error| error.kind());
        assert!(target.bytes == contents, "what the parent has stays");
        assert_eq!(kind, refused.then_some(ErrorKind::Unsupported));
    }
}

#[test]
fn as_many_requests_may_be_on_their_way_as_anybody_asks_for() {
    let contents = contents();
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let mut target = Memory::new(contents.len(), 0xEE);
    let options = CopyOptions::new().in_flight(usize::MAX);
    copy(&disk, &mut target, &options, go_on).expect("copies");
    assert!(target.bytes == contents);
}

#[test]
fn the_callback_ends_it() {
    let contents = contents();
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let mut target = Memory::new(contents.len(), 0xEE);
    let mut calls = 0;
    let options = CopyOptions::new()
        .request(SectorCount::new(128))
        .in_flight(2);
    let error = copy(&disk, &mut target, &options, |_| {
        calls += 1;
        if calls == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .expect_err("ended");
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Cancelled, Operation::Copy)
    );
    assert_eq!(calls, 3);
    assert!(!target.finished);
    assert!(target.bytes.ends_with(&[0xEE; 512]), "most is not written");
}

#[test]
fn a_target_that_fails_names_its_cause_and_place() {
    let contents = contents();
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let mut target = Memory::new(contents.len(), 0);
    target.fail_at = Some(Sector::new(21 * 128));
    let error = copy(&disk, &mut target, &CopyOptions::new(), go_on).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(
        error
            .sectors()
            .expect("named")
            .contains(Sector::new(21 * 128))
    );
    assert!(
        error.to_string().contains("writing failed: no room"),
        "{error}"
    );
    assert!(!target.finished);
}

#[test]
fn a_source_that_fails_names_its_disk_and_place() {
    unsafe extern "C" fn read(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
    ) -> VixError {
        if start >= 20 * 128 {
            return VixError::HOST_TCP_CONN_LOST;
        }
        // SAFETY: passed on.
        unsafe { (TABLE.read)(handle, start, count, buffer) }
    }
    static API: Api = Api {
        table: FnTable {
            read,
            read_async: None,
            write_async: None,
            ..VDDK_COPY
        },
        major: Some(8),
    };
    let contents = contents();
    let (_folder, disk) = flat(&start(&API), &contents, OpenFlags::READ_ONLY);
    let mut target = Memory::new(contents.len(), 0);
    let error = copy(&disk, &mut target, &CopyOptions::new(), go_on).expect_err("lost");
    assert_eq!(error.code(), Some(VixError::HOST_TCP_CONN_LOST));
    assert_eq!(error.path(), Some(disk.name()));
    assert!(error.sectors().expect("named").start() >= Sector::new(20 * 128));
    assert!(error.is_retryable() && !target.finished);
}

/// As [`VDDK`], for tables that are made of constants.
const VDDK_COPY: FnTable = FnTable {
    ext_write_zeroes: None,
    ext_trim: None,
    ext_query_extents: None,
    ext_get_file_range: None,
    ext_get_property: None,
    ..TABLE
};

#[test]
fn targets_that_do_not_fit_are_refused_before_anything_is_written() {
    let contents = contents();
    let library = embedded();
    let (folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let kind = |target: &mut dyn CopyTarget| {
        copy(&disk, target, &CopyOptions::new(), go_on)
            .expect_err("refused")
            .kind()
    };

    let (_small, mut small) = flat(&library, &contents[512..], OpenFlags::empty());
    assert_eq!(kind(&mut small), ErrorKind::InvalidArgument);
    let (_locked, mut locked) = flat(&library, &contents, OpenFlags::READ_ONLY);
    assert_eq!(kind(&mut locked), ErrorKind::ReadOnly);
    let mut long = File::create(folder.path().join("long")).expect("a file");
    long.set_len(contents.len() as u64 + 1).expect("longer");
    assert_eq!(kind(&mut long), ErrorKind::InvalidArgument);
    assert_eq!(
        long.metadata().expect("there").len(),
        contents.len() as u64 + 1
    );
    let path = folder.path().join("for reading");
    fs::write(&path, []).expect("a file");
    let mut read_only = File::open(&path).expect("a file");
    // That it cannot be written shows at the first write.
    let error = copy(&disk, &mut read_only, &CopyOptions::new(), go_on).expect_err("refused");
    assert_eq!(error.operation(), Operation::Copy);
}

#[test]
fn disks_and_files_are_targets() {
    use std::os::unix::fs::MetadataExt;
    let contents = contents();
    let library = embedded();
    let (folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let path = folder.path().join("image");

    let mut image = File::create_new(&path).expect("a file");
    copy(&disk, &mut image, &CopyOptions::new(), go_on).expect("copies");
    assert!(fs::read(&path).expect("the image") == contents);
    let blocks = image.metadata().expect("there").blocks();
    assert!(blocks * 512 < contents.len() as u64, "zeroes are holes");

    // Over an image that is shorter and full of something else.
    fs::write(&path, vec![0xEE; 30 * GRAIN]).expect("a file");
    let mut image = File::options().write(true).open(&path).expect("a file");
    copy(&disk, &mut image, &CopyOptions::new(), go_on).expect("copies");
    assert!(fs::read(&path).expect("the image") == contents);

    let filled = vec![0xEE; contents.len() + 512];
    let (_folder, mut target) = flat(&library, &filled, OpenFlags::empty());
    copy(&disk, &mut target, &CopyOptions::new(), go_on).expect("copies");
    let mut back = vec![0; filled.len()];
    target.read_at(Sector::ZERO, &mut back).expect("reads");
    assert!(back[..contents.len()] == contents && back.ends_with(&[0xEE; 512]));

    let mut shared = target.into_shared().expect("shared");
    copy(&disk, &mut shared, &CopyOptions::new(), go_on).expect("copies");
}

#[test]
fn reads_go_on_while_the_target_writes_but_only_so_far() {
    static READ: AtomicU64 = AtomicU64::new(0);
    unsafe extern "C" fn read(
        handle: VixDiskLibHandle,
        start: u64,
        count: u64,
        buffer: *mut u8,
    ) -> VixError {
        READ.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { (TABLE.read)(handle, start, count, buffer) }
    }
    static API: Api = Api {
        table: FnTable {
            read,
            read_async: None,
            write_async: None,
            ..VDDK_COPY
        },
        major: Some(8),
    };
    /// Writes nothing before the reader has got as far as it may.
    struct Slow(u64);
    impl CopyTarget for Slow {
        fn begin(&mut self, _: SectorCount) -> io::Result<()> {
            Ok(())
        }
        fn write_at(&mut self, _: Sector, _: &[u8]) -> io::Result<()> {
            let ahead = (self.0 + 3).min(32);
            let deadline = Instant::now() + Duration::from_secs(10);
            while READ.load(Ordering::SeqCst) < ahead {
                assert!(Instant::now() < deadline, "nothing is read meanwhile");
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(1));
            assert!(READ.load(Ordering::SeqCst) <= self.0 + 3, "too far ahead");
            self.0 += 1;
            Ok(())
        }
        fn write_zeroes(&mut self, _: SectorRange) -> io::Result<()> {
            unreachable!("there are none")
        }
        fn finish(&mut self, _: SectorCount) -> io::Result<()> {
            Ok(())
        }
    }
    let (_folder, disk) = flat(&start(&API), &vec![7; 32 * GRAIN], OpenFlags::READ_ONLY);
    let options = CopyOptions::new()
        .request(SectorCount::new(128))
        .in_flight(3);
    let state = copy(&disk, &mut Slow(0), &options, go_on).expect("copies");
    assert_eq!(state.copied.get(), 32 * GRAIN as u64);
}

#[test]
fn a_panic_of_the_target_or_the_callback_comes_out() {
    struct Panics;
    impl CopyTarget for Panics {
        fn begin(&mut self, _: SectorCount) -> io::Result<()> {
            Ok(())
        }
        fn write_at(&mut self, _: Sector, _: &[u8]) -> io::Result<()> {
            panic!("a target of the caller's")
        }
        fn write_zeroes(&mut self, _: SectorRange) -> io::Result<()> {
            Ok(())
        }
        fn finish(&mut self, _: SectorCount) -> io::Result<()> {
            Ok(())
        }
    }
    let contents = contents();
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let copy_to_panic = || copy(&disk, &mut Panics, &CopyOptions::new(), go_on);
    assert!(panic::catch_unwind(AssertUnwindSafe(copy_to_panic)).is_err());
    let mut target = Memory::new(contents.len(), 0);
    let panicking = || {
        copy(&disk, &mut target, &CopyOptions::new(), |_| {
            panic!("a callback")
        })
    };
    assert!(panic::catch_unwind(AssertUnwindSafe(panicking)).is_err());
    disk.close().expect("nothing is in flight");
}

fn model_library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(embedded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_copy_equals_the_model(
        pages in prop::collection::vec(prop_oneof![3 => Just(0_u8), 2 => 1_u8..255], 1..200),
        areas in prop::option::of(prop::collection::vec((any::<prop::sample::Index>(), 1_u64..300), 0..6)),
        request in 1_u64..600,
        grain in 1_u64..300,
        in_flight in 1_usize..6,
        fill in prop_oneof![Just(0_u8), Just(0xEE)],
    ) {
        let contents: Vec<u8> = pages.iter().flat_map(|byte| [*byte; 4096]).collect();
        let (_folder, disk) = flat(model_library(), &contents, OpenFlags::READ_ONLY);
        let capacity = disk.capacity();
        let mut options = CopyOptions::new()
            .request(SectorCount::new(request))
            .in_flight(in_flight)
            .target_is_zero(fill == 0);
        let mut expected = vec![fill; contents.len()];
        match areas {
            None => expected.copy_from_slice(&contents),
            Some(areas) => {
                let areas = areas.iter().map(|(start, count)| {
                    let start = start.index(usize::try_from(capacity.get()).expect("small"));
                    SectorRange::new(Sector::new(start as u64), SectorCount::new(*count)).expect("fits")
                });
                let areas = ChangedAreas::new(capacity, areas).expect("of this disk");
                for area in areas.as_slice() {
                    let at = |sector: Sector| usize::try_from(sector.get()).expect("small") * 512;
                    let part = at(area.start())..at(area.end());
                    expected[part.clone()].copy_from_slice(&contents[part]);
                }
                options = options.changed(areas);
            }
        }
        let mut target = Memory::new(contents.len(), fill);
        target.grain = grain;
        let state = copy(&disk, &mut target, &options, go_on).expect("copies");
        prop_assert!(all_done(&state) && target.finished);
        prop_assert!(target.bytes == expected);
    }
}

#[test]
fn a_copy_may_run_on_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<CopyOptions>();
    is_send::<Box<dyn CopyTarget>>();
    let contents = Arc::new(contents());
    let library = embedded();
    let (_folder, disk) = flat(&library, &contents, OpenFlags::READ_ONLY);
    let expected = Arc::clone(&contents);
    let copied = thread::spawn(move || {
        let mut target = Memory::new(expected.len(), 0);
        copy(&disk, &mut target, &CopyOptions::default(), go_on).expect("copies");
        target.bytes
    });
    assert!(copied.join().expect("no panic") == *contents);
}
