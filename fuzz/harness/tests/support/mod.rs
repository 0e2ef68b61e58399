//! What a fuzzer began with and what it ever found, for the ordinary tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The committed inputs of a fuzz target.
pub(crate) struct Inputs(pub(crate) &'static str);

impl Inputs {
    fn folder(&self, kind: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the harness lies in the folder of the fuzz targets")
            .join(kind)
            .join(self.0)
    }

    /// Runs all of them.
    pub(crate) fn replay(&self, run: impl Fn(&[u8])) {
        for kind in ["seeds", "regressions"] {
            let Ok(files) = fs::read_dir(self.folder(kind)) else {
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

    /// A committed seed is what the program makes; with `UPDATE_SEEDS=1`, it is written.
    pub(crate) fn compare(&self, name: &str, bytes: &[u8]) {
        let path = self.folder("seeds").join(name);
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            fs::create_dir_all(self.folder("seeds")).expect("the folder can be made");
            fs::write(&path, bytes).expect("the seed can be written");
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == bytes,
            "{}: run with UPDATE_SEEDS=1",
            path.display()
        );
    }
}

/// A seed cut off and with a bit changed, at every place that is so far from the last.
#[allow(dead_code, reason = "not every program of the tests changes seeds")]
pub(crate) fn cut_and_change(seed: &[u8], step: usize, run: impl Fn(&[u8])) {
    for end in (0..seed.len()).step_by(step) {
        run(&seed[..end]);
        let mut changed = seed.to_vec();
        changed[end] ^= 1 << (end % 8);
        run(&changed);
    }
}
