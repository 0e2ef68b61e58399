//! Requests of any length that end in any order, fail, are refused, or are given up, against a vector of bytes.

use disk_units::{Sector, SectorCount};
use proptest::prelude::*;
use vixdisklib_sys::VixError;

use super::fake::{Fake, Fate, SECTORS};
use super::{buffer, is_ready, limits, sectors_of};

/// No two requests meet in a region, so that the outcome does not depend on their order.
const REGION: u64 = 32;

#[derive(Clone, Copy, Debug)]
enum End {
    Wait,
    PollAndDrop,
    Drop,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    writes: bool,
    skip: u64,
    count: u64,
    end: End,
}

fn asked() -> impl Strategy<Value = Asked> {
    let end = prop_oneof![
        3 => Just(End::Wait),
        1 => Just(End::PollAndDrop),
        1 => Just(End::Drop)
    ];
    (any::<bool>(), 0_u64..8, 1..=REGION - 8, end).prop_map(|(writes, skip, count, end)| Asked {
        writes,
        skip,
        count,
        end,
    })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Late),
        3 => Just(Fate::Inline),
        1 => Just(Fate::FailLate(VixError::DISK_NOIO)),
        1 => Just(Fate::FailInline(VixError::FILE_ERROR)),
        1 => Just(Fate::Refuse(VixError::OUT_OF_MEMORY)),
    ]
}

fn check(
    requests: &[Asked],
    fates: Vec<Fate>,
    depth: usize,
    seed: u64,
    shared: bool,
) -> Result<(), TestCaseError> {
    let fake = Fake::start(Fate::Late);
    let before = fake.bytes();
    fake.plan(fates);
    fake.complete_by(seed);
    let disk = fake.disk(limits(depth, 8));
    let mut disk = if shared {
        Err(disk.into_shared().expect("a submit thread"))
    } else {
        Ok(disk)
    };
    let futures: Vec<_> = requests
        .iter()
        .enumerate()
        .map(|(at, asked)| {
            let start = Sector::new(at as u64 * REGION + asked.skip);
            let fill = 0xC0 + u8::try_from(at).expect("few");
            let buf = buffer(asked.count, fill);
            match (&mut disk, asked.writes) {
                (Ok(disk), true) => disk.write_async(start, buf),
                (Ok(disk), false) => disk.read_async(start, buf),
                (Err(shared), true) => shared.write_async(start, buf),
                (Err(shared), false) => shared.read_async(start, buf),
            }
        })
        .collect();
    let mut succeeded = Vec::new();
    for ((at, asked), mut future) in requests.iter().enumerate().zip(futures) {
        let first = at as u64 * REGION + asked.skip;
        let mut ok = false;
        match asked.end {
            End::Drop => drop(future),
            End::PollAndDrop => drop(is_ready(&mut future)),
            End::Wait => {
                let (done, buf) = future.wait();
                prop_assert_eq!(buf.sectors(), SectorCount::new(asked.count));
                match done {
                    Ok(()) => {
                        ok = true;
                        let from = usize::try_from(first).expect("small") * 512;
                        if !asked.writes {
                            prop_assert!(buf[..] == before[from..][..buf.len()]);
                        }
                    }
                    Err(error) => {
                        let part = sectors_of(&error);
                        prop_assert!(part.start().get() >= first);
                        prop_assert!(part.end().get() <= first + asked.count);
                        prop_assert!(part.count() <= SectorCount::new(8));
                        prop_assert_eq!((part.start().get() - first) % 8, 0);
                    }
                }
            }
        }
        succeeded.push(ok);
    }
    match disk {
        Ok(disk) => disk.close().expect("closes"),
        Err(shared) => shared.close().expect("closes"),
    }
    // Every sector holds what it held, or what was written to it; the latter where the write succeeded.
    let after = fake.bytes();
    for sector in 0..SECTORS as u64 {
        let at = usize::try_from(sector / REGION).expect("small");
        let from = usize::try_from(sector).expect("small") * 512;
        let (old, new) = (&before[from..][..512], &after[from..][..512]);
        let asked = requests.get(at).filter(|asked| {
            let first = at as u64 * REGION + asked.skip;
            asked.writes && (first..first + asked.count).contains(&sector)
        });
        let written = asked.is_some() && new.iter().all(|byte| usize::from(*byte) == 0xC0 + at);
        prop_assert!(written || old == new, "sector {sector}");
        prop_assert!(
            written || asked.is_none() || !succeeded[at],
            "sector {sector}"
        );
    }
    prop_assert!(fake.most_in_flight() <= depth);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn requests_do_what_was_asked_or_say_that_they_did_not(
        requests in proptest::collection::vec(asked(), 1..=SECTORS / 32),
        fates in proptest::collection::vec(fate(), 0..60),
        depth in 1_usize..6,
        seed in any::<u64>(),
        shared in any::<bool>(),
    ) {
        check(&requests, fates, depth, seed, shared)?;
    }
}
