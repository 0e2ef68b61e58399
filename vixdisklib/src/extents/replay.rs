//! What went wrong for others who asked VDDK for allocated blocks, replayed on libraries that answer as theirs did.
//!
//! Each library refuses what VDDK refuses: unaligned queries, too many chunks, sectors past the end of the disk.

use std::fs::{self, File};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use vixdisklib_sys::va_list;
use vixdisklib_sys::{FnTable, VixDiskLibBlockList, VixDiskLibHandle, VixError};

use super::*;
use crate::api::Api;
use crate::connection::OpenFlags;
use crate::disk::Disk;
use crate::log::{Window, callback};
use crate::vddk_like::{VDDK, start};

const GIB: u64 = 1 << 21;

/// A library with one disk, by what it answers.
trait Answer: 'static {
    /// The capacity of the disk in sectors.
    const CAPACITY: u64;

    /// The blocks of a query that VDDK would accept: start and length.
    fn blocks(start: u64, count: u64) -> std::result::Result<Vec<(u64, u64)>, VixError>;

    /// The lists that it has given out and that are not freed.
    fn lists() -> &'static AtomicU64;
}

/// `VixDiskLib_QueryAllocatedBlocks`: the list is the number of blocks, then the blocks.
unsafe extern "C" fn query<A: Answer>(
    _: VixDiskLibHandle,
    start: u64,
    count: u64,
    chunk: u64,
    list: *mut *mut VixDiskLibBlockList,
) -> VixError {
    let whole = start.is_multiple_of(chunk) && count.is_multiple_of(chunk) && count > 0;
    if chunk < 128 || !whole || count / chunk > 524_288 || start + count > A::CAPACITY {
        return VixError::INVALID_ARG;
    }
    let blocks = match A::blocks(start, count) {
        Ok(blocks) => blocks,
        Err(code) => return code,
    };
    let mut words = vec![blocks.len() as u64];
    words.extend(
        blocks
            .iter()
            .flat_map(|(offset, length)| [*offset, *length]),
    );
    A::lists().fetch_add(1, Ordering::SeqCst);
    // SAFETY: the caller's output is writable.
    unsafe { *list = Box::leak(words.into_boxed_slice()).as_mut_ptr().cast() };
    VixError::OK
}

unsafe extern "C" fn free<A: Answer>(list: *mut VixDiskLibBlockList) -> VixError {
    let words: *mut u64 = list.cast();
    // SAFETY: a list of `query`, whose first word is the number of blocks.
    let blocks = unsafe { *words };
    let length = 1 + 2 * usize::try_from(blocks).expect("small");
    let all = std::ptr::slice_from_raw_parts_mut(words, length);
    // SAFETY: leaked in `query` with this length.
    drop(unsafe { Box::from_raw(all) });
    A::lists().fetch_sub(1, Ordering::SeqCst);
    VixError::OK
}

/// Defines a library by its capacity and its answer, and opens its disk.
macro_rules! library {
    ($capacity:expr, |$start:pat_param, $count:pat_param| $answer:expr) => {{
        struct This;
        impl Answer for This {
            const CAPACITY: u64 = $capacity;

            fn blocks($start: u64, $count: u64) -> std::result::Result<Vec<(u64, u64)>, VixError> {
                $answer
            }

            fn lists() -> &'static AtomicU64 {
                static LISTS: AtomicU64 = AtomicU64::new(0);
                &LISTS
            }
        }
        static API: Api = Api {
            table: FnTable {
                query_allocated_blocks: Some(query::<This>),
                free_block_list: Some(free::<This>),
                ..VDDK
            },
            major: Some(8),
        };
        Opened::new::<This>(&API)
    }};
}

/// The disk of a library; every list must be freed when it goes.
struct Opened {
    disk: Disk,
    lists: &'static AtomicU64,
    _folder: TempDir,
}

impl Opened {
    /// The disk is a file that is one hole; only its capacity matters here.
    fn new<A: Answer>(api: &'static Api) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let flat = File::create(folder.path().join("disk-flat.vmdk")).expect("an extent");
        flat.set_len(A::CAPACITY * 512).expect("a hole");
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n\n# Extent description\nRW {} FLAT \"disk-flat.vmdk\" 0\n",
            A::CAPACITY
        );
        let path = folder.path().join("disk.vmdk");
        fs::write(&path, descriptor).expect("a descriptor");
        let connection = start(api).connect_local().expect("local");
        let disk = connection
            .open_disk(&path, OpenFlags::READ_ONLY)
            .expect("opens");
        Self {
            disk,
            lists: A::lists(),
            _folder: folder,
        }
    }

    fn extents(&self) -> Result<Vec<(u64, u64, bool)>> {
        let whole = SectorRange::whole(self.disk.capacity());
        let extents = self.disk.extents(whole).expect("in range");
        extents.map(|extent| extent.map(shape)).collect()
    }

    fn failure(&self) -> Error {
        self.extents().expect_err("a bad answer")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        assert_eq!(self.lists.load(Ordering::SeqCst), 0, "a list is not freed");
    }
}

