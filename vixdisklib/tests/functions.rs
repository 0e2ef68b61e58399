//! `FUNCTIONS.md`: the table of all C functions, generated from the function table and the aliases in this crate's
//! source. A function that is neither wrapped nor has a reason fails, and so does a table that is out of date; that the
//! items in it exist is checked by rustdoc, as the table is part of the documentation.
//!
//! `VIXDISKLIB_UPDATE=1 cargo test -p vixdisklib --test functions` writes it anew.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use vixdisklib_sys::FnTable;

/// Why a function has no item of its own.
const UNWRAPPED: &[(&str, &str)] = &[
    ("VixDiskLib_Init", SUPERSEDED),
    ("VixDiskLib_Connect", SUPERSEDED),
    (
        "VixDiskLib_AllocateConnectParams",
        "part of [`Library::connect`]",
    ),
    ("VixDiskLib_FreeConnectParams", FREED),
    ("VixDiskLib_FreeErrorText", FREED),
    ("VixDiskLib_FreeInfo", FREED),
    ("VixDiskLib_FreeBlockList", FREED),
];

const SUPERSEDED: &str = "not needed: the function with `Ex` does the same and more";
const FREED: &str = "not needed: results are copied and freed at once, parameters on drop";

const HEAD: &str = "\
# Every function of VixDiskLib, and where it is

Functions without a mark are in every library that this crate takes. Where one marked \\* is missing, the call fails with
[`ErrorKind::Unsupported`] before anything happens, or does without as its documentation says. `VixDiskLibExt_` is our own
extension, which the embedded engine has.

| C function | since VDDK | in Rust |
|---|---|---|
";

#[test]
fn every_function_is_in_the_table() {
    let expected = table(&aliases());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FUNCTIONS.md");
    if env::var_os("VIXDISKLIB_UPDATE").is_some() {
        fs::write(&path, &expected).expect("the table can be written");
    }
    let found = fs::read_to_string(&path).expect("there is a table");
    assert!(
        found == expected,
        "FUNCTIONS.md is out of date: VIXDISKLIB_UPDATE=1 cargo test -p vixdisklib --test functions"
    );
}

#[test]
fn items_are_found_by_their_aliases() {
    let source = r#"
impl Library {
    /// Stops.
    #[doc(alias = "VixDiskLib_Exit")]
    #[must_use]
    pub fn stop(self) -> bool {
        true
    }
}

impl<'a> Reader<'a> {
    #[doc(alias = "VixDiskLib_Read")]
    #[doc(alias = "VixDiskLib_ReadAsync")]
    pub async fn read(&self) {}
}

/// A handle.
#[doc(alias = "VixDiskLib_Close")]
#[derive(Debug)]
pub struct Handle<'a>(Reader<'a>);
"#;
    let expected = [
        ("VixDiskLib_Exit", "Library::stop"),
        ("VixDiskLib_Read", "Reader::read"),
        ("VixDiskLib_ReadAsync", "Reader::read"),
        ("VixDiskLib_Close", "Handle"),
    ];
    let expected = expected.map(|(symbol, item)| (symbol.to_owned(), item.to_owned()));
    assert_eq!(items(source), expected);
}

/// The items that wrap each function, by its name.
fn aliases() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    files.sort();
    for file in files {
        let source = fs::read_to_string(file).expect("source is text");
        for (symbol, item) in items(&source) {
            found.entry(symbol).or_default().push(item);
        }
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Functions, and the items that name them as their alias; in source as rustfmt leaves it.
fn items(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut owner = None;
    let mut waiting: Vec<&str> = Vec::new();
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("impl") {
            let rest = rest.strip_prefix("<'_>").unwrap_or(rest);
            let rest = rest.split_once("> ").map_or(rest, |(_, rest)| rest);
            owner = Some(word(rest.trim_start()));
        } else if line == "}" {
            owner = None;
        }
        let text = line.trim_start();
        if let Some(rest) = text.strip_prefix("#[doc(alias = \"") {
            waiting.push(rest.split('"').next().unwrap_or_default());
            continue;
        }
        if waiting.is_empty() || text.starts_with("#[") || text.starts_with("//") {
            continue;
        }
        let Some(name) = declared(text) else { continue };
        let item = owner.map_or(name.to_owned(), |owner| format!("{owner}::{name}"));
        for symbol in waiting.drain(..) {
            found.push((symbol.to_owned(), item.clone()));
        }
    }
    assert!(waiting.is_empty(), "no public item follows {waiting:?}");
    found
}

/// The name of the public item that a line declares.
fn declared(text: &str) -> Option<&str> {
    let kinds = ["fn ", "async fn ", "struct ", "enum "];
    let rest = text.strip_prefix("pub ")?;
    kinds
        .iter()
        .find_map(|kind| rest.strip_prefix(kind))
        .map(word)
}

fn word(text: &str) -> &str {
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_');
    end.map_or(text, |end| &text[..end])
}

fn table(aliases: &BTreeMap<String, Vec<String>>) -> String {
    for symbol in aliases.keys() {
        let known = FnTable::SYMBOLS.iter().any(|known| known.name == symbol);
        assert!(
            known,
            "an item has the alias {symbol}, which is no function"
        );
    }
    let mut text = HEAD.to_owned();
    for symbol in FnTable::SYMBOLS {
        let reason = UNWRAPPED.iter().find(|(name, _)| *name == symbol.name);
        let place = match (aliases.get(symbol.name), reason) {
            (Some(items), None) => {
                let links: Vec<_> = items.iter().map(|item| format!("[`{item}`]")).collect();
                links.join(", ")
            }
            (None, Some((_, reason))) => (*reason).to_owned(),
            (None, None) => panic!(
                "{} is nowhere: give what wraps it #[doc(alias)], or a reason in UNWRAPPED",
                symbol.name
            ),
            (Some(_), Some(_)) => panic!("{} is wrapped: remove it from UNWRAPPED", symbol.name),
        };
        let mark = if symbol.required { "" } else { " \\*" };
        let since = match symbol.since.strip_prefix("vixdisklib ") {
            Some(_) => "–",
            None => symbol.since,
        };
        text += &format!("| `{}`{mark} | {since} | {place} |\n", symbol.name);
    }
    text
}
