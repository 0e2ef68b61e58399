//! Everything that the fuzzer of the simulator's texts began with, and everything that it ever found, once more.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_harness::sim_text::{refusal, run, seeds};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the harness lies in the folder of the fuzz targets")
        .join(kind)
        .join("sim_text")
}

#[test]
fn seeds_and_regressions() {
    for kind in ["seeds", "regressions"] {
        let Ok(files) = fs::read_dir(folder(kind)) else {
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

/// The committed seeds are what the program makes; with `UPDATE_SEEDS=1`, it writes them. Each is taken.
#[test]
fn seeds_are_up_to_date() {
    for (name, bytes) in seeds() {
        let path = folder("seeds").join(name);
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            fs::create_dir_all(folder("seeds")).expect("the folder can be made");
            fs::write(&path, &bytes).expect("the seed can be written");
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == bytes,
            "{}: run with UPDATE_SEEDS=1",
            path.display()
        );
        assert_eq!(refusal(&bytes), None, "{name}");
    }
}

/// Every seed cut off and with a bit changed, at each place.
#[test]
fn seeds_that_are_cut_and_changed() {
    for (_, seed) in seeds() {
        for end in 0..seed.len() {
            run(&seed[..end]);
            let mut changed = seed.clone();
            changed[end] ^= 1 << (end % 8);
            run(&changed);
        }
    }
}
