//! The outside programs, each with a time limit so that a server that hangs fails a test instead of stopping it.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Output};

use crate::artefact;
use crate::backend::Backend;
use crate::disk::SECTOR;
use crate::map::{self, Run};

/// Seconds after which a client is killed.
const LIMIT: &str = "150";

/// A command for `program` that is killed when it takes too long; its exit status is then 124 or 137.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT]).arg(program);
    command
}

/// Runs a command that must succeed; gives back its standard output.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that may fail.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// `qemu-img` with these arguments; its standard output.
pub fn qemu_img<I, S>(arguments: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run(command("qemu-img").args(arguments))
}

/// `qemu-io` with these commands on a disk in `format`; its standard output.
///
/// It exits with success when a command fails, so what it prints is looked at as well.
pub fn qemu_io(format: &str, disk: impl AsRef<OsStr>, commands: &[String]) -> String {
    let mut program = command("qemu-io");
    program.args(["-f", format]);
    for command in commands {
        program.args(["-c", command]);
    }
    let printed = run(program.arg(disk));
    let failed = ["failed", "error", "Error", "Invalid", "invalid"];
    assert!(
        !failed.iter().any(|word| printed.contains(word)),
        "qemu-io: {printed}"
    );
    printed
}

/// Copies a whole export into a file, which is sparse where the export has holes.
pub fn nbdcopy(uri: &str, file: &Path) {
    run(command("nbdcopy").arg(uri).arg(file));
}

/// The whole content of a VMDK, as QEMU reads it, in a raw file, which is sparse where there are zeroes.
pub fn convert_to_raw(disk: &Path, raw: &Path) {
    let arguments: [&OsStr; 7] = [
        "convert".as_ref(),
        "-f".as_ref(),
        "vmdk".as_ref(),
        "-O".as_ref(),
        "raw".as_ref(),
        disk.as_ref(),
        raw.as_ref(),
    ];
    qemu_img(arguments);
}

/// Whether two raw files hold the same bytes. Holes cost nothing, so this is the way to compare large disks.
#[must_use]
pub fn same_content(left: &Path, right: &Path) -> bool {
    let length = |path: &Path| path.metadata().expect("the file is there").len();
    if length(left) != length(right) {
        eprintln!("{} bytes and {} bytes", length(left), length(right));
        return false;
    }
    let mut compare = command("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "raw"]);
    let output = output(compare.arg(left).arg(right));
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            false
        }
        _ => panic!(
            "qemu-img compare: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Whether `qemu-img check` finds nothing wrong with a VMDK.
#[must_use]
pub fn checks_clean(disk: &Path) -> bool {
    let mut check = command("qemu-img");
    let output = output(check.args(["check", "-f", "vmdk"]).arg(disk));
    let clean = output.status.success();
    if !clean {
        eprintln!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    clean
}

/// What `dump_extents --json` says of a disk in chunks of `chunk` sectors, checked to cover the disk.
#[must_use]
pub fn dump(disk: &Path, backend: &Backend, chunk: u64) -> Vec<Run> {
    let mut program = command(artefact::program("dump_extents"));
    program
        .args(backend.arguments())
        .args(["--json", "--chunk", &chunk.to_string()]);
    let (capacity, said, runs) = map::of_dump(&run(program.arg(disk)));
    assert_eq!(said, chunk * SECTOR);
    map::assert_covers(&runs, capacity);
    runs
}

/// What `qemu-img map` says of a VMDK (`vmdk`) or of an export (`raw`).
#[must_use]
pub fn qemu_map(format: &str, disk: impl AsRef<OsStr>) -> Vec<Run> {
    let arguments = crate::arguments!["map", "--output=json", "-f", format, disk];
    map::of_qemu(&qemu_img(arguments))
}

/// Arguments of mixed types, as `OsString`s.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        vec![$($crate::client::argument(&$argument)),*]
    };
}

/// One argument for [`arguments!`].
pub fn argument(value: impl AsRef<OsStr>) -> OsString {
    value.as_ref().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::need;

    #[test]
    fn one_byte_makes_a_difference_and_a_hole_does_not() {
        if !need::have(&["qemu-img"]) {
            return;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let (left, right) = (folder.path().join("left"), folder.path().join("right"));
        let files = [&left, &right].map(|path| File::create(path).expect("there is room"));
        for file in &files {
            file.set_len(1 << 20).expect("there is room");
            file.write_all_at(&[7; 5000], 300_000)
                .expect("there is room");
        }
        files[1]
            .write_all_at(&[0; 65_536], 0)
            .expect("there is room");
        assert!(same_content(&left, &right));
        files[1]
            .write_all_at(&[1], (1 << 20) - 1)
            .expect("there is room");
        assert!(!same_content(&left, &right));
        files[1].set_len((1 << 20) - 1).expect("there is room");
        assert!(
            !same_content(&left, &right),
            "the byte is gone, but so is the length"
        );
        files[1].set_len(1 << 20).expect("there is room");
        assert!(same_content(&left, &right));
    }
}
