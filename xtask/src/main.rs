//! The project's own commands; `cargo xtask` lists them.

mod artefacts;
mod bench;
mod bench_nbd;
mod bench_nfc;
mod bench_safe;
mod bindings;
mod checks;
mod ci;
mod dist;
mod fuzz;
mod kill;
mod libraries;
mod linkage;
mod node;
mod outside;
mod peers;
mod plugin;
mod python;
mod sanitize;
mod shell;
mod symbols;
mod test;
mod vcsim;

use std::error::Error;
use std::process::ExitCode;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const HELP: &str = "\
cargo xtask COMMAND

  test [-- ARGUMENTS]   install what the tests need where that is possible, build, run all tests
  peers                 install what the tests need, without running them, and say what stays missing
  ci                    everything that CI runs: format, lints, tests, docs, generated files, symbols
  bench [--rounds N] [--only TEXT] [--folder DIR] [--markdown FILE] [--json FILE]
                        measure speed against QEMU's programs, and print ratios
  bench-safe            measure what the safe API costs, and what requests in flight gain, and print ratios
  bench-nbd [--rounds N] [--rows N,N...] [--size MIB] [--extents N] [--folder DIR] [--keep] [--json FILE]
        [--hostile]     measure our NBD server against nbdkit and qemu-nbd, and print ratios with what is aimed at; or
                        measure what hostile clients cost a good one
  bench-nfc [--rounds N] [--size MIB] [--folder DIR]
                        measure remote disks, near and far, against the same disk opened locally, and print ratios
  fuzz [TARGET...] [--seconds N]
                        run the fuzz targets, each so long (60 s), and keep what they learn
  kill [--runs N]       kill a server under load N times (200), and look at what is left each time
  dist [--rule-check] DIR
                        lay our shared library, or the one that checks rules, out as a VDDK distribution
  dist --verify DIR     clone the project into two folders in DIR, build a distribution in each, and compare
  sanitize              run the safe API's suite under AddressSanitizer and valgrind
  outside               build a program outside the workspace from what would be published, and run it
  libraries             build the libraries that the tests run on, and say where they are
  bindings [--check]    generate the bindings from the headers, or compare
  symbols LIBRARY       compare the exported symbols of a library with the headers";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((command, rest)) => run(command, rest),
        None => Err(HELP.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result {
    match (command, rest) {
        ("test", rest) => test::run(rest),
        ("peers", []) => peers::provide().map(drop),
        ("ci", []) => ci::run_everything(),
        ("bench", rest) => bench::run_all(rest),
        ("bench-nbd", rest) => bench_nbd::run_all(rest),
        ("bench-nfc", rest) => bench_nfc::run_all(rest),
        ("bench-safe", []) => bench_safe::run_all(),
        ("fuzz", rest) => fuzz::run_targets(rest),
        ("kill", rest) => kill::run_many(rest),
        ("dist", [folder]) => dist::make(folder.as_ref()),
        ("dist", [option, folder]) if option == "--verify" => dist::run_twice(folder.as_ref()),
        ("dist", [option, folder]) if option == "--rule-check" => {
            dist::make_rule_check(folder.as_ref())
        }
        ("sanitize", []) => sanitize::run_all(),
        ("outside", []) => outside::run_everywhere(),
        ("libraries", []) => {
            println!("{}", libraries::build()?.display());
            Ok(())
        }
        ("bindings", rest) => bindings::run(rest),
        ("symbols", rest) => symbols::run(rest),
        _ => Err(HELP.into()),
    }
}
