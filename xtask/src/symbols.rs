//! `cargo xtask symbols LIBRARY`: a built library exports the functions of the headers, all of them and nothing else.
//!
//! The tests of `vixdisklib-sys` hold the function table to the same headers. A Rust `cdylib` exports no other symbol
//! on Linux, so nothing has to be let through.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The headers whose functions the library has, below the root of the workspace.
const HEADERS: [&str; 2] = [
    "vixdisklib-sys/include/vixDiskLib.h",
    "vixdisklib-sys/include/vixDiskLibExt.h",
];

/// Runs the command.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [library] = args else {
        return Err("usage: cargo xtask symbols LIBRARY".into());
    };
    check(Path::new(library))
}

/// Compares one library.
pub(crate) fn check(library: &Path) -> Result<()> {
    let exported = exported(library)?;
    let declared = declared()?;
    let missing = names(declared.difference(&exported));
    let surplus = names(exported.difference(&declared));
    if missing.is_empty() && surplus.is_empty() {
        println!(
            "{}: {} symbols, as declared",
            library.display(),
            exported.len()
        );
        return Ok(());
    }
    Err(format!(
        "{} does not export what the headers declare; missing: {}; not declared: {}",
        library.display(),
        if missing.is_empty() { "none" } else { &missing },
        if surplus.is_empty() { "none" } else { &surplus },
    )
    .into())
}

fn names<'a>(symbols: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = symbols.map(String::as_str).collect();
    names.join(", ")
}

/// The dynamic symbols that the library defines.
fn exported(library: &Path) -> Result<BTreeSet<String>> {
    let explain = |error: &dyn Error| format!("cannot read {}: {error}", library.display());
    let data = fs::read(library).map_err(|error| explain(&error))?;
    let file = ElfFile64::<Endianness>::parse(data.as_slice()).map_err(|error| explain(&error))?;
    let mut names = BTreeSet::new();
    for symbol in file.dynamic_symbols() {
        if symbol.is_definition() && !symbol.is_local() {
            names.insert(symbol.name()?.to_owned());
        }
    }
    Ok(names)
}

/// The functions that the headers declare: lines that begin with a name of the library and an opening parenthesis.
fn declared() -> Result<BTreeSet<String>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for header in HEADERS {
        let text = fs::read_to_string(root.join(header))
            .map_err(|error| format!("cannot read {header}: {error}"))?;
        for (name, _) in text.lines().filter_map(|line| line.split_once('(')) {
            if name.starts_with("VixDiskLib_") || name.starts_with("VixDiskLibExt_") {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}
