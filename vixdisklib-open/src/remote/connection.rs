//! A connection to a server, through which disks are opened.

use std::path::Path;
use std::sync::Arc;

use vixdisklib_sys::VixError;
use vsphere_nfc::{
    Access, DiskDialer, DiskPlace, Error, ErrorKind, ManagedObject, OpenOptions, Operation,
    RemoteDisk, Timeouts, Transport,
};

use super::disk::{Chain, Disk};
use super::error::failure;
use super::login::Login;
use super::parameters::{options, timeouts};
use super::target::Target;
use super::transports::Transports;
use crate::config::Network;
use crate::error::Failure;
use crate::log::Log;
use crate::mode::{Compression, Mode};
use crate::params::ConnectParams;

/// What a caller says besides the parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    /// The id of the snapshot whose disks will be opened.
    pub(crate) snapshot: Option<&'a str>,
    /// A list with colons.
    pub(crate) transports: Option<&'a str>,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    login: Login,
    target: Target,
    snapshot: Option<ManagedObject>,
    transports: Transports,
    /// The buffers that hosts are asked for: bytes, and how many.
    buffers: (Option<u32>, Option<u32>),
    timeouts: Timeouts,
}

impl Connection {
    /// Checks what it is for, and logs in. Whether the disks are there shows when they are opened.
    pub(crate) fn new(
        params: &ConnectParams,
        request: Request<'_>,
        network: &Network,
    ) -> Result<Self, Failure> {
        let options = options(params, network)?;
        let target = Target::new(params)?;
        let snapshot = request.snapshot.filter(|id| !id.is_empty());
        if snapshot.is_some() && matches!(target, Target::Fcd(_)) {
            return Err(Failure::new(
                VixError::INVALID_ARG,
                "snapshotRef is for virtual machines; the snapshot of a first class disk is named in its spec (ssId)",
            ));
        }
        Ok(Self {
            login: Login::new(options)?,
            target,
            snapshot: snapshot.map(ManagedObject::snapshot),
            transports: Transports::new(request.transports),
            buffers: (network.buffer_size, network.buffer_count),
            timeouts: timeouts(network),
        })
    }

    /// Opens a disk over the first transport that works. Disks of a snapshot are for reading only.
    pub(crate) fn open(&self, path: Option<&Path>, mode: Mode, log: &Log) -> Result<Disk, Failure> {
        let path = path.map(utf8).transpose()?;
        let (usable, refused) = self.transports.sorted_out();
        if usable.is_empty() {
            return Err(self.transports.none_left(&refused));
        }
        for reason in refused {
            note(log, &format!("transport left out: {reason}"));
        }
        let (vm, path) = self.target.find(self.login.host(), path)?;
        let chain = self.chain(&vm, &path, log)?;
        let mut failed: Option<Error> = None;
        for transport in usable {
            if let Some(error) = failed.take() {
                let name = transport.name();
                warn(log, &format!("{error}; {name} is tried instead"));
            }
            match self.open_over(transport, &vm, &path, mode) {
                Ok(disk) => {
                    if transport == Transport::Nbd {
                        warn(log, &format!("{path}: nbd sends data in clear text"));
                    }
                    self.login.keep_alive();
                    return Ok(Disk::new(disk, transport, chain));
                }
                Err(error) => {
                    let may_depend_on_transport = is_about_transport(&error);
                    failed = Some(error);
                    if !may_depend_on_transport {
                        break;
                    }
                }
            }
        }
        let error = failed.expect("there was at least one transport, and none has worked");
        Err(failure(&error))
    }

    /// The links of the disk, as the server knows them: those of the snapshot if there is one.
    fn chain(&self, vm: &ManagedObject, path: &str, log: &Log) -> Result<Chain, Failure> {
        let owner = self.snapshot.as_ref().unwrap_or(vm);
        let disks = self
            .login
            .host()
            .disks(owner)
            .map_err(|error| failure(&error))?;
        let links = disks.iter().find_map(|disk| {
            let place = disk.files.iter().position(|file| file == path)?;
            disk.files.get(place..)
        });
        if links.is_none() {
            // The host decides: a ticket for reading is for all files of the virtual machine.
            let known: Vec<_> = disks.iter().filter_map(|disk| disk.files.first()).collect();
            note(log, &format!("{owner} has no disk {path}, but {known:?}"));
        }
        Ok(Chain::new(links.unwrap_or_default()))
    }

    fn open_over(
        &self,
        transport: Transport,
        vm: &ManagedObject,
        path: &str,
        mode: Mode,
    ) -> Result<RemoteDisk, Error> {
        let writable = mode.writable && !self.is_read_only();
        let place = DiskPlace {
            vm: vm.clone(),
            path: path.to_owned(),
            access: if writable {
                Access::Writable
            } else {
                Access::ReadOnly
            },
            transport,
        };
        let mut options = OpenOptions::new()
            .writable(writable)
            .single_link(mode.single_link)
            .compression(compression(mode.compression))
            .timeouts(self.timeouts);
        if let Some(size) = self.buffers.0 {
            options = options.buffer_size(size);
        }
        if let Some(count) = self.buffers.1 {
            options = options.buffer_count(count);
        }
        let dialer = DiskDialer::new(Arc::clone(self.login.host()), place);
        RemoteDisk::open(dialer, path, &options)
    }

    /// Whether disks can be opened for reading only: what is newer than a snapshot stands on it.
    pub(crate) fn is_read_only(&self) -> bool {
        self.snapshot.is_some() || self.target.is_snapshot()
    }
}

/// Whether another transport may do what this one did not: a host that does not offer the service, or cannot begin with it.
fn is_about_transport(error: &Error) -> bool {
    error.operation() == Some(Operation::Authorize)
        && matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Protocol)
}

fn compression(compression: Compression) -> vsphere_nfc::Compression {
    match compression {
        Compression::None => vsphere_nfc::Compression::None,
        Compression::Zlib => vsphere_nfc::Compression::Zlib,
        Compression::FastLz => vsphere_nfc::Compression::FastLz,
        Compression::SkipZ => vsphere_nfc::Compression::SkipZ,
    }
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::new(
            VixError::INVALID_UTF8_STRING,
            format!("the path {path:?} is not UTF-8"),
        )
    })
}

fn note(log: &Log, line: &str) {
    log.note(&format!("VixDiskLib_Open: {line}"));
}

fn warn(log: &Log, line: &str) {
    log.warn(&format!("VixDiskLib_Open: {line}"));
}