fn shape(extent: Extent) -> (u64, u64, bool) {
    let range = extent.range;
    (range.start().get(), range.end().get(), extent.allocated)
}

#[test]
fn the_tail_that_is_no_whole_chunk_counts_as_data_and_is_not_asked_for() {
    // migratekit: "invalid argument" at the end of a disk whose capacity is no multiple of the chunk.
    let disk = library!(1_000, |_, _| Ok(vec![(128, 128)]));
    assert_eq!(
        disk.extents().expect("asked within the disk"),
        [
            (0, 128, false),
            (128, 256, true),
            (256, 896, false),
            (896, 1000, true)
        ]
    );
}

#[test]
fn areas_over_2_gib_and_4_gib_keep_their_length() {
    // Lengths that do not fit 31 and 32 bits of bytes.
    let disk = library!(10 * GIB, |_, count| Ok(match count {
        128 => vec![],
        _ => vec![(GIB, 3 * GIB), (4 * GIB + 128, 5 * GIB)],
    }));
    assert_eq!(
        disk.extents().expect("describes the disk"),
        [
            (0, GIB, false),
            (GIB, 4 * GIB, true),
            (4 * GIB, 4 * GIB + 128, false),
            (4 * GIB + 128, 9 * GIB + 128, true),
            (9 * GIB + 128, 10 * GIB, false)
        ]
    );
}

#[test]
fn runs_are_joined_where_queries_meet() {
    // 80 GiB take three queries; the run crosses both places where they meet.
    let disk = library!(80 * GIB, |start, count| {
        let (from, to) = (start.max(GIB), (start + count).min(79 * GIB));
        Ok(if from < to {
            vec![(from, to - from)]
        } else {
            vec![]
        })
    });
    assert_eq!(
        disk.extents().expect("describes the disk"),
        [
            (0, GIB, false),
            (GIB, 79 * GIB, true),
            (79 * GIB, 80 * GIB, false)
        ]
    );
}

#[test]
fn an_answer_of_113528_ranges_is_taken_whole() {
    // The longest answer that was reported from the field.
    let disk = library!(32 * GIB, |_, count| {
        let ranges = if count == 128 { 1 } else { 113_528 };
        Ok((0..ranges).map(|index| (index * 256, 128)).collect())
    });
    let extents = disk.extents().expect("describes the disk");
    assert_eq!(extents.len(), 2 * 113_528);
    let data = extents.iter().filter(|extent| extent.2);
    assert!(
        data.enumerate()
            .all(|(index, extent)| extent.0 == index as u64 * 256)
    );
    assert_eq!(
        extents.last(),
        Some(&(113_527 * 256 + 128, 32 * GIB, false))
    );
}

#[test]
fn a_disk_smaller_than_the_chunk_is_data() {
    let disk = library!(1_000, |_, _| Ok(vec![]));
    let whole = SectorRange::whole(disk.disk.capacity());
    let chunk = ChunkSize::new(SectorCount::new(2048)).expect("in range");
    let chunks = disk.disk.chunks(whole, chunk).expect("in range");
    let chunks: Vec<_> = chunks
        .map(|chunk| chunk.map(shape).expect("no error"))
        .collect();
    assert_eq!(chunks, [(0, 1000, true)]);
}

#[test]
fn a_disk_below_128_sectors_cannot_be_probed_and_is_data() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let disk = library!(127, |_, _| {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Ok(vec![])
    });
    assert_eq!(disk.extents().expect("no query"), [(0, 127, true)]);
    let ExtentDetail::Unknown(reason) = disk.disk.extent_detail() else {
        panic!("it cannot be known");
    };
    assert_eq!(reason.kind(), ErrorKind::Unsupported);
    assert!(reason.to_string().contains("below 128 sectors"), "{reason}");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
}

#[test]
fn an_answer_without_ranges_means_one_hole() {
    let disk = library!(1_024, |_, _| Ok(vec![]));
    assert_eq!(
        disk.extents().expect("describes the disk"),
        [(0, 1024, false)]
    );
    assert!(matches!(disk.disk.extent_detail(), ExtentDetail::Chunks));
}

#[test]
fn a_query_that_fails_in_the_middle_of_the_disk_names_the_place() {
    let disk = library!(80 * GIB, |start, _| {
        if start < 32 * GIB {
            Ok(vec![])
        } else {
            Err(VixError::HOST_TCP_CONN_LOST)
        }
    });
    let whole = SectorRange::whole(disk.disk.capacity());
    let mut extents = disk.disk.extents(whole).expect("in range");
    let error = extents
        .next()
        .expect("an item")
        .expect_err("the connection is gone");
    assert!(error.is_retryable());
    assert_eq!(error.operation(), Operation::Extents);
    let rest = error.sectors().expect("named");
    assert_eq!((rest.start().get(), rest.end()), (32 * GIB, whole.end()));
    assert!(extents.next().is_none());
}

