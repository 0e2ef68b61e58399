//! Programs in C and C++, compiled strictly against our headers, and the tool that watches what they do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artefact;
use crate::client::{command, run};

/// Warnings that would be errors for a careful user.
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// A language that the programs are all written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C11.
    C,
    /// C++17.
    Cxx,
}

impl Language {
    /// The compiler.
    #[must_use]
    pub fn compiler(self) -> &'static str {
        match self {
            Self::C => "cc",
            Self::Cxx => "c++",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Cxx => "c++",
        }
    }

    fn standard(self) -> &'static str {
        match self {
            Self::C => "c11",
            Self::Cxx => "c++17",
        }
    }
}

/// The program in `tests/c` of this name, compiled into `folder`.
#[must_use]
pub fn test_program(folder: &Path, name: &str, language: Language) -> PathBuf {
    let program = folder.join(name);
    let libdir = artefact::libdir();
    run(command(language.compiler())
        .arg(format!("-std={}", language.standard()))
        .args(["-x", language.name()])
        .args(STRICT)
        .args(["-g", "-pthread", "-I"])
        .arg(libdir.join("include"))
        .arg(artefact::repository().join(format!("tests/c/{name}.c")))
        .args(["-x", "none", "-L"])
        .arg(libdir.join("lib64"))
        .arg("-l:libvixDiskLib.so.8")
        .arg(format!("-Wl,-rpath,{}", libdir.join("lib64").display()))
        .arg("-o")
        .arg(&program));
    program
}

/// All programs in `examples/c`, made in `folder` as their users make them, for the library of a distribution.
pub fn examples(folder: &Path, language: Language, distribution: &Path) {
    let variable = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        let mut argument = OsString::from(format!("{name}="));
        argument.push(value.as_ref());
        argument
    };
    run(command("make")
        .args(["--silent", "-j2", "-C"])
        .arg(artefact::repository().join("examples/c"))
        .arg(variable("DISTRIBUTION", &distribution))
        .arg(variable("OUT", &folder))
        .arg(variable("STANDARD", &language.standard()))
        .arg(variable("CFLAGS", &format!("-g {}", STRICT.join(" ")))));
}

/// valgrind, to be given a program: it ends with status 99 after an invalid access, a use of what was not set, or a leak.
#[must_use]
pub fn valgrind() -> Command {
    let mut valgrind = command("valgrind");
    let known = artefact::repository().join("tests/c/valgrind.supp");
    valgrind
        .args([
            "--quiet",
            "--num-callers=8",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect,possible",
        ])
        .arg(format!("--suppressions={}", known.display()));
    valgrind
}
