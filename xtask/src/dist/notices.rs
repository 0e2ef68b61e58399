//! The licences of a distribution: ours, and those of everything that is linked in.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::shell::{cargo, command, root};

/// The package that becomes the library, and the system that it is built for.
const PACKAGE: &str = "vixdisklib-open-cdylib";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How the names of files begin that a package is to be passed on with.
const TEXTS: [&str; 5] = ["license", "licence", "copyright", "notice", "unlicense"];

/// What the compiler puts in besides packages.
const COMPILER: &str = "\
The library also contains parts of the standard library of Rust (MIT OR Apache-2.0, and the packages that it is made of:
rust-standard-library.html), and the unwinder of GCC (GPL-3.0-or-later WITH GCC-exception-3.1), which the GCC Runtime Library
Exception allows to pass on as part of a program under the program's own licence (GCC-exception-3.1.txt).
";

/// Writes the folder `licences`.
pub(super) fn write(folder: &Path) -> Result {
    let licences = folder.join("licences");
    if licences.exists() {
        fs::remove_dir_all(&licences)?;
    }
    fs::create_dir_all(&licences)?;
    for ours in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(root().join(ours), licences.join(ours))?;
    }
    fs::write(licences.join("THIRD-PARTY.txt"), third_party()?)?;
    let documents = output(command("rustc").args(["--print", "sysroot"]))?;
    let documents = Path::new(documents.trim()).join("share/doc/rust");
    for (from, to) in [
        ("COPYRIGHT-library.html", "rust-standard-library.html"),
        ("licenses/GCC-exception-3.1.txt", "GCC-exception-3.1.txt"),
    ] {
        let from = documents.join(from);
        fs::copy(&from, licences.join(to))
            .map_err(|error| format!("{}, which comes with Rust: {error}", from.display()))?;
    }
    Ok(())
}

/// Every package that is linked in and not ours, with the texts that it comes with.
fn third_party() -> Result<String> {
    let mut text = format!("libvixDiskLib.so contains these packages.\n\n{COMPILER}");
    let linked = linked()?;
    let metadata: Value = serde_json::from_str(&output(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        TARGET,
    ]))?)?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let name = format!("{} v{}", field("name"), field("version"));
        // Ours have no source to be downloaded from.
        if package["source"].is_null() || !linked.contains(&name) {
            continue;
        }
        let licence = field("license");
        if licence.is_empty() {
            return Err(format!("{name} names no licence").into());
        }
        let line = "=".repeat(80);
        write!(
            text,
            "\n{line}\n{name}\n{licence}\n{}\n",
            field("repository")
        )?;
        let sources = Path::new(field("manifest_path"))
            .parent()
            .unwrap_or(Path::new(""));
        for file in texts(sources)? {
            let label = file.file_name().unwrap_or_default().display().to_string();
            let content = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
            write!(text, "\n--- {label}\n\n{}\n", content.trim_end())?;
        }
    }
    Ok(text)
}

/// The packages that are linked in, as `name vVERSION`: no macros, which only run in the compiler.
fn linked() -> Result<BTreeSet<String>> {
    let tree = output(cargo().args([
        "tree",
        "--package",
        PACKAGE,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(tree.lines().map(name).collect())
}

/// The licences and notices of a package, sorted by name.
fn texts(sources: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(sources)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && TEXTS.iter().any(|text| name.starts_with(text)) {
            found.push(entry.path());
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no text of a licence", sources.display()).into());
    }
    found.sort();
    Ok(found)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
