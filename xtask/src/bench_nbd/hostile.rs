//! What hostile clients cost a good one: its speed among them, by its speed alone.
//!
//! One server with default limits serves all. In each round a good client works alone, then a crowd comes, the good client
//! works again, and the crowd leaves. The crowd is a process of the lowest priority, for elsewhere it would not run on the
//! server's machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use super::Options;
use super::server::{Programs, Server};
use crate::Result;
use crate::shell::command;

/// The row of the table of targets whose disk is read: that of random reads.
pub(super) const ROW: u32 = 9;

/// What a good client's speed among hostile ones must be, by its speed alone.
const MUST: f64 = 0.8;

/// How long a crowd takes until it has all that it can get, and the server until it has forgotten it.
const SETTLE: Duration = Duration::from_millis(700);

/// What the client program calls them, how many there are, and what they do.
const CROWDS: [(&str, u32, &str); 4] = [
    ("greedy", 60, "ask for 32 MiB 64 times, take nothing"),
    ("silent", 300, "connect, say nothing"),
    ("returning", 300, "say nothing, and come again when cut off"),
    ("flood", 100, "send options, and come again when cut off"),
];

/// What the good client does: bytes of a request, requests in flight, requests.
const JOBS: [(u32, u32, u32); 2] = [(4 << 10, 1, 20_000), (64 << 10, 8, 15_000)];

pub(super) fn measure(options: &Options, programs: &Programs) -> Result {
    let (images, _) = super::prepare(options, programs)?;
    let socket = &images.path("socket");
    let mut server = Server::ours(&images.path("sparse.vmdk")).spawn(socket, programs)?;
    server.wait_ready(socket)?;
    for (kind, count, what) in CROWDS {
        println!("{count} clients that {what}");
        for job @ (size, depth, _) in JOBS {
            // The first one does not count.
            good(programs, socket, job)?;
            let work = || -> Result<Vec<[f64; 3]>> {
                let rounds = 0..options.rounds;
                rounds
                    .map(|_| round(programs, socket, kind, count, job))
                    .collect()
            };
            let (rounds, memory) = server.peak_memory(work)?;
            let [alone, among, ratio] = [0, 1, 2].map(|column| {
                let mut numbers: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
                numbers.sort_by(f64::total_cmp);
                numbers
            });
            let median = ratio[ratio.len() / 2];
            println!(
                "    {:2} KiB, {depth} in flight: {:.0} reads/s alone, {:.0} among them: {median:.2} \
                 ({:.2}-{:.2}), must {MUST:.2}: {}; memory {memory:.0} MiB",
                size >> 10,
                alone[alone.len() / 2],
                among[among.len() / 2],
                ratio[0],
                ratio[ratio.len() - 1],
                if median >= MUST { "met" } else { "MISSED" }
            );
        }
    }
    Ok(())
}

/// Reads per second alone and among the crowd, and the one by the other.
fn round(
    programs: &Programs,
    socket: &Path,
    kind: &str,
    count: u32,
    job: (u32, u32, u32),
) -> Result<[f64; 3]> {
    let alone = good(programs, socket, job)?;
    let crowd = Crowd::gather(programs, socket, kind, count)?;
    thread::sleep(SETTLE);
    let among = good(programs, socket, job)?;
    drop(crowd);
    thread::sleep(SETTLE);
    Ok([alone, among, among / alone])
}

/// Reads per second of a good client.
fn good(programs: &Programs, socket: &Path, (size, depth, count): (u32, u32, u32)) -> Result<f64> {
    let mut client = command(&programs.client);
    client.arg(socket).arg("random");
    let output = client
        .args([size, depth, count].map(|number| number.to_string()))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the good client: {}", output.status).into());
    }
    let seconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(f64::from(count) / seconds)
}

/// Hostile clients; they leave when dropped.
struct Crowd(Child);

impl Crowd {
    /// Returns when all have come.
    fn gather(programs: &Programs, socket: &Path, kind: &str, count: u32) -> Result<Self> {
        let mut nice = command("nice");
        nice.args(["-n", "19"]).arg(&programs.client).arg(socket);
        let mut child = nice
            .args(["crowd", kind, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let crowd = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim() {
            "ready" => Ok(crowd),
            _ => Err("the crowd did not come".into()),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
