//! Which disks there are, under which names.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use vixdisklib::nbd::{Overlay, Server};
use vixdisklib::{Connection, CreateOptions, Disk, Library, OpenFlags, SharedDisk};

use crate::folders::{Folder, Folders};
use crate::layers;
use crate::options::{DiskOptions, Options, OverlayOption};
use crate::sample::Sample;
use crate::{Result, common, connect};

/// All of them. Those that are named one by one are open from the start, those of folders when a client asks.
pub(crate) struct Exports {
    disks: Vec<Named>,
    folders: Vec<Folder>,
    default: Option<String>,
    options: DiskOptions,
    opener: Opener,
    /// Its file is there as long as it is served.
    sample: Option<Sample>,
}

struct Named {
    name: String,
    description: String,
    disk: Served,
}

/// What clients read and write.
enum Served {
    Itself(SharedDisk),
    Above(Overlay),
}

impl Served {
    fn disk(&self) -> &SharedDisk {
        match self {
            Self::Itself(disk) => disk,
            Self::Above(overlay) => overlay.disk(),
        }
    }

    fn close(self) -> vixdisklib::Result<()> {
        match self {
            Self::Itself(disk) => disk.close(),
            Self::Above(overlay) => overlay.close(),
        }
    }
}

/// How the options want disks to be opened.
#[derive(Clone)]
pub(crate) struct Opener {
    connection: Connection,
    read_only: bool,
    flags: OpenFlags,
}

impl Exports {
    pub(crate) fn open(options: &Options, library: &Library) -> Result<Self> {
        let connection = connect::connect(options, library)?;
        let is_fcd = options.remote.fcd.is_some();
        let sample = match options.disks.is_empty() && !is_fcd {
            true if connection.is_local() => Some(Sample::unpack()?),
            true => return Err("--server needs the disk, such as '[datastore1] vm/vm.vmdk'".into()),
            false => None,
        };
        let opener = Opener {
            // What has an overlay stays as it is.
            read_only: options.disk.read_only || options.disk.overlay.is_some() || sample.is_some(),
            flags: connect::open_flags(options),
            connection,
        };
        let mut exports = Self {
            disks: Vec::new(),
            folders: Vec::new(),
            default: options.disk.default_export.clone(),
            options: options.disk.clone(),
            opener,
            sample,
        };
        // What is to be made is no folder yet.
        let may_be_folder = exports.opener.connection.is_local() && options.create.create.is_none();
        let mut files: Vec<&Path> = Vec::new();
        for path in &options.disks {
            let folder = match may_be_folder {
                true => Folder::of(path)?,
                false => None,
            };
            match folder {
                Some(folder) => exports.folders.push(folder),
                None => files.push(path),
            }
        }
        let sample_path = exports.sample.as_ref().map(Sample::path);
        files.extend(sample_path.as_deref());
        let count = files.len() + usize::from(is_fcd);
        let names = names(
            &options.disk.exports,
            &files,
            count,
            exports.folders.is_empty(),
        )?;
        check_single(&options.disk, count, exports.folders.is_empty())?;
        // Not before all else fits: a second try would find it there.
        create(options, &exports.opener.connection)?;
        if is_fcd {
            let open = |connection: &Connection, flags| connection.open_fcd(flags);
            exports.add(names[0].clone(), options.remote.fcd.clone(), open)?;
        }
        for (path, name) in files.into_iter().zip(names) {
            let open = |connection: &Connection, flags| connection.open_disk(path, flags);
            exports.add(name, Some(file_name(path)), open)?;
        }
        Ok(exports)
    }

    /// Opens a disk, and puts an overlay on it if one is wanted.
    fn add(
        &mut self,
        name: String,
        description: Option<String>,
        open: impl Fn(&Connection, OpenFlags) -> vixdisklib::Result<Disk>,
    ) -> Result<()> {
        let disk = self.opener.open(open)?;
        let named = |error: vixdisklib::Error| format!("--overlay: {}", common::explain(&error));
        let disk = match &self.options.overlay {
            None => Served::Itself(disk.into_shared()?),
            Some(OverlayOption::Temporary) => {
                Served::Above(Overlay::temporary(disk, env::temp_dir()).map_err(named)?)
            }
            Some(OverlayOption::Kept(path)) => {
                Served::Above(Overlay::kept(disk, path).map_err(named)?)
            }
        };
        self.disks.push(Named {
            name,
            description: description.unwrap_or_default(),
            disk,
        });
        Ok(())
    }

