//! The table of ratios.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rows::Row;
use super::spread::Spread;
use super::timing::Time;
use crate::Result;
use crate::shell::command;

/// What a row gave.
pub(super) struct Measured {
    name: String,
    peer: &'static str,
    target: f64,
    bytes: Option<u64>,
    pub(super) ours: Vec<Time>,
    pub(super) theirs: Vec<Time>,
}

impl Measured {
    pub(super) fn new(row: &Row) -> Self {
        Self {
            name: row.name.clone(),
            peer: row.peer,
            target: row.target,
            bytes: row.bytes,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    fn wall(&self) -> [Spread; 2] {
        [&self.ours, &self.theirs].map(|times| Spread::of(times, |time| time.wall))
    }

    fn cpu(&self) -> [Spread; 2] {
        [&self.ours, &self.theirs].map(|times| Spread::of(times, |time| time.cpu))
    }

    fn ratio([ours, theirs]: [Spread; 2]) -> f64 {
        // Neither clock is finer than this.
        theirs.median.max(0.001) / ours.median.max(0.001)
    }

    fn verdict(&self) -> &'static str {
        if Self::ratio(self.wall()) >= self.target {
            "met"
        } else {
            "MISSED"
        }
    }

    /// MiB in a second, where that means something.
    fn speed(&self, spread: Spread) -> Option<f64> {
        let mebibytes = u32::try_from(self.bytes? >> 20).ok()?;
        Some(f64::from(mebibytes) / spread.median)
    }

    fn cells(&self) -> [String; 8] {
        let [ours, theirs] = self.wall();
        let time = |spread: Spread| {
            let Spread {
                least,
                median,
                largest,
            } = spread;
            let speed = self.speed(spread);
            let speed = speed.map_or(String::new(), |speed| format!(", {speed:.0} MiB/s"));
            format!("{median:.3} s ({least:.3}-{largest:.3}{speed})")
        };
        [
            self.name.clone(),
            self.peer.to_owned(),
            time(ours),
            time(theirs),
            format!("{:.2}", Self::ratio(self.wall())),
            format!("{:.2}", Self::ratio(self.cpu())),
            format!("{:.1}", self.target),
            self.verdict().to_owned(),
        ]
    }
}

const HEADINGS: [&str; 8] = [
    "work",
    "compared with",
    "ours",
    "theirs",
    "ratio",
    "ratio of CPU time",
    "target",
    "verdict",
];

/// What the numbers depend on.
pub(super) fn preface(rounds: usize) -> Result<String> {
    let qemu = command("qemu-img").arg("--version").output()?;
    let qemu = String::from_utf8_lossy(&qemu.stdout).into_owned();
    let qemu = qemu.lines().next().unwrap_or_default().to_owned();
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    Ok(format!(
        "{qemu}; {cores} cores, load at the end {load}; {rounds} rounds in alternating order after one that does not \
         count; medians with (least-largest). Ratios are theirs by ours: over 1 we are faster. CPU time is that of \
         program and kernel, which other work on the machine disturbs less. Both sides use all cores where that helps them. All through the page cache, files that \
         are written are flushed at the end."
    ))
}

/// For a terminal: a row in two lines.
pub(super) fn text(preface: &str, measured: &[Measured]) -> String {
    let mut text = format!("{preface}\n\n");
    for row in measured {
        let [name, peer, ours, theirs, wall, cpu, target, verdict] = row.cells();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:48} {wall:>6}x (CPU {cpu:>6}x), target {target}: {verdict}\n    {ours} against {theirs} of {peer}"
        );
    }
    text
}

/// The same as a Markdown table.
pub(super) fn markdown(preface: &str, measured: &[Measured]) -> String {
    let line = |cells: [String; 8]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("{preface}\n\n");
    text += &line(HEADINGS.map(str::to_owned));
    text += &line([(); 8].map(|()| "---".to_owned()));
    for row in measured {
        text += &line(row.cells());
    }
    text
}

/// The same for programs, with every single time.
pub(super) fn json(preface: &str, measured: &[Measured]) -> Result<String> {
    let times = |times: &[Time]| -> Vec<Value> {
        times
            .iter()
            .map(|time| json!({"wall": time.wall, "cpu": time.cpu}))
            .collect()
    };
    let rows: Vec<Value> = measured
        .iter()
        .map(|row| {
            json!({
                "work": row.name,
                "peer": row.peer,
                "target": row.target,
                "ratio": Measured::ratio(row.wall()),
                "cpu_ratio": Measured::ratio(row.cpu()),
                "verdict": row.verdict(),
                "ours": times(&row.ours),
                "theirs": times(&row.theirs),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({"about": preface, "rows": rows}))? + "\n")
}
