//! The table of what was measured, and of what was aimed at.

use std::fmt::Write as _;

use super::cases::{Case, DEPTH, Direction, FAR, TRANSPORTS};
use super::{Measured, Options, Turn};
use crate::bench::spread::Spread;

/// How much of the time for requests that go far away is to be hidden by having several in flight.
const HIDDEN: f64 = 0.9;
/// What encrypted disks are to reach of what the TLS library can do.
const OF_ENCRYPTION: f64 = 0.6;

impl Measured {
    fn spread(&self, which: impl Fn(&Turn) -> f64) -> Spread {
        Spread::of(&self.turns, which)
    }

    /// MiB that were moved.
    fn amount(&self) -> f64 {
        number(self.case.count)
    }
}

fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

/// For a terminal.
pub(super) fn text(options: &Options, measured: &[Measured]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    // Writing to a string cannot fail, so results of `writeln!` are dropped.
    let mut text = format!(
        "{cores} cores, load at the end {load}; a disk of {} MiB, half of it compresses; requests of 1 MiB; {} rounds after one that \
         does not count; medians (least-largest)\n\n",
        options.size, options.rounds
    );
    for one in measured {
        let time = one.spread(|turn| turn.time);
        let gibibytes = one.amount() / 1024.0;
        let _ = writeln!(
            text,
            "{:44} {:7.0} MiB/s {:.3} s ({:.3}-{:.3}), processor per GiB: client {:.2} s, server {:.2} s; client's memory \
             {:.0} MiB",
            one.case.name(),
            one.amount() / time.median,
            time.median,
            time.least,
            time.largest,
            one.spread(|turn| turn.client).median / gibibytes,
            one.spread(|turn| turn.server).median / gibibytes,
            one.spread(|turn| turn.memory).largest,
        );
    }
    text.push('\n');
    for direction in [Direction::Read, Direction::Write] {
        for transport in TRANSPORTS {
            claims(&mut text, options.size, measured, direction, transport);
        }
    }
    text
}

fn claims(
    text: &mut String,
    size: u64,
    measured: &[Measured],
    direction: Direction,
    transport: &'static str,
) {
    let time = |case: &Case| {
        let found = measured.iter().find(|one| one.case == *case);
        found.map_or(f64::NAN, |one| one.spread(|turn| turn.time).median)
    };
    let near = time(&Case::remote(direction, transport, 0, size));
    let far = time(&Case::remote(direction, transport, FAR, size));
    let word = direction.word();
    // What waiting for one request after the other would add.
    let waiting = number(size) * f64::from(FAR) / 1000.0;
    let hidden = 1.0 - (far - near) / waiting;
    let _ = writeln!(
        text,
        "{word} over {transport}: depth {DEPTH} hides {:.1} % of {FAR} ms, must {:.0} %: {}",
        hidden * 100.0,
        HIDDEN * 100.0,
        verdict(hidden, HIDDEN)
    );
    let local = time(&Case::local(direction, size));
    let _ = writeln!(
        text,
        "{word} over {transport}: {:.2} of the speed of the same disk opened locally",
        local / near
    );
    if transport == "nbdssl" {
        let ratio = time(&Case::encryption(size)) / near;
        let _ = writeln!(
            text,
            "{word} over {transport}: {ratio:.2} of the speed of TLS from memory, must {OF_ENCRYPTION:.2}: {}",
            verdict(ratio, OF_ENCRYPTION)
        );
    }
}

fn verdict(value: f64, wanted: f64) -> &'static str {
    if value >= wanted { "met" } else { "MISSED" }
}
