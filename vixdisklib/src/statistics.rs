//! How often each C function was called, and how long that took.
//!
//! Counting is a table of its own that is put before the library's, so a library that does not count pays nothing. The
//! functions of such a table are C functions without a place for a pointer: each counting library has a slot among a
//! few statics, and its functions are compiled for that slot.

use std::fmt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use disk_units::{ByteLen, SectorCount};
use parking_lot::Mutex;
use vixdisklib_sys::{FnTable, Observer, Outcome};

use crate::aio::Direction;
use crate::api::Api;
use crate::error::{Error, ErrorKind, Operation, Result};

/// How many functions there are.
const FUNCTIONS: usize = FnTable::SYMBOLS.len();

/// The counting table of each slot.
const TABLES: [fn() -> FnTable; 4] = [
    FnTable::observed::<Counting<0>>,
    FnTable::observed::<Counting<1>>,
    FnTable::observed::<Counting<2>>,
    FnTable::observed::<Counting<3>>,
];

static SLOTS: [Slot; TABLES.len()] = [const { Slot::new() }; TABLES.len()];

/// What the calls of one library have added up to so far; made by [`Library::statistics`](crate::Library::statistics).
///
/// It is a snapshot: numbers of calls that end meanwhile may be in or not. `Display` is a table of the functions that
/// were called, with times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics(Vec<CallStatistics>);

/// What the calls of one C function have added up to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStatistics {
    /// The name of the function in C.
    pub function: &'static str,
    /// How many calls ended.
    pub calls: u64,
    /// How many of them returned a code other than `VIX_OK` and `VIX_ASYNC`, or null instead of a pointer, and how many
    /// asynchronous requests failed after the library had accepted them. Asking for the size of metadata counts too, as the
    /// library answers that with a code.
    pub failures: u64,
    /// The bytes of the reads and writes that did not fail. Asynchronous ones count from when the library accepts them
    /// until they fail.
    pub bytes: ByteLen,
    /// The time inside the function, all calls together. An asynchronous request takes only as long as it takes to submit.
    pub total: Duration,
    /// The time of the longest call.
    pub longest: Duration,
}

impl Statistics {
    /// Every function of the library's table, in its order, those without calls too.
    #[must_use]
    pub fn calls(&self) -> &[CallStatistics] {
        &self.0
    }

    /// The numbers of one function by its name in C, such as `VixDiskLib_Read`; `None` if there is none of that name.
    #[must_use]
    pub fn call(&self, function: &str) -> Option<&CallStatistics> {
        self.0.iter().find(|call| call.function == function)
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, time, calls, bytes) = ("VixDiskLib_...", "µs", "calls", "bytes");
        write!(
            formatter,
            "{name:<24} {time:>14} {calls:>10} {bytes:>16} {:>10} {:>12}",
            "failures", "longest µs"
        )?;
        for call in self.0.iter().filter(|call| call.calls > 0) {
            // Those of our extensions stay apart as `Ext_`.
            let name = call.function.trim_start_matches("VixDiskLib");
            let bytes = match call.bytes {
                ByteLen::ZERO => String::new(),
                bytes => bytes.to_string(),
            };
            write!(
                formatter,
                "\n  {:<22} {:>14} {:>10} {bytes:>16} {:>10} {:>12}",
                name.trim_start_matches('_'),
                call.total.as_micros(),
                call.calls,
                call.failures,
                call.longest.as_micros(),
            )?;
        }
        Ok(())
    }
}

/// Where one library counts.
struct Slot {
    library: OnceLock<Libraries>,
    counters: [Counter; FUNCTIONS],
}

/// A library as it is, and as one that counts.
struct Libraries {
    plain: &'static Api,
    counting: OnceLock<Api>,
}

/// One function's numbers. They are independent of each other, so no order of memory is asked for.
struct Counter {
    calls: AtomicU64,
    failures: AtomicU64,
    sectors: AtomicU64,
    /// Of those sectors the ones of requests that failed later.
    lost: AtomicU64,
    nanoseconds: AtomicU64,
    longest: AtomicU64,
}

impl Slot {
    const fn new() -> Self {
        Self {
            library: OnceLock::new(),
            counters: [const { Counter::new() }; FUNCTIONS],
        }
    }
}

