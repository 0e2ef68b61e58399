//! Speed, held against QEMU's programs in the same run on the same machine.
//!
//! Both sides are programs that are started for each piece of work, so that both pay for that; they take turns in
//! alternating order, and the medians are compared. A ratio over 1 means that we are faster. The clock on the wall is
//! what counts for users, the processor time is what other work on the machine disturbs less: both are printed.

pub(crate) mod images;
mod report;
mod rows;
pub(crate) mod spread;
pub(crate) mod timing;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{cargo, command, root, run, target, works};

use self::report::Measured;
use self::rows::Row;

const USAGE: &str = "usage: cargo xtask bench [--rounds N] [--only TEXT] [--folder DIR] \
[--markdown FILE] [--json FILE]
The images take up to 5 GiB in the folder (target/bench), and are removed at the end.";

/// Turns of each side.
const ROUNDS: usize = 5;

struct Options {
    rounds: usize,
    only: String,
    folder: PathBuf,
    markdown: Option<PathBuf>,
    json: Option<PathBuf>,
}

/// The programs that are compared.
struct Programs {
    ours: PathBuf,
    serve_nbd: PathBuf,
}

/// `cargo xtask bench`.
pub(crate) fn run_all(arguments: &[String]) -> Result {
    let options = parse(arguments)?;
    for peer in ["qemu-img", "qemu-nbd", "nbdcopy", "bash"] {
        if !works(command(peer).arg("--version")) {
            return Err(format!("{peer} is missing; the benchmark compares with it").into());
        }
    }
    let programs = build()?;
    fs::create_dir_all(&options.folder)?;
    let measured = measure(&options, &programs);
    fs::remove_dir_all(&options.folder)?;
    let measured = measured?;
    let preface = report::preface(options.rounds)?;
    print!("\n{}", report::text(&preface, &measured));
    if let Some(file) = &options.markdown {
        fs::write(file, report::markdown(&preface, &measured))?;
    }
    if let Some(file) = &options.json {
        fs::write(file, report::json(&preface, &measured)?)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: ROUNDS,
        only: String::new(),
        folder: target().join("bench"),
        markdown: None,
        json: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--only" => options.only = value()?.clone(),
            "--folder" => options.folder = root().join(value()?).join("vixdisklib-bench"),
            "--markdown" => options.markdown = Some(root().join(value()?)),
            "--json" => options.json = Some(root().join(value()?)),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn build() -> Result<Programs> {
    run(cargo().args([
        "build",
        "--release",
        "-p",
        "vmdk-engine",
        "--example",
        "measure",
    ]))?;
    let serve = ["-p", "vixdisklib-examples", "--example", "serve_nbd"];
    run(cargo().args(["build", "--release"]).args(serve))?;
    let examples = target().join("release/examples");
    Ok(Programs {
        ours: examples.join("measure"),
        serve_nbd: examples.join("serve_nbd"),
    })
}

fn measure(options: &Options, programs: &Programs) -> Result<Vec<Measured>> {
    let mut rows = rows::all(&options.folder, programs);
    rows.retain(|row| row.name.contains(&options.only));
    images::make(&options.folder, programs, &rows)?;
    rows.iter()
        .map(|row| {
            eprintln!("{} ...", row.name);
            take_turns(row, options.rounds, &options.folder)
        })
        .collect()
}

/// Lets both sides work in turn, each first once without counting it.
fn take_turns(row: &Row, rounds: usize, folder: &Path) -> Result<Measured> {
    let mut measured = Measured::new(row);
    for round in 0..=rounds {
        let mut turns = [(&row.ours, true), (&row.theirs, false)];
        if round % 2 == 1 {
            turns.reverse();
        }
        for (work, is_ours) in turns {
            work.prepare()?;
            if work.writes {
                run_quietly(command("sync").arg("-f").arg(folder))?;
            }
            let time = timing::of(&work.command)?;
            if round > 0 {
                let side = if is_ours {
                    &mut measured.ours
                } else {
                    &mut measured.theirs
                };
                side.push(time);
            }
        }
    }
    row.ours.clean_up();
    row.theirs.clean_up();
    Ok(measured)
}

/// Runs a command that must succeed, without its output.
pub(crate) fn run_quietly(command: &mut std::process::Command) -> Result {
    if works(command) {
        Ok(())
    } else {
        Err(format!("{command:?} failed").into())
    }
}
