//! A file that only this user can read, in a folder of its own.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::process::Birth;

/// How often a name is tried that somebody else has: more than by chance.
const TRIES: usize = 16;

/// A file in a folder of its own, for this user alone; both are removed when it is dropped, by the process that made
/// them.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    folder: PathBuf,
    file: PathBuf,
    birth: Birth,
}

impl PrivateFile {
    /// Writes a new file.
    pub(crate) fn write(name: &str, text: &str) -> io::Result<Self> {
        let folder = new_folder()?;
        let private = Self {
            file: folder.join(name),
            folder,
            birth: Birth::here(),
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&private.file)?.write_all(text.as_bytes())?;
        Ok(private)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        // In a forked child it is still the parent's.
        if !self.birth.is_surely_here() {
            return;
        }
        // The folder only if it is empty: what somebody put there is not ours to remove.
        let removed = fs::remove_file(&self.file).and_then(|()| fs::remove_dir(&self.folder));
        if let Err(error) = removed {
            tracing::debug!(%error, folder = %self.folder.display(), "a private file stays");
        }
    }
}

/// A folder that did not exist before, so that nobody has put anything there.
fn new_folder() -> io::Result<PathBuf> {
    let mut tries = 0;
    loop {
        // Nothing depends on the name being hard to guess: a folder that exists is not used.
        let random = RandomState::new().build_hasher().finish();
        let folder = env::temp_dir().join(format!("vixdisklib-{random:016x}"));
        match private_folder(&folder, false) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes a folder for this user alone.
pub(super) fn private_folder(path: &Path, with_parents: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(with_parents);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        let private = PrivateFile::write("a.conf", "a=1\n").expect("written");
        let (file, folder) = (private.path().to_owned(), private.folder.clone());
        assert_eq!(fs::read_to_string(&file).expect("there"), "a=1\n");
        #[cfg(unix)]
        for (path, mode) in [(&file, 0o600), (&folder, 0o700)] {
            use std::os::unix::fs::PermissionsExt as _;
            let found = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{path:?}");
        }
        drop(private);
        assert!(!file.exists() && !folder.exists());
    }

    #[test]
    fn a_forked_child_leaves_it_alone() {
        let mut private = PrivateFile::write("a.conf", "").expect("written");
        let (file, folder) = (private.path().to_owned(), private.folder.clone());
        private.birth = Birth::elsewhere();
        drop(private);
        assert!(file.exists());
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn two_files_have_two_folders() {
        let first = PrivateFile::write("a.conf", "1").expect("written");
        let second = PrivateFile::write("a.conf", "2").expect("written");
        assert_ne!(first.path(), second.path());
        assert_eq!(fs::read_to_string(first.path()).expect("there"), "1");
    }
}
