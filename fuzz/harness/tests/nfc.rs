//! Everything that the fuzzers of the network disk protocol began with, and everything that they ever found, once more.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_harness::nfc;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the harness lies in the folder of the fuzz targets")
        .join(kind)
        .join(target)
}

fn replay(target: &str, run: fn(&[u8])) {
    for kind in ["seeds", "regressions"] {
        let Ok(files) = fs::read_dir(folder(kind, target)) else {
            assert_eq!(kind, "regressions", "there are seeds");
            continue;
        };
        for file in files {
            let path = file.expect("the folder can be read").path();
            eprintln!("{}", path.display());
            run(&fs::read(&path).expect("the file can be read"));
        }
    }
}

/// The committed seeds are what the program makes; with `UPDATE_SEEDS=1`, it writes them.
fn compare(target: &str, name: &str, bytes: &[u8]) {
    let path = folder("seeds", target).join(name);
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        fs::create_dir_all(folder("seeds", target)).expect("the folder can be made");
        fs::write(&path, bytes).expect("the seed can be written");
    }
    let found = fs::read(&path).unwrap_or_default();
    assert!(
        found == bytes,
        "{}: UPDATE_SEEDS=1 writes it",
        path.display()
    );
}

#[test]
fn messages() {
    for (name, bytes) in nfc::wire_seeds() {
        compare("nfc_wire", name, &bytes);
    }
    replay("nfc_wire", nfc::wire);
}

#[test]
fn compressed_data() {
    for (name, bytes) in nfc::compress_seeds() {
        compare("nfc_compress", &name, &bytes);
    }
    replay("nfc_compress", nfc::compress);
}
