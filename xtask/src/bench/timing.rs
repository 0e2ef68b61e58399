//! How long a program runs, and how much processor time it takes.

use std::fs;
use std::process::Stdio;

use crate::Result;
use crate::shell::command;

/// In what `/proc/PID/stat` counts processor time on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    /// On the clock.
    pub(crate) wall: f64,
    /// Of all its threads and children, in the program and in the kernel.
    pub(crate) cpu: f64,
}

/// Runs a command line, its output thrown away. The shell's own `time` knows milliseconds of processor time, which the
/// standard library has no way to ask for.
pub(crate) fn of(line: &[String]) -> Result<Time> {
    let output = command("bash")
        .args([
            "-c",
            "TIMEFORMAT='%3R %3U %3S'; time \"$@\" > /dev/null",
            "bash",
        ])
        .args(line)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {}\n{errors}", line.join(" "), output.status).into());
    }
    let numbers: Vec<f64> = errors
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    match numbers[..] {
        [wall, user, system] => Ok(Time {
            wall,
            cpu: user + system,
        }),
        _ => Err(format!("the shell's account of the time is unclear: {errors}").into()),
    }
}

/// Seconds of processor time that a process took so far, in the program and in the kernel.
pub(crate) fn processor(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name, and may have anything in it; it ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields
            .get(index)
            .ok_or("a short account of a process")?
            .parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}
