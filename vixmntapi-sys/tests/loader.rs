//! The loader, against distributions that the C compiler makes here. Libraries stay loaded and are known by SONAME, so
//! each test has a release and private libraries of its own.

#![cfg(all(feature = "loader", target_os = "linux"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vixdisklib_sys::VixError;
use vixdisklib_sys::loader::{self, LoadError, Loaded};
use vixmntapi_sys::loader::load_beside;

/// Compiles a library of functions that return a number, and `source`.
fn library(output: &Path, symbols: &[&str], number: u32, source: &str, needs: &[&Path]) {
    let mut text = source.to_owned();
    for symbol in symbols.iter().filter(|symbol| !source.contains(**symbol)) {
        text += &format!("unsigned long long {symbol}(void) {{ return {number}; }}\n");
    }
    let input = output.with_extension("c");
    fs::write(&input, text).expect("source");
    let soname = output.file_name().expect("named").display().to_string();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(output)
        .arg(&input)
        .args(needs)
        .arg(format!("-Wl,-soname,{soname}"))
        .status();
    assert!(status.expect("a C compiler").success());
    fs::remove_file(input).expect("remove");
}

fn required(symbols: &[vixdisklib_sys::Symbol]) -> Vec<&'static str> {
    let required = symbols.iter().filter(|symbol| symbol.required);
    required.map(|symbol| symbol.name).collect()
}

struct Fake {
    folder: tempfile::TempDir,
    disk_lib: PathBuf,
}

impl Fake {
    fn new(release: u32) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk_lib = folder.path().join(format!("libvixDiskLib.so.{release}"));
        let symbols = required(vixdisklib_sys::FnTable::SYMBOLS);
        library(&disk_lib, &symbols, release, "", &[]);
        Self { folder, disk_lib }
    }

    fn disk_lib(&self) -> Loaded {
        // SAFETY: the fake has no initialisers.
        unsafe { loader::load(self.folder.path()) }.expect("loads")
    }

    fn mount_api(&self, name: &str, number: u32, private: &str) {
        let helper = self.folder.path().join(private);
        library(&helper, &[], 0, "int helper(void) { return 1; }\n", &[]);
        library(
            &self.folder.path().join(name),
            &required(vixmntapi_sys::FnTable::SYMBOLS),
            number,
            "int helper(void); unsigned long long VixDiskLib_Flush(void *);\n\
             unsigned long long VixMntapi_CloseDiskSet(void *set)\n\
             { return VixDiskLib_Flush(set) * 100 + helper(); }\n",
            &[&helper, &self.disk_lib],
        );
    }
}

#[test]
fn the_usual_name_is_taken_first_and_uses_the_loaded_disk_library() {
    let fake = Fake::new(8);
    fake.mount_api("libvixMntapi.so.2", 16, "libmnthelperone.so");
    fake.mount_api("libvixMntapi.so.1", 15, "libmnthelpertwo.so");
    // SAFETY: the fake has no initialisers.
    let mount_api = unsafe { load_beside(&fake.disk_lib()) }.expect("loads");
    assert!(mount_api.path.ends_with("libvixMntapi.so.1"));
    // SAFETY: the fake ignores its argument.
    let result = unsafe { (mount_api.table.close_disk_set)(std::ptr::null_mut()) };
    assert_eq!(
        result,
        VixError(801),
        "release 8 of VixDiskLib, and its own helper"
    );
    assert!(mount_api.shadowed.is_empty(), "{:?}", mount_api.shadowed);
    assert!(mount_api.table.open_disk_set.is_none());
}

#[test]
fn without_the_usual_name_the_highest_number_is_taken() {
    let fake = Fake::new(7);
    fake.mount_api("libvixMntapi.so.9", 9, "libmnthelpernine.so");
    fake.mount_api("libvixMntapi.so.10", 10, "libmnthelperten.so");
    // SAFETY: the fake has no initialisers.
    let mount_api = unsafe { load_beside(&fake.disk_lib()) }.expect("loads");
    assert!(mount_api.path.ends_with("libvixMntapi.so.10"));
}

#[test]
fn no_mount_library_and_one_without_its_functions() {
    let fake = Fake::new(9);
    // SAFETY: the fake has no initialisers.
    let error = unsafe { load_beside(&fake.disk_lib()) }.expect_err("there is none");
    assert!(matches!(error, LoadError::NoLibrary { .. }), "{error:?}");

    let mut symbols = required(vixmntapi_sys::FnTable::SYMBOLS);
    symbols.retain(|name| !name.ends_with("Volume"));
    library(
        &fake.folder.path().join("libvixMntapi.so.1"),
        &symbols,
        0,
        "",
        &[],
    );
    // SAFETY: the fake has no initialisers.
    let error = unsafe { load_beside(&fake.disk_lib()) }.expect_err("two functions are missing");
    assert!(
        matches!(&error, LoadError::MissingSymbols { source, .. }
            if source.names() == ["VixMntapi_MountVolume", "VixMntapi_DismountVolume"]),
        "{error:?}"
    );
}
