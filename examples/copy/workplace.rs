//! Where the backup is made before it gets its name: a folder beside it, with the file and the journal.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vixdisklib::Sector;

use crate::base;
use crate::common::Result;
use crate::journal::{Job, Journal};

/// The folder `TARGET.partial`. The file in it has the name of the target, since a virtual disk knows its own.
pub(crate) struct Workplace {
    target: PathBuf,
    folder: PathBuf,
    data: PathBuf,
    journal: Journal,
    /// The target is an earlier backup.
    earlier: bool,
    resumed: bool,
}

impl Workplace {
    /// Makes the folder, or with `resume` goes on in the one that is there.
    pub(crate) fn enter(target: &Path, resume: bool, earlier: bool) -> Result<Self> {
        let target = std::path::absolute(target)?;
        let name = target.file_name().ok_or_else(|| {
            let target = target.display();
            format!("\"{target}\" is no name for a file")
        })?;
        let mut folder = OsString::from(target.as_os_str());
        folder.push(".partial");
        let folder = PathBuf::from(folder);
        let data = folder.join(name);
        let found = folder.exists();
        if found && !resume {
            let folder = folder.display();
            let text = format!(
                "an interrupted copy left \"{folder}\": --resume goes on with it; remove it to begin again"
            );
            return Err(text.into());
        }
        if !found {
            fs::create_dir(&folder)
                .map_err(|error| format!("making \"{}\" failed: {error}", folder.display()))?;
        }
        let journal = Journal::open(&folder.join("journal"))?;
        let mut place = Self {
            target,
            folder,
            data,
            journal,
            earlier,
            resumed: found,
        };
        if place.journal.is_whole() && !place.data.exists() {
            // It has its name; only the folder stayed.
            place.journal.forget()?;
            place.resumed = false;
        }
        place.check_target()?;
        Ok(place)
    }

    fn check_target(&self) -> Result<()> {
        let target = self.target.display();
        let text = match (self.earlier, self.target.exists()) {
            (true, false) => format!(
                "--changed-areas needs an earlier backup, and \"{target}\" is not there; leave it out for a whole one"
            ),
            (false, true) => format!(
                "\"{target}\" is there already: remove it, bring it up to date with --changed-areas, or write over it \
                 with --in-place"
            ),
            (true, true) if is_text(&self.target)? => format!(
                "\"{target}\" is a disk of several files, of which no copy can be brought up to date: use --in-place"
            ),
            _ => return Ok(()),
        };
        Err(text.into())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that becomes the target.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Whether an earlier copy was at work here.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Whether there is something to resume.
    pub(crate) fn is_begun(&self) -> bool {
        self.journal.is_begun()
    }

    /// Where to begin: if nothing is there, at the start of what `make` makes.
    pub(crate) fn begin(&mut self, job: &Job, make: impl FnOnce() -> Result<()>) -> Result<Start> {
        if self.is_begun() {
            let done = self.journal.resume(job)?;
            return Ok(Start { done, fresh: false });
        }
        remove_if_there(&self.data)?;
        if self.earlier {
            let from = self.target.display();
            base::copy(&self.target, &self.data)
                .map_err(|error| format!("copying \"{from}\" failed: {error}"))?;
        }
        make()?;
        sync_folder(&self.folder)?;
        sync_folder(parent(&self.folder))?;
        self.journal.begin(job)?;
        Ok(Start {
            done: Sector::ZERO,
            fresh: true,
        })
    }

    /// Gives what was made its name, durably, in place of an earlier backup.
    pub(crate) fn put(&mut self) -> Result<()> {
        // The hours that it took have seen other processes.
        self.check_target()?;
        self.journal.whole()?;
        let target = self.target.display();
        fs::rename(&self.data, &self.target)
            .map_err(|error| format!("giving it the name \"{target}\" failed: {error}"))?;
        sync_folder(parent(&self.target))?;
        self.remove()?;
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.data)?;
        remove_if_there(&self.folder.join("journal"))?;
        fs::remove_dir(&self.folder)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What fails before anything is copied leaves nothing behind.
        if !self.is_begun() {
            let _ = self.remove();
        }
    }
}

/// Where a copy begins.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    /// All before it is done.
    pub(crate) done: Sector,
    /// Nobody has written yet.
    pub(crate) fresh: bool,
}

/// Whether a virtual disk is a text that names other files.
fn is_text(disk: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(disk)?.take(6).read_to_end(&mut start)?;
    Ok(start == b"# Disk")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
