//! Runs the fuzz targets, keeps what they find, and counts how long each has run.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::Result;
use crate::shell::{command, root, run, target, works};

const USAGE: &str = "usage: cargo xtask fuzz [TARGET...] [--seconds N]";

/// Seconds for each target if nothing else is asked for.
const USUAL_SECONDS: u64 = 60;

/// Disks of a few tables fit; longer inputs only cost time.
const MAX_INPUT: usize = 128 << 10;

/// The columns of the log of runs.
const COLUMNS: &str = "ended\tsources\ttarget\tseconds\texecutions\tfindings\n";

/// A run of one target.
struct Run {
    /// Identifies the sources that the target is about.
    sources: String,
    target: String,
    seconds: u64,
    executions: u64,
    findings: u64,
}

/// `cargo xtask fuzz [TARGET...] [--seconds N]`: each target in turn, or all of them.
///
/// `VIXDISKLIB_FUZZ` names the folder that keeps corpora, findings and the log of runs (`target/fuzzing` if unset).
pub(crate) fn run_targets(arguments: &[String]) -> Result {
    let (chosen, seconds) = parse(arguments)?;
    let folder = std::env::var_os("VIXDISKLIB_FUZZ")
        .map_or_else(|| target().join("fuzzing"), |folder| root().join(folder));
    let mut build = cargo_fuzz("build");
    if !works(cargo_fuzz("--version").env("CARGO_TERM_COLOR", "never")) {
        return Err("cargo-fuzz is missing: cargo install --locked cargo-fuzz".into());
    }
    let programs = folder.join("programs");
    run(build.arg("--target-dir").arg(&programs))?;
    let mut findings = 0;
    for name in &chosen {
        let run = fuzz(name, seconds, &folder, &programs)?;
        findings += run.findings;
        note(&folder, &run)?;
    }
    print!("{}", summary(&folder, &chosen)?);
    match findings {
        0 => Ok(()),
        _ => Err(format!("{findings} findings, see above").into()),
    }
}

fn parse(arguments: &[String]) -> Result<(Vec<String>, u64)> {
    let known = targets()?;
    let mut chosen = Vec::new();
    let mut seconds = USUAL_SECONDS;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            seconds = arguments.next().ok_or(USAGE)?.parse()?;
        } else if known.contains(argument) {
            chosen.push(argument.clone());
        } else {
            return Err(format!("{USAGE}\ntargets: {}", known.join(" ")).into());
        }
    }
    if chosen.is_empty() {
        chosen = known;
    }
    Ok((chosen, seconds))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = file?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// The fuzzer's instrumentation is an unstable feature: it needs a nightly compiler, or a stable one that is told to
/// behave like one.
fn cargo_fuzz(subcommand: &str) -> Command {
    let mut cargo = command("cargo");
    cargo.env_remove("CARGO").env_remove("CARGO_TARGET_DIR");
    if works(
        command("rustc")
            .arg("--version")
            .env("RUSTUP_TOOLCHAIN", "nightly"),
    ) {
        cargo.env("RUSTUP_TOOLCHAIN", "nightly");
    } else {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.args(["fuzz", subcommand]);
    cargo
}

fn fuzz(name: &str, seconds: u64, folder: &Path, programs: &Path) -> Result<Run> {
    let corpus = folder.join("corpus").join(name);
    let findings = folder.join("findings").join(name);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder)?;
    }
    let log = folder.join(format!("{name}.log"));
    let before = count(&findings)?;
    let start = Instant::now();
    eprintln!("{name}: {seconds} s, output in {}", log.display());
    let mut fuzzer = cargo_fuzz("run");
    fuzzer
        .arg("--target-dir")
        .arg(programs)
        .arg(name)
        .arg(&corpus)
        .arg(root().join("fuzz/seeds").join(name));
    let regressions = root().join("fuzz/regressions").join(name);
    if regressions.is_dir() {
        fuzzer.arg(regressions);
    }
    let status = fuzzer
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_INPUT}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=256"])
        .args([
            "-len_control=0",
            "-entropic=0",
            "-print_final_stats=1",
            "-detect_leaks=0",
        ])
        .stdout(File::create(&log)?)
        .stderr(OpenOptions::new().append(true).open(&log)?)
        .status()?;
    let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let found = count(&findings)?.saturating_sub(before);
    if !status.success() {
        let lines = output.lines().filter(|line| {
            line.contains("panicked at") || line.contains("ERROR:") || line.contains("Test unit")
        });
        lines.for_each(|line| eprintln!("  {line}"));
    }
    Ok(Run {
        sources: revision(name)?,
        target: name.to_owned(),
        seconds: start.elapsed().as_secs(),
        executions: executions(&output).ok_or_else(|| format!("{name} did not run:\n{output}"))?,
        findings: found.max(u64::from(!status.success())),
    })
}

