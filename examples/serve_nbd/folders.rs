//! Disks that are found when a client asks for them: those of a folder, or of a wildcard.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vixdisklib::nbd::{ErrorNumber, Export, ExportError, ExportSource, Found, Listed};

use crate::exports::{NotOpened, Opener, file_name};
use crate::layers;
use crate::options::DiskOptions;
use crate::{Result, common};

/// A folder, and a wildcard for the names of the files in it.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    wildcard: String,
}

impl Folder {
    /// `path` as a folder or a wildcard, with disks in it; none if it is a file, or nothing that is there.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        let folder = Self::named(path)?;
        if folder
            .as_ref()
            .is_some_and(|folder| folder.disks().is_empty())
        {
            let path = path.display();
            return Err(format!("{path}: no disk is there, which is a file *.vmdk").into());
        }
        Ok(folder)
    }

    fn named(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            return Ok(Some(Self {
                path: path.to_owned(),
                wildcard: "*".to_owned(),
            }));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.exists() || !name.contains(['*', '?']) {
            return Ok(None);
        }
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => Path::new("/"),
        };
        if !folder.is_dir() {
            return Err(format!(
                "{}: there is no folder {}",
                path.display(),
                folder.display()
            )
            .into());
        }
        Ok(Some(Self {
            path: folder.to_owned(),
            wildcard: name.into_owned(),
        }))
    }

    /// The disks that are there now: files whose names end in `.vmdk` and match, without the parts of other disks.
    fn disks(&self) -> Vec<PathBuf> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "cannot look for disks");
                return Vec::new();
            }
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut disks: Vec<_> = paths.filter(|path| self.has(path)).collect();
        disks.sort();
        disks
    }

    fn has(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        matches(&self.wildcard, name)
            && name.ends_with(".vmdk")
            && !is_part(path, name)
            && path.is_file()
    }
}

/// Whether a file holds the data, or the changes, of a disk beside it, as VMware's products name them.
fn is_part(path: &Path, name: &str) -> bool {
    let stem = name.strip_suffix(".vmdk").unwrap_or(name);
    let Some((disk, part)) = stem.rsplit_once('-') else {
        return false;
    };
    let is_numbered = part.strip_prefix(['s', 'f']).is_some_and(|digits| {
        digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let is_part = is_numbered || ["flat", "delta", "sesparse", "ctk"].contains(&part);
    is_part && path.with_file_name(format!("{disk}.vmdk")).exists()
}

/// Whether `name` is as the wildcard wants it: `*` stands for anything, `?` for one character.
fn matches(wildcard: &str, name: &str) -> bool {
    let (mut wildcard, mut name) = (wildcard.chars(), name.chars());
    // Where to go on if what follows the last star turns out to begin later.
    let mut retry = None;
    loop {
        match wildcard.next() {
            Some('*') => {
                retry = Some((wildcard.clone(), name.clone()));
                continue;
            }
            Some('?') if name.next().is_some() => continue,
            Some(wanted) if wanted != '?' && name.next() == Some(wanted) => continue,
            None if name.as_str().is_empty() => return true,
            _ => {}
        }
        let Some((rest, from)) = &mut retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        (wildcard, name) = (rest.clone(), from.clone());
    }
}

/// The disks of folders as exports, by the names of their files.
pub(crate) struct Folders {
    folders: Vec<Folder>,
    opener: Opener,
    options: DiskOptions,
}

impl Folders {
    pub(crate) fn new(folders: Vec<Folder>, opener: Opener, options: DiskOptions) -> Self {
        Self {
            folders,
            opener,
            options,
        }
    }

    fn disks(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().flat_map(Folder::disks)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn Export>> {
        let disk = self.opener.open_path(path)?.into_shared()?;
        layers::export(disk, &self.options)
    }
}

impl ExportSource for Folders {
    fn list(&self) -> Vec<Listed> {
        let mut names: Vec<_> = self.disks().map(|path| file_name(&path)).collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .map(|name| Listed::new(name, ""))
            .collect()
    }

    /// The name is compared with those of the files, and never becomes a path.
    fn find(&self, name: &str) -> std::result::Result<Option<Found>, ExportError> {
        let Some(path) = self.disks().find(|path| file_name(path) == name) else {
            return Ok(None);
        };
        let export = self.open(&path).map_err(|error| {
            let whole = common::explain(&*error);
            tracing::warn!(disk = %path.display(), error = whole, "cannot open");
            ExportError::new(ErrorNumber::Io, reason(&*error))
        })?;
        Ok(Some(Found::new("", export)))
    }
}

/// What a client is told of it: never a path of this machine.
fn reason(error: &(dyn Error + 'static)) -> String {
    let not_opened = error.downcast_ref::<NotOpened>();
    let library = not_opened.map(|error| &error.cause);
    let code = library
        .or(error.downcast_ref())
        .and_then(vixdisklib::Error::code);
    match code.and_then(|code| Some((code.meaning()?, code.name()?))) {
        Some((meaning, name)) => format!("{meaning} ({name})"),
        None => "the log of the server tells why".to_owned(),
    }
}
