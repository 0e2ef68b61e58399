//! The speed of our NBD server, held against nbdkit and qemu-nbd over the same data, with the same clients.
//!
//! Every server is started for each of its turns, on a socket of its own, and ended by its process id. Those of one
//! contest take turns in changing order, and medians are compared. Ratios are what counts: over 1 we are better. Where the
//! client takes most of the time, a server that does nothing but answer takes a turn, too, and shows how much.

mod claims;
mod contests;
mod hostile;
mod images;
mod measure;
mod report;
mod server;

use std::fs;
use std::path::PathBuf;

use crate::shell::{cargo, command, root, run, target, works};
use crate::{Result, dist, plugin};

use self::contests::Contest;
use self::images::Images;
use self::measure::Measured;
use self::server::Programs;

const USAGE: &str = "usage: cargo xtask bench-nbd [--rounds N] [--rows NUMBER,NUMBER...] [--size MIB] [--extents N] \
[--folder DIR] [--keep] [--json FILE] [--hostile]
With --hostile it measures instead what hostile clients cost a good one. The rows are those of the table of targets. The images take three times the size in the folder (target/bench-nbd), and
are removed at the end unless --keep is given; those that were kept are used again.";

struct Options {
    rounds: usize,
    /// Rows of the table of targets; all if empty.
    rows: Vec<u32>,
    /// Bytes of the disks, of which half are holes.
    size: u64,
    /// Extents of the disk whose map is long.
    extents: u64,
    folder: PathBuf,
    keep: bool,
    json: Option<PathBuf>,
    /// Among hostile clients, instead of against other servers.
    hostile: bool,
}

/// The row that compares with nbdkit's plug-in for VDDK.
const PLUGIN_ROW: u32 = 2;

impl Options {
    fn wants(&self, row: u32) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }
}

/// `cargo xtask bench-nbd`.
pub(crate) fn run_all(arguments: &[String]) -> Result {
    let mut options = parse(arguments)?;
    if options.hostile {
        options.rows = vec![hostile::ROW];
    }
    for peer in [
        "qemu-img", "qemu-nbd", "nbdkit", "nbdcopy", "nbdinfo", "fio", "bash",
    ] {
        if !works(command(peer).arg("--version")) {
            return Err(format!("{peer} is missing; the benchmark needs it").into());
        }
    }
    let programs = build(&options)?;
    fs::create_dir_all(&options.folder)?;
    let measured = if options.hostile {
        hostile::measure(&options, &programs).map(|()| None)
    } else {
        measure_all(&options, &programs).map(Some)
    };
    if !options.keep {
        fs::remove_dir_all(&options.folder)?;
    }
    let Some(measured) = measured? else {
        return Ok(());
    };
    let preface = report::preface(&options)?;
    print!("\n{}", report::text(&preface, &measured));
    if let Some(file) = &options.json {
        fs::write(file, report::json(&preface, &measured)?)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 5,
        rows: Vec::new(),
        size: 4 << 30,
        extents: 524_288,
        folder: target().join("bench-nbd"),
        keep: false,
        json: None,
        hostile: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--rows" => {
                let rows = value()?.split(',').map(str::parse);
                options.rows = rows.collect::<Result<_, _>>()?;
            }
            "--size" => options.size = value()?.parse::<u64>()?.max(64) << 20,
            "--extents" => options.extents = value()?.parse()?,
            "--folder" => options.folder = root().join(value()?).join("vixdisklib-bench-nbd"),
            "--keep" => options.keep = true,
            "--hostile" => options.hostile = true,
            "--json" => options.json = Some(root().join(value()?)),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn build(options: &Options) -> Result<Programs> {
    let release = |arguments: &[&str]| run(cargo().args(["build", "--release"]).args(arguments));
    release(&["-p", "vixdisklib-examples", "--example", "serve_nbd"])?;
    release(&["-p", "vmdk-engine", "--example", "measure"])?;
    release(&[
        "-p",
        "vixdisklib-bench",
        "--bin",
        "nbd_client",
        "--bin",
        "nbd_answers",
    ])?;
    let plugin = if options.wants(PLUGIN_ROW) {
        plugin::provide().map(|()| plugin::fetched())
    } else {
        Ok(None)
    };
    let plugin = plugin.unwrap_or_else(|error| {
        eprintln!("nbdkit's plug-in for VDDK is left out: {error}");
        None
    });
    let distribution = target().join("distribution");
    if plugin.is_some() {
        dist::make(&distribution)?;
    }
    let built = target().join("release");
    Ok(Programs {
        serve_nbd: built.join("examples/serve_nbd"),
        measure: built.join("examples/measure"),
        client: built.join("nbd_client"),
        answers: built.join("nbd_answers"),
        plugin: plugin.map(|plugin| (plugin, distribution)),
    })
}

fn measure_all(options: &Options, programs: &Programs) -> Result<Vec<Measured>> {
    let (images, contests) = prepare(options, programs)?;
    let measure =
        |contest: Contest| measure::take_turns(contest, options.rounds, programs, &images);
    contests.into_iter().map(measure).collect()
}

/// Makes the images of the wanted contests.
fn prepare(options: &Options, programs: &Programs) -> Result<(Images, Vec<Contest>)> {
    let images = Images::new(&options.folder, options.size, options.extents);
    let mut contests = contests::all(&images, programs);
    contests.retain(|contest| contest.rows().any(|row| options.wants(row)));
    images.make(programs, &contests)?;
    Ok((images, contests))
}
