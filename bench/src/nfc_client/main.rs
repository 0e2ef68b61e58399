//! A client of virtual disks, local or remote, that does one job and says what it took: `nfc_client JOB...`, see [`USAGE`].
//!
//! It uses the safe API, as a product would; only the measure for encryption stands beside it.

mod encryption;
mod place;
mod transfer;

use std::env;
use std::error::Error;
use std::fs;
use std::time::Duration;

use self::place::Place;
use self::transfer::Direction;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "\
nfc_client create PATH MIB                        makes a local disk, full of data of which half compresses
nfc_client read PATH DEPTH COUNT [KEY=VALUE...]   the first COUNT MiB in order, in requests of 1 MiB
nfc_client write PATH DEPTH COUNT [KEY=VALUE...]  the same, writing, and a flush at the end
nfc_client tls DEPTH COUNT                        the same amount from a server that has nothing to do but encrypt
DEPTH is the number of requests in flight. A remote disk has the keys server, port, nfc-port, user, password-file, thumbprint,
vm and transport, and may have compression. It prints the seconds of the work, those of its processor time, and the most
memory in MiB that it had.";

/// In what `/proc/self/stat` counts processor time on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["create", path, size] => transfer::create(path.as_ref(), size.parse()?),
        ["read", path, depth, count, ref place @ ..] => {
            let disk = Place::parse(path, place)?.open(false)?;
            told(transfer::run(
                disk,
                Direction::Read,
                depth.parse()?,
                count.parse()?,
            )?)
        }
        ["write", path, depth, count, ref place @ ..] => {
            let disk = Place::parse(path, place)?.open(true)?;
            told(transfer::run(
                disk,
                Direction::Write,
                depth.parse()?,
                count.parse()?,
            )?)
        }
        ["tls", depth, count] => told(encryption::run(depth.parse()?, count.parse()?)?),
        _ => Err(USAGE.into()),
    }
}

fn told(time: Duration) -> Result {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is a name, and may have anything in it; it ends with the last bracket.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields
            .get(index)
            .ok_or("a short account of this process")?
            .parse()?)
    };
    let processor = (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND;
    let status = fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let memory = memory.and_then(|text| text.split_whitespace().next());
    let kibibytes: f64 = memory
        .ok_or("the kernel does not tell of memory")?
        .parse()?;
    println!(
        "{:.6} {processor:.2} {:.1}",
        time.as_secs_f64(),
        kibibytes / 1024.0
    );
    Ok(())
}
