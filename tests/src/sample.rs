//! The public sample disks, which stay where they are: tests work on copies.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use crate::artefact;
use crate::checksum;
use crate::need;

/// What a sample must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The SHA-256 of all that a guest sees.
    Checksum(String),
    /// It must be refused.
    Refused,
}

/// One sample disk, in a folder of its test.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Path within the samples.
    pub name: String,
    /// The copy; not compressed.
    pub disk: PathBuf,
    /// The sub-format, in the words of the list.
    pub kind: String,
    /// Capacity in sectors, if it is a sensible one.
    pub sectors: Option<u64>,
    /// What it must give.
    pub content: Content,
}

/// A copy of all samples.
#[derive(Debug)]
pub struct Samples {
    folder: TempDir,
    list: Vec<Sample>,
}

impl Samples {
    /// Copies and unpacks the samples; says so where they are absent, and the test then returns.
    #[must_use]
    pub fn copy() -> Option<Self> {
        let source = env::var_os("VIXDISKLIB_SAMPLES")
            .map_or_else(
                || artefact::repository().join("../shared/samples"),
                PathBuf::from,
            )
            .join("vmdk");
        let Ok(manifest) = fs::read_to_string(source.join("MANIFEST.md")) else {
            need::skip(&format!("no sample disks in {}", source.display()));
            return None;
        };
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        copy_folder(&source, folder.path());
        let rows: Vec<Vec<&str>> = manifest.lines().filter_map(row).collect();
        for row in &rows {
            // Two tables list files: their checksum is in the column behind the sub-format and in the last one.
            let listed = match row.as_slice() {
                [name, _, sha] => Some((name, sha)),
                [name, _, _, _, _, _, sha, _, _] => Some((name, sha)),
                _ => None,
            };
            if let Some((name, sha)) =
                listed.filter(|(name, sha)| is_sha(sha) && !name.ends_with(".gz"))
            {
                let found = checksum::file(&folder.path().join(name));
                assert_eq!(found, *sha, "{name} is not the file of the list");
            }
        }
        let list: Vec<Sample> = rows
            .iter()
            .filter_map(|row| sample(folder.path(), row))
            .collect();
        assert!(list.len() > 10, "the list of samples is not understood");
        Some(Self { folder, list })
    }

    /// The samples that can be opened by themselves.
    #[must_use]
    pub fn list(&self) -> &[Sample] {
        &self.list
    }

    /// The sample of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> &Sample {
        let mut samples = self.list.iter();
        samples
            .find(|sample| sample.name == name)
            .unwrap_or_else(|| panic!("no sample {name}"))
    }

    /// The folder of the copy.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The cells of a row of a table.
fn row(line: &str) -> Option<Vec<&str>> {
    let cells = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(cells.split('|').map(str::trim).collect())
}

fn sample(folder: &Path, row: &[&str]) -> Option<Sample> {
    let [name, _, _, _, kind, sectors, _, content, _] = *row else {
        return None;
    };
    let content = match content {
        sha if is_sha(sha) => Content::Checksum(sha.to_owned()),
        "refuse (no content)" => Content::Refused,
        _ => return None,
    };
    Some(Sample {
        name: name.to_owned(),
        disk: folder.join(name.strip_suffix(".gz").unwrap_or(name)),
        kind: kind.to_owned(),
        sectors: sectors.parse().ok(),
        content,
    })
}

fn is_sha(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn copy_folder(source: &Path, target: &Path) {
    for entry in fs::read_dir(source).expect("the samples are readable") {
        let entry = entry.expect("the samples are readable");
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to).expect("there is room for temporary files");
            copy_folder(&from, &to);
            continue;
        }
        // Not a copy of the mode: the samples may be read-only, and a test of writing needs more.
        let mut input = File::open(&from).expect("the samples are readable");
        if from.extension().is_some_and(|extension| extension == "gz") {
            let mut output = File::create(to.with_extension("")).expect("there is room");
            std::io::copy(&mut GzDecoder::new(input), &mut output).expect("a good gzip file");
        } else {
            let mut output = File::create(to).expect("there is room");
            std::io::copy(&mut input, &mut output).expect("there is room");
        }
    }
}
