//! The disk to copy, and the access to its machine.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use vixdisklib::{
    ChangedAreas, ConnectParams, Connection, Disk, Library, MetadataKey, OpenFlags, PreparedAccess,
};

use crate::common::{self, Result};
use crate::journal::{Job, fingerprint};
use crate::options::Options;

/// The open disk. While it lives, vCenter does not move its machine; whatever happens, that ends with it.
pub(crate) struct Source {
    // Closed before the access ends.
    disk: Disk,
    access: Option<PreparedAccess>,
    /// Where it is, by the names of the options.
    place: Vec<(&'static str, String)>,
}

impl Source {
    /// Prepares the access, connects and opens. `again` after a copy to the same target that may not have ended its access.
    pub(crate) fn open(options: &Options, library: &Library, again: bool) -> Result<Self> {
        let remote = &options.remote;
        let params = remote.params()?;
        let connect = remote.connect_options(true);
        let (access, connection) = match params.server() {
            None => (None, library.connect(params, &connect)?),
            Some(_) => {
                let identity = identity(options.target())?;
                let access = prepare(library, params, &identity, again)?;
                let connection = access.connect(&connect)?;
                (Some(access), connection)
            }
        };
        let disk = open(options, &connection)?;
        let texts = [
            ("--server", &remote.server),
            ("--vm", &remote.vm),
            ("--snapshot", &remote.snapshot),
            ("--fcd", &remote.fcd),
            ("--fcd-snapshot", &remote.fcd_snapshot),
        ];
        let mut place: Vec<_> = texts
            .into_iter()
            .filter_map(|(option, text)| text.clone().map(|text| (option, text)))
            .collect();
        place.push(("the disk", disk.name().display().to_string()));
        if connection.is_local() {
            place.push(("the time of its last change", modified(disk.name())?));
        }
        Ok(Self {
            disk,
            access,
            place,
        })
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What a resumed copy must have in common with the interrupted one.
    pub(crate) fn job(&self, target: &Path, areas: Option<&ChangedAreas>) -> Job {
        let disk = &self.disk;
        let mut job = Job::default();
        for (what, value) in &self.place {
            job.add(what, value);
        }
        job.add("the capacity in sectors", disk.capacity());
        job.add("the uuid", disk.info().uuid.as_deref().unwrap_or("none"));
        // Not every library, and not every disk, has one.
        let content = disk.metadata(MetadataKey::LONG_CONTENT_ID).ok().flatten();
        job.add("the content id", content.as_deref().unwrap_or("none"));
        job.add("the target", target.display());
        let areas = areas.map_or("all".to_owned(), |areas| {
            let ends = areas.as_slice().iter();
            let ends = ends.flat_map(|area| [area.start().get(), area.end().get()]);
            let bytes: Vec<u8> = ends.flat_map(u64::to_le_bytes).collect();
            format!("{} {:016x}", areas.as_slice().len(), fingerprint(&bytes))
        });
        job.add("the areas", areas);
        job
    }

    /// Closes the disk, disconnects and ends the access.
    pub(crate) fn end(self) -> Result<()> {
        let closed = self.disk.close();
        // What was refused needs no end, and the reason was said; dropping ends it all the same.
        if let Some(access) = self.access
            && access.refusal().is_none()
        {
            access.end()?;
        }
        Ok(closed?)
    }
}

fn open(options: &Options, connection: &Connection) -> Result<Disk> {
    let flags = OpenFlags::READ_ONLY;
    options.remote.open(connection, options.source(), flags)
}

/// Keeps the machine where it is if the server can do that, which only a vCenter can.
fn prepare(
    library: &Library,
    params: ConnectParams,
    identity: &str,
    again: bool,
) -> Result<PreparedAccess> {
    if again {
        // Nothing may be left of the earlier access; what really is wrong shows next.
        let _ = library.end_access(&params, identity);
    }
    let access = library.prepare_for_access_if_possible(params, identity)?;
    if let Some(refusal) = access.refusal() {
        eprintln!(
            "copy: going on, although the machine may be moved meanwhile: {}",
            common::explain(refusal)
        );
    }
    Ok(access)
}

/// By what the server knows this copy, and a later one that goes on with it. No other one at the same time has the same: two
/// of them never have one target.
fn identity(target: &Path) -> Result<String> {
    let target = std::path::absolute(target)?;
    let number = fingerprint(target.as_os_str().as_encoded_bytes());
    Ok(format!("vixdisklib copy {number:016x}"))
}

/// In nanoseconds, of the file that the disk is named by.
fn modified(path: &Path) -> Result<String> {
    let time = fs::metadata(path)?.modified()?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_nanos().to_string())
}
