//! What CI runs, in the order in which it is cheapest to fail.

use crate::shell::{cargo, run};
use crate::{Result, bindings, checks, libraries, outside, peers, symbols, test};

/// The feature sets of the published crates, besides the defaults and everything.
const FEATURE_SETS: &[(&str, &[&str])] = &[
    ("vixdisklib", &["--no-default-features"]),
    (
        "vixdisklib",
        &["--no-default-features", "--features", "loader"],
    ),
    (
        "vixdisklib",
        &["--no-default-features", "--features", "embedded"],
    ),
    (
        "vixdisklib",
        &["--no-default-features", "--features", "loader,nbd"],
    ),
    ("vixdisklib-sys", &["--no-default-features"]),
    ("vixmntapi-sys", &["--no-default-features"]),
];

/// `cargo xtask ci`.
pub(crate) fn run_everything() -> Result {
    peers::provide()?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    checks::run()?;
    bindings::run(&["--check".to_owned()])?;
    lint()?;
    test::run(&[])?;
    outside::run_everywhere()?;
    symbols::run(&[libraries::rule_check().to_string_lossy().into_owned()])?;
    let docs = [
        "doc",
        "--workspace",
        "--no-deps",
        "--all-features",
        "--document-private-items",
    ];
    run(cargo().args(docs).env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn lint() -> Result {
    let deny = ["--", "-D", "warnings"];
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--all-features"])
        .args(deny))?;
    FEATURE_SETS.iter().try_for_each(|(package, features)| {
        run(cargo()
            .args(["clippy", "-p", package])
            .args(*features)
            .args(deny))
    })
}