fn count(folder: &Path) -> Result<u64> {
    Ok(u64::try_from(fs::read_dir(folder)?.count())?)
}

/// What the fuzzer says at its end.
fn executions(output: &str) -> Option<u64> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// The sources that a target is about.
fn sources(target: &str) -> &'static str {
    match target {
        "nbd" => "vixdisklib/src/nbd",
        "nfc_soap" => "vsphere-nfc/src/soap",
        "nfc_wire" => "vsphere-nfc/src/wire",
        "nfc_compress" => "vsphere-nfc/src/compress",
        "sim" | "sim_text" => "vsphere-sim/src",
        _ => "vmdk-engine/src",
    }
}

/// The state of the sources that a target is about, as git names it, with a plus if they differ from that.
fn revision(target: &str) -> Result<String> {
    let sources = sources(target);
    let output = command("git")
        .args(["rev-parse", "--short", &format!("HEAD:{sources}")])
        .output()?;
    let clean = works(command("git").args(["diff", "--quiet", "HEAD", "--", sources]));
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if clean { name } else { name + "+" })
}

fn log_of_runs(folder: &Path) -> PathBuf {
    folder.join("runs.tsv")
}

fn note(folder: &Path, run: &Run) -> Result {
    let path = log_of_runs(folder);
    let is_new = !path.exists();
    let mut log = OpenOptions::new().create(true).append(true).open(path)?;
    let ended = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let Run {
        sources,
        target,
        seconds,
        executions,
        findings,
    } = run;
    let line = format!("{ended}\t{sources}\t{target}\t{seconds}\t{executions}\t{findings}\n");
    let header = if is_new { COLUMNS } else { "" };
    Ok(log.write_all(format!("{header}{line}").as_bytes())?)
}

/// What the log says of each target: with its sources as they are now, and in all.
fn summary(folder: &Path, chosen: &[String]) -> Result<String> {
    let log = fs::read_to_string(log_of_runs(folder))?;
    let mut table = format!(
        "{:14} {:>10} {:>14} {:>10} {:>14} {:>9}\n",
        "target", "s (now)", "runs (now)", "s (all)", "runs (all)", "findings"
    );
    for name in chosen {
        let now = revision(name)?;
        let (mut current, mut all, mut findings) = ([0; 2], [0; 2], 0);
        for line in log.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [_, sources, target, seconds, executions, found] = columns[..] else {
                continue;
            };
            let (Ok(seconds), Ok(executions)) = (seconds.parse::<u64>(), executions.parse::<u64>())
            else {
                continue;
            };
            if target != name {
                continue;
            }
            all = [all[0] + seconds, all[1] + executions];
            findings += found.parse::<u64>().unwrap_or(0);
            if sources == now {
                current = [current[0] + seconds, current[1] + executions];
            }
        }
        writeln!(
            table,
            "{name:14} {:>10} {:>14} {:>10} {:>14} {findings:>9}",
            current[0], current[1], all[0], all[1]
        )?;
    }
    Ok(table)
}