#[test]
fn no_query_passes_the_capacity_or_the_longest_length() {
    // `query` refuses both, so it is enough that none fails.
    static LONGEST: AtomicU64 = AtomicU64::new(0);
    let disk = library!(70 * GIB + 127, |_, count| {
        LONGEST.fetch_max(count, Ordering::SeqCst);
        Ok(vec![])
    });
    let tail = (70 * GIB, 70 * GIB + 127, true);
    assert_eq!(
        disk.extents().expect("asked within the disk"),
        [(0, 70 * GIB, false), tail]
    );
    assert_eq!(LONGEST.load(Ordering::SeqCst), 128 * 524_288);
    for (start, end) in [
        (70 * GIB - 1, 70 * GIB + 127),
        (70 * GIB, 70 * GIB + 1),
        (5, 6),
    ] {
        let part = SectorRange::between(Sector::new(start), Sector::new(end)).expect("ordered");
        let part = disk.disk.extents(part).expect("in range");
        let part: Result<Vec<_>> = part.collect();
        assert!(part.expect("asked within the disk").len() <= 2);
    }
}

#[test]
fn neighbours_that_are_not_merged_become_one() {
    let disk = library!(1_024, |_, count| Ok(match count {
        128 => vec![],
        _ => vec![(128, 128), (256, 128), (384, 256)],
    }));
    assert_eq!(
        disk.extents().expect("describes the disk"),
        [(0, 128, false), (128, 640, true), (640, 1024, false)]
    );
}

#[test]
fn ranges_out_of_order_are_refused() {
    let disk = library!(1_024, |_, count| Ok(match count {
        128 => vec![],
        _ => vec![(512, 128), (128, 128)],
    }));
    let error = disk.failure();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(
        error
            .to_string()
            .contains("128..256, which are out of order"),
        "{error}"
    );
}

#[test]
fn ranges_that_overlap_are_refused() {
    let disk = library!(1_024, |_, count| Ok(match count {
        128 => vec![],
        _ => vec![(0, 256), (128, 256)],
    }));
    assert!(disk.failure().to_string().contains("out of order"));
}

#[test]
fn ranges_outside_of_the_question_are_refused() {
    let disk = library!(1_024, |_, count| Ok(match count {
        128 => vec![],
        _ => vec![(896, 256)],
    }));
    assert!(disk.failure().to_string().contains("outside"));
}

#[test]
fn more_ranges_than_chunks_are_refused_unread() {
    let disk = library!(1_024, |_, count| Ok(match count {
        128 => vec![],
        _ => (0..9).map(|index| (index, 1)).collect(),
    }));
    assert!(disk.failure().to_string().contains("9 runs where 8 chunks"));
}

#[test]
fn a_call_that_does_not_work_is_tried_once_and_quietly() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let disk = library!(1_024, |_, _| {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the log function takes its list as `vprintf` does.
        unsafe { va_list::call_with_text(callback::warn, c"probing: query is not supported here") };
        Err(VixError::NOT_SUPPORTED)
    });
    let window = Window::open();
    for _ in 0..3 {
        assert_eq!(
            disk.extents().expect("data, as far as is known"),
            [(0, 1024, true)]
        );
    }
    let noise = window.collect();
    assert!(
        noise.iter().all(|line| !line.text().contains("probing:")),
        "{noise:?}"
    );
    let ExtentDetail::Unknown(reason) = disk.disk.extent_detail() else {
        panic!("it does not work");
    };
    assert_eq!(reason.code(), Some(VixError::NOT_SUPPORTED));
    assert_eq!(reason.path(), Some(disk.disk.name()));
    assert!(
        reason
            .log_lines()
            .iter()
            .any(|line| line.text().contains("probing:"))
    );
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn a_library_before_6_7_has_no_call_and_all_is_data() {
    static API: Api = Api {
        table: FnTable {
            query_allocated_blocks: None,
            free_block_list: None,
            ..VDDK
        },
        major: Some(6),
    };
    struct Old;
    impl Answer for Old {
        const CAPACITY: u64 = 300;

        fn blocks(_: u64, _: u64) -> std::result::Result<Vec<(u64, u64)>, VixError> {
            unreachable!("the table has no such call")
        }

        fn lists() -> &'static AtomicU64 {
            static LISTS: AtomicU64 = AtomicU64::new(0);
            &LISTS
        }
    }
    let disk = Opened::new::<Old>(&API);
    assert_eq!(disk.extents().expect("no query"), [(0, 300, true)]);
    assert!(matches!(
        disk.disk.extent_detail(),
        ExtentDetail::Unknown(_)
    ));
}
