//! The distribution: one library for each major version of VDDK, and what programs are built with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::artefact;
use conformance::client::{command, output, run};
use conformance::disk::{Kind, SECTOR, raw_with_data};
use conformance::need;

/// The numbers in the names, and the releases behind them.
const RELEASES: [(u32, &str); 4] = [(6, "6.7.0"), (7, "7.0.3"), (8, "8.0.3"), (9, "9.1.0.0")];

const CAPACITY: u64 = (1 << 20) + SECTOR;

fn lib64() -> PathBuf {
    artefact::libdir().join("lib64")
}

fn soname(major: u32) -> String {
    format!("libvixDiskLib.so.{major}")
}

/// `tests/c/release.c` for the library with this number; `longer` programs know the members of VDDK 7.0.
fn program(folder: &Path, major: u32, longer: bool) -> PathBuf {
    let program = folder.join(format!("release-{major}-{longer}"));
    let mut compiler = strict("cc", &["-std=c11"]);
    if longer {
        compiler.arg("-DWITH_SECTOR_SIZES");
    }
    run(compiler
        .arg("-I")
        .arg(artefact::libdir().join("include"))
        .arg(artefact::repository().join("tests/c/release.c"))
        .arg(format!("-L{}", lib64().display()))
        .arg(format!("-l:{}", soname(major)))
        .arg(format!("-Wl,-rpath,{}", lib64().display()))
        .arg("-o")
        .arg(&program));
    program
}

fn strict(compiler: &str, language: &[&str]) -> Command {
    let mut command = command(compiler);
    command
        .args(language)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    command
}

fn disk(folder: &Path) -> PathBuf {
    let raw = raw_with_data(folder, CAPACITY, 1, 1);
    Kind::ALL[0].convert(folder, &raw)
}

#[test]
fn its_folder_of_libraries_has_nothing_else() {
    let mut expected = BTreeSet::from(["libvixDiskLib.so".to_owned()]);
    for (major, release) in RELEASES {
        expected.insert(soname(major));
        expected.insert(format!("libvixDiskLib.so.{release}"));
        let real = lib64().join(soname(major)).canonicalize().expect("a link");
        assert!(real.ends_with(format!("libvixDiskLib.so.{release}")));
    }
    let entries = fs::read_dir(lib64()).expect("a folder");
    let found: BTreeSet<_> = entries
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .collect();
    assert_eq!(found, expected);
}

/// Every library exports the functions of the two headers and nothing else, and needs the C library alone.
#[test]
fn each_library_has_its_name_every_function_and_no_other_need() {
    if !need::have(&["readelf", "nm"]) {
        return;
    }
    let mut declared = BTreeSet::new();
    for header in ["vixDiskLib.h", "vixDiskLibExt.h"] {
        let path = artefact::libdir().join("include").join(header);
        let text = fs::read_to_string(path).expect("the headers are laid out");
        let names = text
            .lines()
            .filter_map(|line| Some(line.split_once('(')?.0));
        declared.extend(
            names
                .filter(|name| {
                    name.starts_with("VixDiskLib_") || name.starts_with("VixDiskLibExt_")
                })
                .map(str::to_owned),
        );
    }
    assert!(declared.len() > 40, "the headers are not understood");
    for (major, _) in RELEASES {
        let library = lib64().join(soname(major));
        let symbols = run(command("nm").args(["-D", "--defined-only"]).arg(&library));
        let exported: BTreeSet<_> = symbols
            .lines()
            .filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned()))
            .collect();
        assert_eq!(exported, declared, "{major}");

        let dynamic = run(command("readelf").arg("-dW").arg(&library));
        let named = |kind: &str| -> Vec<&str> {
            let lines = dynamic.lines().filter(|line| line.contains(kind));
            lines
                .filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']')))
                .collect()
        };
        assert_eq!(named("(SONAME)"), [soname(major)]);
        let needed = named("(NEEDED)");
        assert!(needed.contains(&"libc.so.6"), "{dynamic}");
        let foreign = |name: &&&str| !["libc.so.6", "ld-linux-x86-64.so.2"].contains(name);
        assert_eq!(needed.iter().find(foreign), None, "{dynamic}");
    }
}