    /// Temporary overlays with all that is about them. They must belong to whom the server belongs to, which removes them.
    pub(crate) fn temporary_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(OverlayOption::Temporary) = self.options.overlay {
            let disks = self.disks.iter().map(|named| named.disk.disk().name());
            files.extend(disks.filter_map(Path::parent).map(Path::to_owned));
        }
        let mut looked_at = 0;
        while let Some(path) = files.get(looked_at) {
            looked_at += 1;
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let inside: Vec<_> = entries.map(|entry| entry.path()).collect();
            files.extend(inside);
        }
        files
    }

    pub(crate) fn is_sample(&self) -> bool {
        self.sample.is_some()
    }

    /// The name of the only disk, or of the one that clients get that ask for none.
    pub(crate) fn main_name(&self) -> &str {
        match (&self.default, self.disks.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) if self.folders.is_empty() => &only.name,
            _ => "",
        }
    }

    pub(crate) fn add_to(&self, mut server: Server) -> Result<Server> {
        for named in &self.disks {
            let export = layers::export(named.disk.disk().clone(), &self.options)?;
            server = server.shared_export(&named.name, &named.description, export);
        }
        if !self.folders.is_empty() {
            let (opener, options) = (self.opener.clone(), self.options.clone());
            server = server.source(Folders::new(self.folders.clone(), opener, options));
        }
        if let Some(name) = &self.default {
            server = server.default_export(name);
        }
        Ok(server)
    }

    /// Closes the disks, when nobody serves them any more. Tries all, and tells the first failure.
    pub(crate) fn close(self) -> Result<()> {
        let mut result = Ok(());
        for named in self.disks {
            result = result.and(named.disk.close());
        }
        Ok(result?)
    }
}

impl Opener {
    /// Opens a disk by its path; for writing if that was asked for.
    pub(crate) fn open_path(&self, path: &Path) -> std::result::Result<Disk, NotOpened> {
        self.open(|connection, flags| connection.open_disk(path, flags))
    }

    fn open(
        &self,
        open: impl Fn(&Connection, OpenFlags) -> vixdisklib::Result<Disk>,
    ) -> std::result::Result<Disk, NotOpened> {
        let open = |flags| open(&self.connection, self.flags | flags);
        let flags = match self.read_only {
            true => OpenFlags::READ_ONLY,
            false => OpenFlags::empty(),
        };
        open(flags).map_err(|cause| NotOpened {
            cause,
            is_readable: !self.read_only && open(OpenFlags::READ_ONLY).is_ok(),
        })
    }
}

/// Why a disk could not be opened.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) cause: vixdisklib::Error,
    /// For reading it could.
    is_readable: bool,
}

impl fmt::Display for NotOpened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&common::explain(&self.cause))?;
        if self.is_readable {
            formatter.write_str(" (it can be opened with --read-only)")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotOpened {}

/// Makes the disk of `--create`.
fn create(options: &Options, connection: &Connection) -> Result<()> {
    let wanted = &options.create;
    let Some(capacity) = wanted.create else {
        return Ok(());
    };
    let [path] = options.disks.as_slice() else {
        return Err("--create makes one disk; name that alone".into());
    };
    let creation = CreateOptions::new(wanted.create_type, capacity)
        .adapter(wanted.create_adapter)
        .hardware_version(wanted.create_hwversion);
    connection
        .create_disk(path, &creation, common::progress_bar())
        .map_err(|error| format!("--create: {}", common::explain(&error)).into())
}

/// What is about one disk is not for several.
fn check_single(options: &DiskOptions, count: usize, are_all: bool) -> Result<()> {
    let kept = matches!(options.overlay, Some(OverlayOption::Kept(_)));
    if kept && count > 1 {
        return Err("--overlay=keep=PATH is for one disk; name that alone".into());
    }
    if options.overlay.is_some() && !are_all {
        return Err(
            "--overlay is for disks that are named one by one, not for folders and wildcards"
                .into(),
        );
    }
    let several = count > 1 || !are_all;
    if several && !options.bitmaps.is_empty() {
        return Err("--bitmap is for one disk; name that alone".into());
    }
    Ok(())
}

/// The names of `count` disks, of which all but the one of a server are files.
fn names(given: &[String], files: &[&Path], count: usize, are_all: bool) -> Result<Vec<String>> {
    if !given.is_empty() {
        if given.len() != count {
            let text = format!(
                "--exportname is given {} times, for {count} disks; give it once for each disk that is no folder",
                given.len()
            );
            return Err(text.into());
        }
        return Ok(given.to_vec());
    }
    if count == 1 && are_all {
        return Ok(vec![String::new()]);
    }
    let names: Vec<_> = files.iter().map(|path| file_name(path)).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let text = format!(
                "there are two disks named {name}; tell them apart by --exportname, once for each"
            );
            return Err(text.into());
        }
    }
    Ok(names)
}

/// What people recognise a disk by.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