/// The observer that counts in a slot.
struct Counting<const SLOT: usize>;

impl<const SLOT: usize> Observer for Counting<SLOT> {
    fn table() -> &'static FnTable {
        let library = SLOTS[SLOT].library.get();
        &library
            .expect("a slot is filled before its table is made")
            .plain
            .table
    }

    fn observe<R: Outcome>(index: usize, sectors: u64, call: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = call();
        SLOTS[SLOT].counters[index].add(start.elapsed(), sectors, result.has_failed());
        result
    }
}

impl Counter {
    const fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            sectors: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    fn add(&self, time: Duration, sectors: u64, failed: bool) {
        // More than a u64 of nanoseconds are 584 years.
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(time, Ordering::Relaxed);
        self.longest.fetch_max(time, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        } else if sectors > 0 {
            self.sectors.fetch_add(sectors, Ordering::Relaxed);
        }
    }

    /// A request that was counted as accepted has failed, or one that is about to be.
    fn fail_late(&self, sectors: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(sectors, Ordering::Relaxed);
    }

    fn reset(&self) {
        let all = [
            &self.calls,
            &self.failures,
            &self.sectors,
            &self.lost,
            &self.nanoseconds,
            &self.longest,
        ];
        for number in all {
            number.store(0, Ordering::Relaxed);
        }
    }

    fn read(&self, function: &'static str) -> CallStatistics {
        let time = |number: &AtomicU64| Duration::from_nanos(number.load(Ordering::Relaxed));
        let accepted = self.sectors.load(Ordering::Relaxed);
        // A request may fail inside of the call that is counted when it returns.
        let moved = accepted.saturating_sub(self.lost.load(Ordering::Relaxed));
        CallStatistics {
            function,
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            bytes: SectorCount::new(moved).bytes().unwrap_or_default(),
            total: time(&self.nanoseconds),
            longest: time(&self.longest),
        }
    }
}

/// The numbers of one library that counts.
#[derive(Clone, Copy)]
pub(crate) struct Recorder(&'static Slot);

impl Recorder {
    /// Sets all numbers to zero.
    pub(crate) fn reset(self) {
        self.0.counters.iter().for_each(Counter::reset);
    }

    pub(crate) fn read(self) -> Statistics {
        let names = FnTable::SYMBOLS.iter().map(|symbol| symbol.name);
        let calls = names
            .zip(&self.0.counters)
            .map(|(name, counter)| counter.read(name));
        Statistics(calls.collect())
    }
}

/// Counts an asynchronous request that the library accepted as failed, if calls through `api` are counted.
#[cold]
pub(crate) fn count_late_failure(api: &Api, direction: Direction, sectors: SectorCount) {
    let function = match direction {
        Direction::Read => "VixDiskLib_ReadAsync",
        Direction::Write => "VixDiskLib_WriteAsync",
    };
    let counts = |slot: &&Slot| {
        let counting = slot.library.get().and_then(|known| known.counting.get());
        counting.is_some_and(|counting| ptr::eq(counting, api))
    };
    let Some(slot) = SLOTS.iter().find(counts) else {
        return;
    };
    for (symbol, counter) in FnTable::SYMBOLS.iter().zip(&slot.counters) {
        if symbol.name == function {
            counter.fail_late(sectors.get());
        }
    }
}

/// The same library with its calls counted, and where they are counted. A library keeps its slot for good, as it is never
/// unloaded.
pub(crate) fn counting(plain: &'static Api) -> Result<(&'static Api, Recorder)> {
    // Two libraries must not take one slot.
    static ASSIGN: Mutex<()> = Mutex::new(());
    let _assigning = ASSIGN.lock();
    for (slot, table) in SLOTS.iter().zip(TABLES) {
        let library = slot.library.get_or_init(|| Libraries {
            plain,
            counting: OnceLock::new(),
        });
        if ptr::eq(library.plain, plain) {
            let api = library.counting.get_or_init(|| Api {
                table: table(),
                major: plain.major,
            });
            return Ok((api, Recorder(slot)));
        }
    }
    let text = format!(
        "{} libraries of this process have statistics already",
        SLOTS.len()
    );
    Err(Error::new(
        ErrorKind::Unsupported,
        Operation::Initialize,
        text,
    ))
}

#[cfg(test)]
mod tests;
