//! The suite of the safe API, on every library, under tools that see wrong uses of memory: minutes each, so that CI does
//! without.

use crate::artefacts::Artefacts;
use crate::shell::{cargo, command, root, run, target, works};
use crate::{Result, dist, libraries, test};

/// The tests that make foreign calls.
const SUITE: [&str; 6] = [
    "--test",
    "conformance",
    "--test",
    "backends",
    "--test",
    "operations",
];

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the suite runs on; it starts no examples and no simulator, which would take longer than the rest.
fn build() -> Result<Artefacts> {
    let distribution = target().join("distribution");
    dist::make(&distribution)?;
    Ok(Artefacts {
        examples: target().join("release/examples"),
        simulator: target().join("release/vsphere-sim"),
        distribution,
        libraries: libraries::build()?,
    })
}

/// `cargo xtask sanitize`.
pub(crate) fn run_all() -> Result {
    if !works(command("valgrind").arg("--version")) {
        return Err("valgrind is missing".into());
    }
    let built = build()?;
    let words = ["test", "-p", "vixdisklib", "--all-features"];

    // Leaks are looked for too, at the end of each program. The unit tests include those of libraries that misbehave.
    let mut address = cargo();
    address
        .args(words)
        // Build scripts and macros, which are for the host, stay without it.
        .args(["--target", TARGET])
        .arg("--lib")
        .args(SUITE)
        // The sanitizer is an unstable feature of the compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env(
            "ASAN_OPTIONS",
            "detect_leaks=1:detect_stack_use_after_return=1",
        );
    run(test::set_environment(&mut address, &built))?;

    let suppressions = root().join("tests/c/valgrind.supp");
    // What is possibly lost are maps and counted references, which Rust holds by pointers into the middle of a block.
    let runner = format!(
        "valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --suppressions={}",
        suppressions.display()
    );
    let mut valgrind = cargo();
    valgrind
        .args(words)
        .args(SUITE)
        .args(["--", "--test-threads=2"])
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    run(test::set_environment(&mut valgrind, &built))
}
