//! The table of what was measured, and of what was claimed.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Options;
use super::claims::{Claim, Quantity};
use super::measure::{Measured, Turn};
use crate::Result;
use crate::bench::spread::Spread;
use crate::shell::command;

/// MiB of anonymous memory: after the first byte, and at most during any work.
const MEMORY_AT_REST: (f64, f64) = (16.0, 8.0);
const MEMORY_UNDER_LOAD: (f64, f64) = (64.0, 32.0);

impl Measured {
    /// Theirs by ours: over 1 we are better.
    fn ratio(&self, claim: &Claim) -> f64 {
        self.ratio_to(claim, &self.turns[0])
    }

    /// What the ratio would be if ours took no time at all, where that was measured: the rest is the client's own.
    fn ceiling(&self, claim: &Claim) -> Option<f64> {
        self.contest.ceiling.as_ref()?;
        let turns = self.turns.last()?;
        (claim.quantity == Quantity::Time).then(|| self.ratio_to(claim, turns))
    }

    /// Theirs by those turns.
    fn ratio_to(&self, claim: &Claim, ours: &[Turn]) -> f64 {
        let which = |turn: &Turn| match claim.quantity {
            Quantity::Time => turn.time,
            Quantity::Processor => turn.processor,
        };
        // The clocks of time and of processors are no finer than these.
        let finest = match claim.quantity {
            Quantity::Time => 0.001,
            Quantity::Processor => 0.01,
        };
        let ours = Spread::of(ours, which).median;
        let theirs = Spread::of(&self.turns[claim.peer + 1], which).median;
        theirs.max(finest) / ours.max(finest)
    }
}

/// What the numbers depend on.
pub(super) fn preface(options: &Options) -> Result<String> {
    let version = |program: &str| -> Result<String> {
        let output = command(program).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    let mut versions = Vec::new();
    for program in ["qemu-nbd", "nbdkit", "nbdcopy", "fio"] {
        versions.push(version(program)?);
    }
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    Ok(format!(
        "{}; {cores} cores, load at the end {load}; disks of {} MiB, half holes; {} rounds in changing order after one \
         that does not count; medians (least-largest). Ratios are theirs by ours: over 1 we are better.",
        versions.join("; "),
        options.size >> 20,
        options.rounds
    ))
}

/// For a terminal.
pub(super) fn text(preface: &str, measured: &[Measured]) -> String {
    // Writing to a string cannot fail, so results of `writeln!` are dropped.
    let mut text = format!("{preface}\n\n");
    for contest in measured {
        let _ = writeln!(text, "{}", contest.contest.name);
        for (server, turns) in contest.contest.servers().zip(&contest.turns) {
            let time = Spread::of(turns, |turn| turn.time);
            let speed = contest.contest.bytes.map_or(String::new(), |bytes| {
                let mebibytes = u32::try_from(bytes >> 20).map_or(f64::NAN, f64::from);
                format!(", {:.0} MiB/s", mebibytes / time.median)
            });
            let _ = writeln!(
                text,
                "    {:44} {:.3} s ({:.3}-{:.3}{speed}), server's processor {:.2} s, memory {:.0} MiB",
                server.name(),
                time.median,
                time.least,
                time.largest,
                Spread::of(turns, |turn| turn.processor).median,
                Spread::of(turns, |turn| turn.memory).largest,
            );
        }
        let peers: Vec<String> = contest
            .contest
            .peers
            .iter()
            .map(|peer| peer.name())
            .collect();
        for claim in &contest.contest.claims {
            let ratio = contest.ratio(claim);
            let quantity = match claim.quantity {
                Quantity::Time => "time",
                Quantity::Processor => "processor",
            };
            let _ = writeln!(
                text,
                "  row {:2} {quantity:9} {ratio:6.2}x of {:30} must {:.2} stretch {:.2}: {}{}",
                claim.row,
                peers[claim.peer],
                claim.must,
                claim.stretch,
                claim.verdict(ratio),
                contest
                    .ceiling(claim)
                    .map_or(String::new(), |ceiling| format!(
                        "; the client alone allows {ceiling:.2}x"
                    ))
            );
        }
    }
    text + &memory(measured)
}

/// Row 21: what ours takes of memory.
fn memory(measured: &[Measured]) -> String {
    let of = |first: bool| {
        let wanted = measured
            .iter()
            .filter(|one| one.contest.is_start() == first);
        let turns = wanted.flat_map(|one| &one.turns[0]);
        turns.map(|turn| turn.memory).fold(0.0, f64::max)
    };
    let line = |when: &str, memory: f64, (must, stretch): (f64, f64)| {
        let verdict = match memory {
            memory if memory <= stretch => "stretch met",
            memory if memory <= must => "met",
            _ => "MISSED",
        };
        format!(
            "  row 21 memory {when}: {memory:.1} MiB, must {must:.0} stretch {stretch:.0}: {verdict}\n"
        )
    };
    let mut text = String::new();
    if measured.iter().any(|one| one.contest.is_start()) {
        text += &line("at rest", of(true), MEMORY_AT_REST);
    }
    text + &line("during any of the above", of(false), MEMORY_UNDER_LOAD)
}

/// The same for programs, with every turn.
pub(super) fn json(preface: &str, measured: &[Measured]) -> Result<String> {
    let contests: Vec<Value> = measured
        .iter()
        .map(|one| {
            let servers: Vec<Value> = one.contest.servers().zip(&one.turns).map(server).collect();
            let claims: Vec<Value> = one
                .contest
                .claims
                .iter()
                .map(|claim| claimed(one, claim))
                .collect();
            json!({"work": one.contest.name, "servers": servers, "claims": claims})
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({"about": preface, "contests": contests}))? + "\n")
}

fn server((server, turns): (&super::server::Server, &Vec<Turn>)) -> Value {
    let turns: Vec<Value> = turns
        .iter()
        .map(|turn| json!({"time": turn.time, "processor": turn.processor, "memory": turn.memory}))
        .collect();
    json!({"name": server.name(), "turns": turns})
}

fn claimed(measured: &Measured, claim: &Claim) -> Value {
    let ratio = measured.ratio(claim);
    json!({
        "row": claim.row,
        "processor": claim.quantity == Quantity::Processor,
        "peer": measured.contest.peers[claim.peer].name(),
        "ratio": ratio,
        "must": claim.must,
        "stretch": claim.stretch,
        "verdict": claim.verdict(ratio),
        "ceiling": measured.ceiling(claim),
    })
}
