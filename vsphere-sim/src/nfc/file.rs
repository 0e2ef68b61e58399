//! Opening disks: who may, and what is said if not.

use std::sync::Arc;

use vmdk_engine::{Disk, Error, ErrorKind, OpenOptions};
use vsphere_nfc::wire::aio::{FILE_TYPE_DISK, FileOpened, Geometry, OpenFile, OpenFlags};

use super::peer::Peer;
use crate::injection::{Injection, OpenRefusal};
use crate::inventory::{DatastorePath, Power};
use crate::world::{Scope, Ticket};

/// The code of permission errors, as observed on ESXi 7 and 8.
pub(super) const PERMISSION: u32 = 11;
/// The code of generic failures.
pub(super) const FAILED: u32 = 13;
/// The file type of a snapshot's delta, which is a disk, too.
const FILE_TYPE_DELTA: u32 = 3;

/// Why a request is refused: a code and a text.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(code: u32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    fn permission(path: &str, flags: OpenFlags) -> Self {
        let access = if flags.contains(OpenFlags::READ_ONLY) {
            1
        } else {
            3
        };
        let text = "NfcAioProcessOpenFileMsg: permission check failed for";
        Self::new(PERMISSION, format!("{text} {path}, access = {access}"))
    }

    fn locked(path: &str) -> Self {
        Self::new(
            FAILED,
            format!("Failed to open {path}: DiskLib error 16392: Failed to lock the file"),
        )
    }

    fn missing(path: &str) -> Self {
        let text = "DiskLib error 25: The system cannot find the file specified";
        Self::new(FAILED, format!("Failed to open {path}: {text}"))
    }

    fn multiwriter(path: &str) -> Self {
        let text = "thin/sparse disks cannot be opened in multiwriter mode";
        Self::new(FAILED, format!("Failed to open {path}: {text}"))
    }
}

/// An open disk.
#[derive(Debug)]
pub(super) struct OpenDisk {
    pub(super) disk: Disk,
    pub(super) handle: u64,
    pub(super) writable: bool,
    /// In bytes.
    pub(super) capacity: u64,
    /// The id of its machine.
    vm: String,
    key: i32,
    peer: Arc<Peer>,
}

impl OpenDisk {
    /// Opens what a request names, as the session's `number`th disk, and gives the reply.
    pub(super) fn open(
        peer: &Arc<Peer>,
        number: u32,
        ticket: &Ticket,
        request: OpenFile,
        path: &[u8],
    ) -> Result<(Self, FileOpened), Refusal> {
        let path = String::from_utf8_lossy(path).into_owned();
        if let Some(refusal) = injected(peer, &path, request.flags) {
            return Err(refusal);
        }
        if ![FILE_TYPE_DISK, FILE_TYPE_DELTA].contains(&request.file_type) {
            return Err(Refusal::new(
                FAILED,
                format!("file type {} is no disk", request.file_type),
            ));
        }
        let writable = !request.flags.contains(OpenFlags::READ_ONLY);
        let parsed: DatastorePath = path
            .parse()
            .map_err(|_| Refusal::permission(&path, request.flags))?;
        let (file, key, gate) = {
            let world = peer.site.world();
            let machine = world.machine(&ticket.vm);
            let file = world
                .locate(&parsed)
                .ok_or_else(|| Refusal::missing(&path))?;
            let found = machine.and_then(|machine| Some((machine, machine.disk_of(&parsed)?)));
            let Some((machine, key)) = found else {
                let refusal = if file.exists() {
                    Refusal::permission(&path, request.flags)
                } else {
                    Refusal::missing(&path)
                };
                return Err(refusal);
            };
            if !covers(ticket.scope, key, writable) {
                return Err(Refusal::permission(&path, request.flags));
            }
            if machine.writes_to(&parsed) {
                return Err(Refusal::multiwriter(&path));
            }
            if writable && machine.power == Power::On {
                return Err(Refusal::locked(&path));
            }
            (file, key, Arc::clone(&world.gate))
        };
        let options = OpenOptions::new()
            .writable(writable)
            .single_link(!request.flags.contains(OpenFlags::PARENTS))
            .ignore_locks(!writable && !request.flags.contains(OpenFlags::LOCK))
            .gate(gate);
        let disk = Disk::open(file, &options).map_err(|error| refusal_of(&error, &path))?;
        let info = disk.info();
        let capacity = info.capacity.get() * 512;
        // As seen on hosts: it looks like a negative number.
        let handle = 0xffff_ffff_8000_0000 | u64::from(number);
        let geometry = info.physical_geometry;
        let reply = FileOpened {
            status: 0,
            handle,
            file_type: request.file_type,
            flags: request.flags.0,
            capacity,
            sector_size: 512,
            geometry: Geometry {
                cylinders: geometry.cylinders,
                heads: geometry.heads,
                sectors: geometry.sectors,
            },
        };
        let opened = Self {
            disk,
            handle,
            writable,
            capacity,
            vm: ticket.vm.clone(),
            key,
            peer: Arc::clone(peer),
        };
        Ok((opened, reply))
    }

    /// Bytes were written: who tracks changes is told.
    pub(super) fn changed(&self, start: u64, length: u64) {
        if let Some(machine) = self.peer.site.world().machine_mut(&self.vm) {
            machine.changed(self.key, start..start.saturating_add(length));
        }
    }

    /// Whether whole sectors of the disk are meant.
    pub(super) fn check(&self, offset: u64, length: u64) -> Result<(), Refusal> {
        if length == 0 || !offset.is_multiple_of(512) || !length.is_multiple_of(512) {
            return Err(Refusal::new(
                FAILED,
                "offset and length are not whole sectors",
            ));
        }
        match offset.checked_add(length) {
            Some(end) if end <= self.capacity => Ok(()),
            _ => Err(Refusal::new(
                FAILED,
                "the range ends after the end of the disk",
            )),
        }
    }
}

fn covers(scope: Scope, key: i32, write: bool) -> bool {
    match scope {
        Scope::Vm => !write,
        Scope::Disk {
            key: covered,
            writable,
        } => covered == key && (writable || !write),
    }
}

fn injected(peer: &Peer, path: &str, flags: OpenFlags) -> Option<Refusal> {
    let reason = peer.happens(|injection| match injection {
        Injection::OpenRefused { reason } => Some(reason.clone()),
        _ => None,
    })?;
    Some(match reason {
        OpenRefusal::Locked => Refusal::locked(path),
        OpenRefusal::Missing => Refusal::missing(path),
        OpenRefusal::Permission => Refusal::permission(path, flags),
        OpenRefusal::MultiWriter => Refusal::multiwriter(path),
        OpenRefusal::Other { code, text } => Refusal { code, text },
    })
}

/// The error itself names files of this machine, which are none of the client's business.
pub(super) fn refusal_of(error: &Error, path: &str) -> Refusal {
    match error.kind() {
        ErrorKind::AlreadyLocked => Refusal::locked(path),
        ErrorKind::NotFound | ErrorKind::ExtentNotFound | ErrorKind::ParentNotFound => {
            Refusal::missing(path)
        }
        kind => Refusal::new(FAILED, format!("{path}: DiskLib error: {kind:?}")),
    }
}
