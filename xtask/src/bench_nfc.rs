//! The speed of remote disks: from the simulator over loopback, near and far away, held against the same disk opened
//! locally and against what the TLS library can do at all.
//!
//! Every turn has a simulator and a client of its own. Turns go round by round, so that what disturbs the machine
//! disturbs all of them, and medians are compared.

mod cases;
mod host;
mod report;

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::shell::{cargo, command, root, run, target};

use self::cases::{Case, Kind};
use self::host::Host;

const USAGE: &str = "usage: cargo xtask bench-nfc [--rounds N] [--size MIB] [--folder DIR]
The disk takes its size in the folder (target/bench-nfc), and is removed at the end.";

struct Options {
    rounds: usize,
    /// MiB of the disk.
    size: u64,
    folder: PathBuf,
}

/// What one turn took.
#[derive(Clone, Copy)]
struct Turn {
    /// Seconds on the clock.
    time: f64,
    /// Seconds of the client's processor time, and of the server's.
    client: f64,
    server: f64,
    /// The most MiB of memory that the client had.
    memory: f64,
}

/// A case and its turns.
struct Measured {
    case: Case,
    turns: Vec<Turn>,
}

/// `cargo xtask bench-nfc`.
pub(crate) fn run_all(arguments: &[String]) -> Result {
    let options = parse(arguments)?;
    run(cargo().args([
        "build",
        "--release",
        "-p",
        "vixdisklib-bench",
        "--bin",
        "nfc_client",
    ]))?;
    run(cargo().args([
        "build",
        "--release",
        "-p",
        "vsphere-sim",
        "--bin",
        "vsphere-sim",
    ]))?;
    fs::create_dir_all(&options.folder)?;
    let measured = measure(&options);
    fs::remove_dir_all(&options.folder)?;
    print!("\n{}", report::text(&options, &measured?));
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 3,
        size: 512,
        folder: target().join("bench-nfc"),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--size" => options.size = value()?.parse::<u64>()?.max(64),
            "--folder" => options.folder = root().join(value()?).join("vixdisklib-bench-nfc"),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<Vec<Measured>> {
    let disk = options.folder.join("disk.vmdk");
    run(command(client())
        .arg("create")
        .arg(&disk)
        .arg(options.size.to_string()))?;
    let mut measured: Vec<Measured> = cases::all(options.size)
        .into_iter()
        .map(|case| Measured {
            case,
            turns: Vec::new(),
        })
        .collect();
    // The first round does not count.
    for round in 0..=options.rounds {
        for one in &mut measured {
            eprintln!("round {round}: {} ...", one.case.name());
            let turn = take(&one.case, options)
                .map_err(|error| format!("{}: {error}", one.case.name()))?;
            if round > 0 {
                one.turns.push(turn);
            }
        }
    }
    Ok(measured)
}

fn client() -> PathBuf {
    target().join("release/nfc_client")
}

fn take(case: &Case, options: &Options) -> Result<Turn> {
    let mut job = command(client());
    let (depth, count) = (case.depth.to_string(), case.count.to_string());
    let host = match &case.kind {
        Kind::Encryption => {
            job.args(["tls", &depth, &count]);
            None
        }
        Kind::Local => {
            job.arg(case.direction.word())
                .arg(options.folder.join("disk.vmdk"))
                .args([&depth, &count]);
            None
        }
        Kind::Remote {
            transport,
            compression,
            latency,
        } => {
            let host = Host::start(&options.folder, *latency)?;
            job.args([case.direction.word(), host::DISK, &depth, &count]);
            job.args(host.keys()).arg(format!("transport={transport}"));
            job.args(compression.map(|name| format!("compression={name}")));
            Some(host)
        }
    };
    let before = host.as_ref().map_or(Ok(0.0), Host::processor)?;
    let output = job.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    let after = host.as_ref().map_or(Ok(0.0), Host::processor)?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [time, client, memory] = numbers[..] else {
        return Err(format!("an unclear account: {text}").into());
    };
    Ok(Turn {
        time,
        client,
        server: after - before,
        memory,
    })
}
