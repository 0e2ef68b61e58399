//! Everything that the fuzzer began with, and everything that it ever found, once more.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_harness::{Target, seeds};

fn folder(kind: &str, target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the harness lies in the folder of the fuzz targets")
        .join(kind)
        .join(target.name())
}

/// Runs a target on every file of a folder; their number.
fn replay(kind: &str, target: Target) -> usize {
    let Ok(files) = fs::read_dir(folder(kind, target)) else {
        return 0;
    };
    let mut number = 0;
    for file in files {
        let path = file.expect("the folder can be read").path();
        eprintln!("{}", path.display());
        target.run(&fs::read(&path).expect("the file can be read"));
        number += 1;
    }
    number
}

#[test]
fn seeds_and_regressions() {
    for target in Target::ALL {
        assert!(replay("seeds", target) >= seeds(target).len(), "{target}");
        replay("regressions", target);
    }
}

/// The committed seeds are what the program makes; with `UPDATE_SEEDS=1`, it writes them.
#[test]
fn seeds_are_up_to_date() {
    for target in Target::ALL {
        let folder = folder("seeds", target);
        for (name, bytes) in seeds(target) {
            let path = folder.join(name);
            if std::env::var_os("UPDATE_SEEDS").is_some() {
                fs::create_dir_all(&folder).expect("the folder can be made");
                fs::write(&path, &bytes).expect("the seed can be written");
            }
            let found = fs::read(&path).unwrap_or_default();
            assert!(
                found == bytes,
                "{}: run with UPDATE_SEEDS=1",
                path.display()
            );
        }
    }
}

/// Seeds are only of use if they get past the first checks.
#[test]
fn most_seeds_open() {
    use vmdk_engine::Disk;
    for target in Target::ALL {
        let opened = seeds(target)
            .iter()
            .flat_map(|(_, seed)| target.files(seed))
            .filter(|files| Disk::open(files.disk(), &files.options()).is_ok())
            .count();
        assert!(opened * 2 > seeds(target).len(), "{target}: {opened} open");
    }
}

/// No change of an input makes it longer than it may be, nor does any harm.
#[test]
fn a_few_changed_seeds() {
    for target in Target::ALL {
        for (_, seed) in seeds(target) {
            let max = seed.len() + 64;
            let mut data = seed.clone();
            data.resize(max, 0);
            let mut size = seed.len();
            for round in 0..20 {
                size = fuzz_harness::mutate(target, &mut data, size, max, round, |_, size, _| size);
                assert!(size <= max);
                target.run(&data[..size]);
            }
        }
    }
}