/// A program that asks for 6.5, as nbdkit does, gets as much of `VixDiskLibInfo` as the number in the name says.
#[test]
fn a_program_gets_the_structures_of_the_number_that_it_was_linked_with() {
    if !need::have(&["cc", "qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = disk(folder.path());
    for (major, _) in RELEASES {
        let longer = major >= 7;
        let program = program(folder.path(), major, longer);
        let printed = run(command(&program)
            .args([&major.to_string(), "6", "5"])
            .arg(&disk));
        let has = |line: &str| printed.lines().any(|found| found == line);
        assert!(has(&format!("capacity {}", CAPACITY / SECTOR)), "{printed}");
        assert_eq!(has("sector sizes 512 512"), longer, "{printed}");
        assert!(
            printed.contains(&format!(" as VDDK {major}, API version 6.5")),
            "{printed}"
        );
        assert!(
            printed.contains("warn VixDiskLib_Open: /no/such/disk.vmdk"),
            "{printed}"
        );
        let usable = printed
            .lines()
            .find_map(|line| line.strip_prefix("usable "));
        let usable: usize = usable.expect("printed").parse().expect("a number");
        assert_eq!(usable >= 64, longer, "{major}: {usable}");

        // Whoever asks for 7.0 counts on the longer structures.
        let answer = output(
            command(&program)
                .args([&major.to_string(), "7", "0"])
                .arg(&disk),
        );
        assert_eq!(answer.status.success(), longer, "{major}: {answer:?}");
        let printed = String::from_utf8_lossy(&answer.stdout);
        assert_eq!(
            printed.contains("InitEx failed with 6\n"),
            !longer,
            "{printed}"
        );
        assert_eq!(
            printed.contains("as VDDK 6, the library understands 6.0 to 6.x"),
            !longer,
            "{printed}"
        );
    }
}

#[test]
fn the_configuration_file_says_how_much_is_logged() {
    if !need::have(&["cc", "qemu-img"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = disk(folder.path());
    let program = program(folder.path(), 8, true);
    let configuration = folder.path().join("vddk.conf");
    let logged = |text: Option<&str>| -> Vec<String> {
        if let Some(text) = text {
            fs::write(&configuration, text).expect("there is room");
        }
        let mut command = command(&program);
        let printed = run(command.args(["8", "8", "0"]).arg(&disk).arg(&configuration));
        let lines = printed.lines();
        lines
            .filter(|line| line.starts_with("log ") || line.starts_with("warn "))
            .map(str::to_owned)
            .collect()
    };
    let begins =
        |line: &str, with: &str| assert!(line.starts_with(with), "{line:?} begins with {with:?}");

    let lines = logged(None);
    assert_eq!(lines.len(), 3, "{lines:?}");
    begins(&lines[0], "log vixdisklib-open ");
    begins(
        &lines[1],
        &format!(
            "warn VixDiskLib_InitEx: {}: it cannot be read",
            configuration.display()
        ),
    );
    begins(&lines[2], "warn VixDiskLib_Open: ");

    let lines = logged(Some(
        "tmpDirectory = \"/var/tmp\"\nvixDiskLib.nfc.LogLevel=0\n",
    ));
    assert_eq!(lines.len(), 2, "{lines:?}");

    let lines = logged(Some(
        "vixDiskLib.transport.LogLevel = \"1\" # failures only\n",
    ));
    assert_eq!(lines.len(), 1, "{lines:?}");
    begins(&lines[0], "warn VixDiskLib_Open: ");

    assert_eq!(logged(Some("vixDiskLib.transport.LogLevel=0\n")), [""; 0]);
}

/// The description for pkg-config goes with the folder, and programs are linked with the newest library.
#[test]
fn a_program_is_built_with_pkg_config() {
    if !need::have(&["cc", "qemu-img", "pkg-config", "readelf"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let moved = folder.path().join("moved");
    run(command("cp").arg("-a").arg(artefact::libdir()).arg(&moved));
    let flags = run(command("pkg-config")
        .env("PKG_CONFIG_PATH", moved.join("share/pkgconfig"))
        .args(["--cflags", "--libs", "vixDiskLib"]));
    assert!(flags.contains(&moved.display().to_string()), "{flags}");
    let program = folder.path().join("program");
    run(strict("cc", &["-std=c11"])
        .arg(artefact::repository().join("tests/c/release.c"))
        .args(flags.split_whitespace())
        .arg("-o")
        .arg(&program));
    let dynamic = run(command("readelf").arg("-dW").arg(&program));
    assert!(dynamic.contains("[libvixDiskLib.so.9]"), "{dynamic}");
    let printed = run(command(&program)
        .env("LD_LIBRARY_PATH", moved.join("lib64"))
        .args(["9", "9", "1"])
        .arg(disk(folder.path())));
    assert!(printed.contains("as VDDK 9, API version 9.1"), "{printed}");
}

/// Sizes and offsets of every structure, in both languages.
#[test]
fn the_headers_have_the_published_layouts() {
    if !need::have(&["cc", "c++"]) {
        return;
    }
    let source = artefact::repository().join("vixdisklib-sys/tests/c/layout.c");
    for (compiler, language) in [
        ("cc", ["-std=c11", "-xc"]),
        ("c++", ["-std=c++17", "-xc++"]),
    ] {
        run(strict(compiler, &language)
            .arg("-fsyntax-only")
            .arg("-I")
            .arg(artefact::libdir().join("include"))
            .arg(&source));
    }
}

#[test]
fn the_licences_of_what_is_linked_in_are_there() {
    let licences = artefact::libdir().join("licences");
    let text = fs::read_to_string(licences.join("THIRD-PARTY.txt")).expect("laid out");
    for package in ["zlib-rs", "parking_lot", "rustix", "zerocopy", "libc"] {
        assert!(text.contains(&format!("\n{package} v")), "{package}");
    }
    for ours in ["vmdk-engine", "zerocopy-derive", "proptest"] {
        assert!(!text.contains(&format!("\n{ours} v")), "{ours}");
    }
    assert!(text.contains("Permission is hereby granted"));
    for file in [
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "GCC-exception-3.1.txt",
        "rust-standard-library.html",
    ] {
        assert!(licences.join(file).is_file(), "{file}");
    }
}
