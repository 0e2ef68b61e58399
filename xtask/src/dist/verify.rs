//! `cargo xtask dist --verify DIR`: two builds from two folders are the same, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{cargo, command, root, run};

/// Clones what is committed into two folders below `folder`, builds a distribution in each, and compares all files.
pub(crate) fn run_twice(folder: &Path) -> Result {
    let folder = std::path::absolute(folder)?;
    fs::create_dir_all(&folder)?;
    // Of different lengths, so that a path in a file moves what is behind it.
    let folders = [folder.join("one"), folder.join("the other")];
    if let Some(place) = folders.iter().find(|place| place.exists()) {
        return Err(format!("{} exists already", place.display()).into());
    }
    // The second is a clone of the first, and not of what may have been committed meanwhile.
    build(root(), &folders[0])?;
    build(&folders[0], &folders[1])?;
    let [one, other] = [contents(&folders[0])?, contents(&folders[1])?];
    let mut names: Vec<_> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    let different: Vec<_> = names
        .iter()
        .filter(|name| one.get(**name) != other.get(**name))
        .map(|name| name.display().to_string())
        .collect();
    if !different.is_empty() {
        return Err(format!("two builds differ in {}", different.join(", ")).into());
    }
    println!(
        "two builds in two folders: {} files, all the same",
        names.len()
    );
    Ok(())
}

/// Clones `source` to `place` and builds there. The clones share nothing but cargo's downloads.
fn build(source: &Path, place: &Path) -> Result {
    run(command("git")
        .args(["clone", "--quiet", "--no-hardlinks"])
        .arg(source)
        .arg(place))?;
    run(cargo()
        .current_dir(place)
        .env("CARGO_TARGET_DIR", place.join("target"))
        .args(["xtask", "dist", "distribution"]))
}

/// Every file of the distribution in `place`, links as what they lead to.
fn contents(place: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let distribution = place.join("distribution");
    let mut found = BTreeMap::new();
    let mut folders = vec![distribution.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&distribution)?.to_owned();
                found.insert(name, fs::read(path)?);
            }
        }
    }
    Ok(found)
}
