//! The outside programs that the tests talk to.

use std::env;
use std::path::PathBuf;

use crate::shell::{command, in_ci, root, run, works};
use crate::{Result, node, plugin, python, vcsim};

/// A program, how to see that it is there, and the Debian package that brings it.
struct Peer {
    name: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "a C compiler",
        probe: &["cc", "--version"],
        package: "gcc",
    },
    Peer {
        name: "a C++ compiler",
        probe: &["c++", "--version"],
        package: "g++",
    },
    Peer {
        name: "pkg-config",
        probe: &["pkg-config", "--version"],
        package: "pkg-config",
    },
    Peer {
        name: "make",
        probe: &["make", "--version"],
        package: "make",
    },
    Peer {
        name: "Node.js",
        probe: &["node", "--version"],
        package: "nodejs",
    },
    Peer {
        name: "npm",
        probe: &["npm", "--version"],
        package: "npm",
    },
    Peer {
        name: "qemu-img",
        probe: &["qemu-img", "--version"],
        package: "qemu-utils",
    },
    Peer {
        name: "qemu-io",
        probe: &["qemu-io", "--version"],
        package: "qemu-utils",
    },
    Peer {
        name: "nbdcopy and nbdinfo",
        probe: &["nbdcopy", "--version"],
        package: "libnbd-bin",
    },
    Peer {
        name: "libnbd for Python",
        probe: &["/usr/bin/python3", "-c", "import nbd"],
        package: "python3-libnbd",
    },
    Peer {
        name: "libvmdk for Python",
        probe: &["/usr/bin/python3", "-c", "import pyvmdk"],
        package: "python3-libvmdk",
    },
    Peer {
        name: "virtual environments of Python",
        probe: &["python3", "-c", "import venv, ensurepip"],
        package: "python3-venv",
    },
    Peer {
        name: "fio",
        probe: &["fio", "--version"],
        package: "fio",
    },
    Peer {
        name: "nbdkit",
        probe: &["nbdkit", "--version"],
        package: "nbdkit",
    },
    Peer {
        name: "valgrind",
        probe: &["valgrind", "--version"],
        package: "valgrind",
    },
    // They build a simulator of the vSphere API.
    Peer {
        name: "Go",
        probe: &["go", "version"],
        package: "golang-go",
    },
    Peer {
        name: "govmomi for Go",
        probe: &["dpkg", "-s", "golang-github-vmware-govmomi-dev"],
        package: "golang-github-vmware-govmomi-dev",
    },
    // clang checks the Windows layouts; its library makes the bindings.
    Peer {
        name: "clang",
        probe: &["clang", "--version"],
        package: "clang libclang-dev",
    },
];

/// Installs what is missing where that can be done; gives a line for each thing that stays missing.
///
/// Tests that need a missing thing skip themselves; in CI that is an error.
pub(crate) fn provide() -> Result<Vec<String>> {
    let packages: Vec<_> = missing()
        .iter()
        .flat_map(|peer| peer.package.split(' '))
        .collect();
    if !packages.is_empty() && can_install() {
        install(&packages)?;
    }
    let programs = missing().into_iter().map(|peer| {
        let Peer { name, package, .. } = peer;
        format!("{name} (Debian: apt-get install {package})")
    });
    let samples = (!samples().is_dir()).then(|| {
        let folder = samples();
        format!(
            "{} (sample images; VIXDISKLIB_SAMPLES names their folder)",
            folder.display()
        )
    });
    let plugin = plugin::provide()
        .err()
        .map(|error| format!("nbdkit's plug-in for VDDK ({error})"));
    let node = node::provide()
        .err()
        .map(|error| format!("the packages of examples/node ({error})"));
    let vcsim = vcsim::provide()
        .err()
        .map(|error| format!("vcsim ({error})"));
    let python = python::provide()
        .err()
        .map(|error| format!("pyVmomi and FastLZ for Python ({error})"));
    let missing: Vec<_> = programs
        .chain(samples)
        .chain(plugin)
        .chain(node)
        .chain(python)
        .chain(vcsim)
        .collect();
    report(&missing);
    if in_ci() && !missing.is_empty() {
        return Err("nothing may be skipped in CI".into());
    }
    Ok(missing)
}

/// Says what is missing, so that nobody takes a skipped test for one that passed.
pub(crate) fn report(missing: &[String]) {
    for thing in missing {
        eprintln!("MISSING, its tests are SKIPPED: {thing}");
    }
}

/// Where the tests look for disk images of other programs.
fn samples() -> PathBuf {
    env::var_os("VIXDISKLIB_SAMPLES")
        .map_or_else(|| root().join("../shared/samples"), PathBuf::from)
}

fn missing() -> Vec<&'static Peer> {
    let present = |peer: &Peer| {
        let (program, arguments) = peer.probe.split_first().expect("a probe names a program");
        works(command(program).args(arguments))
    };
    PEERS.iter().filter(|peer| !present(peer)).collect()
}

/// Packages are installed only where nobody has to be asked: as root, on Debian.
fn can_install() -> bool {
    let root = command("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    root && works(command("apt-get").arg("--version"))
}

fn install(packages: &[&str]) -> Result {
    let apt = || {
        let mut apt = command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        apt
    };
    run(apt().arg("update"))?;
    run(apt()
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages))
}
