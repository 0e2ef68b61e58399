//! Any sequence of calls, sensible or not, against a model: what is read is what was written, and each call that makes
//! no sense gets its code.

mod common;

use common::*;
use proptest::prelude::*;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibHandle, VixError};

const SECTORS: u64 = 300;

#[derive(Clone, Debug)]
enum Call {
    Open {
        writable: bool,
    },
    Close {
        disk: usize,
    },
    Read {
        disk: usize,
        start: u64,
        count: u64,
    },
    Write {
        disk: usize,
        start: u64,
        count: u64,
        seed: u8,
    },
    Zero {
        disk: usize,
        start: u64,
        count: u64,
        flags: u32,
    },
    Query {
        disk: usize,
        start: u64,
        count: u64,
        chunk: u64,
    },
    Flush {
        disk: usize,
    },
}

/// Positions and lengths around everything that matters, and a few that nothing has.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..SECTORS + 20,
        2 => prop_oneof![Just(0), Just(128), Just(256), Just(SECTORS)],
        1 => any::<u64>(),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let disk = 0..6_usize;
    prop_oneof![
        2 => any::<bool>().prop_map(|writable| Call::Open { writable }),
        1 => disk.clone().prop_map(|disk| Call::Close { disk }),
        4 => (disk.clone(), number(), number())
            .prop_map(|(disk, start, count)| Call::Read { disk, start, count }),
        4 => (disk.clone(), number(), 0..40_u64, any::<u8>())
            .prop_map(|(disk, start, count, seed)| Call::Write { disk, start, count, seed }),
        2 => (disk.clone(), number(), number(), 0..9_u32)
            .prop_map(|(disk, start, count, flags)| Call::Zero { disk, start, count, flags }),
        2 => (disk.clone(), number(), number(), number())
            .prop_map(|(disk, start, count, chunk)| Call::Query { disk, start, count, chunk }),
        1 => disk.prop_map(|disk| Call::Flush { disk }),
    ]
}

/// What a request for these sectors must give, before anything is known of the disk but its size.
fn range(start: u64, count: u64) -> Result<std::ops::Range<usize>, VixError> {
    if count == 0 {
        return Err(VixError::INVALID_ARG);
    }
    match start.checked_add(count) {
        Some(end) if end <= SECTORS => {
            let byte = |sector| usize::try_from(sector).expect("small") * SECTOR;
            Ok(byte(start)..byte(end))
        }
        _ => Err(VixError::DISK_OUTOFRANGE),
    }
}

/// A handle, and whether it may write; `None` once it is closed.
type Held = (VixDiskLibHandle, Option<bool>);

fn alive((disk, state): Held) -> Result<(VixDiskLibHandle, bool), VixError> {
    state
        .map(|writable| (disk, writable))
        .ok_or(VixError::INVALID_HANDLE)
}

fn writable(held: Held) -> Result<VixDiskLibHandle, VixError> {
    match alive(held)? {
        (disk, true) => Ok(disk),
        (_, false) => Err(VixError::FILE_READ_ONLY),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn calls_do_what_the_model_does(calls in proptest::collection::vec(call(), 1..60)) {
        let _session = Session::start();
        let folder = tempfile::tempdir().expect("writable");
        let mut model = pattern(usize::try_from(SECTORS).expect("small"), 1);
        let path = flat_disk(folder.path(), "model", &model);
        let connection = connect();
        // At most one disk writes; a closed one keeps its place, to be used by mistake.
        let mut held: [Held; 6] = [(invented(1), None); 6];
        for (turn, call) in calls.into_iter().enumerate() {
            match call {
                Call::Open { writable } => {
                    let slot = turn % held.len();
                    let busy = held.iter().any(|(_, state)| *state == Some(true));
                    if held[slot].1.is_none() && !(writable && busy) {
                        let flags = if writable { READ_WRITE } else { READ_ONLY };
                        if let Ok(disk) = open(connection, &path, flags) {
                            held[slot] = (disk, Some(writable));
                        } else {
                            // A lock may keep readers and the writer apart.
                            prop_assert!(held.iter().any(|(_, state)| state.is_some()));
                        }
                    }
                }
                Call::Close { disk } => {
                    let expected = alive(held[disk]).map(|_| ());
                    prop_assert_eq!(ok(close(held[disk].0)), expected);
                    held[disk].1 = None;
                }
                Call::Read { disk, start, count } => {
                    let expected = alive(held[disk]).and_then(|_| range(start, count));
                    let found = read(held[disk].0, start, count);
                    prop_assert_eq!(found, expected.map(|range| model[range].to_vec()));
                }
                Call::Write { disk, start, count, seed } => {
                    let data = pattern(usize::try_from(count).expect("small"), seed);
                    let expected = writable(held[disk]).and_then(|_| range(start, count));
                    let done = write(held[disk].0, start, &data);
                    prop_assert_eq!(done, expected.clone().map(|_| ()));
                    if let Ok(range) = expected {
                        model[range].copy_from_slice(&data);
                    }
                }
                Call::Zero { disk, start, count, flags } => {
                    // SAFETY: handles are looked up.
                    let done = ok(unsafe {
                        TABLE.ext_write_zeroes.expect("there")(held[disk].0, start, count, flags)
                    });
                    let expected = if matches!(flags, 1 | 2 | 5 | 6) {
                        writable(held[disk]).and_then(|_| range(start, count))
                    } else {
                        Err(VixError::INVALID_ARG)
                    };
                    let refused_as_slow = flags & 4 != 0 && done == Err(VixError::NOT_SUPPORTED);
                    if let (Ok(range), false) = (expected.clone(), refused_as_slow) {
                        model[range].fill(0);
                    }
                    if !refused_as_slow {
                        prop_assert_eq!(done, expected.map(|_| ()));
                    }
                }
                Call::Query { disk, start, count, chunk } => {
                    let found = allocated(held[disk].0, start, count, chunk);
                    let fits = chunk >= 128
                        && count > 0
                        && start.is_multiple_of(chunk)
                        && count.is_multiple_of(chunk)
                        && start.checked_add(count).is_some_and(|end| end <= SECTORS);
                    match alive(held[disk]) {
                        Err(code) => prop_assert_eq!(found, Err(code)),
                        Ok(_) if !fits => prop_assert_eq!(found, Err(VixError::INVALID_ARG)),
                        Ok(_) => {
                            // What is not listed must be zero.
                            let runs = found.expect("by the rules");
                            for sector in start..start + count {
                                let listed = runs.iter().any(|(from, length)| {
                                    (*from..from + length).contains(&sector)
                                });
                                let bytes = &model[range(sector, 1).expect("inside")];
                                prop_assert!(listed || bytes.iter().all(|byte| *byte == 0));
                            }
                        }
                    }
                }
                Call::Flush { disk } => {
                    prop_assert_eq!(ok(flush(held[disk].0)), alive(held[disk]).map(|_| ()));
                }
            }
        }
        prop_assert_eq!(disconnect(connection), VixError::OK);
        let kept = std::fs::read(folder.path().join("model-flat.vmdk")).expect("there");
        prop_assert_eq!(sha256(&kept), sha256(&model));
    }
}
