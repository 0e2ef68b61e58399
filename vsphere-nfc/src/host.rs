//! A login at a vCenter or an ESXi host, and what it is good for.

mod dialing;
mod options;

use disk_units::ByteLen;
use parking_lot::Mutex;

use crate::authd::TagKind;
use crate::error::{Error, Operation, Result};
use crate::secret::Secret;
use crate::soap::{
    ApiType, CallError, CallLimits, ChangedAreas, Client, Fcd, FcdSpec, ManagedObject, Session,
    SnapshotOptions, VmDisk, VmSpec,
};
use crate::ticket::{Access, Ticket};
use crate::timeouts::Timeouts;
use crate::tls;

pub use dialing::{DiskDialer, DiskPlace};
pub use options::ConnectOptions;

/// A login at a vCenter or an ESXi host.
///
/// One login serves any number of disks and threads: all calls take `&self`, and run at the same time. Every call
/// blocks until the server has answered or the time for it is over.
///
/// Reading and writing disks does not count as use of the login, which the server ends after half an hour or so: call
/// [`keep_alive`](Self::keep_alive) every ten minutes. A login by password renews itself when it has ended.
///
/// Dropping it logs out, as [`close`](Self::close) does, but hides failures.
///
/// ```
/// use std::sync::Arc;
///
/// use vsphere_nfc::{
///     Access, ConnectOptions, Credentials, DiskDialer, DiskPlace, Host, OpenOptions, RemoteDisk, Secret, Sector,
///     Transport, TrustedCertificate, VmSpec,
/// };
///
/// # use vsphere_sim::{Inventory, Profile, Simulator};
/// # let scratch = tempfile::tempdir()?;
/// # let inventory = Inventory::demo(scratch.path(), Profile::Esxi8Vcenter)?;
/// # let (user, uuid) = (inventory.users[0].clone(), inventory.vms[0].uuid.clone());
/// # let simulator = Simulator::builder(inventory).start()?;
/// # let (server, port) = ("127.0.0.1", simulator.address().port());
/// # let thumbprint = simulator.thumbprint_sha256();
/// # let (user, password) = (user.name, user.password.reveal().to_owned());
/// let credentials = Credentials::Password { user, password: Secret::new(password) };
/// let options = ConnectOptions::new(server, credentials)
///     .port(port)
///     .trusted(TrustedCertificate::Thumbprint(thumbprint.parse()?));
/// let host = Arc::new(Host::connect(options)?);
///
/// let path = "[datastore1] web/web.vmdk";
/// let place = DiskPlace {
///     vm: host.vm(&VmSpec::Uuid(uuid))?,
///     path: path.to_owned(),
///     access: Access::ReadOnly,
///     transport: Transport::NbdSsl,
/// };
/// let disk = RemoteDisk::open(DiskDialer::new(host, place), path, &OpenOptions::new())?;
/// let mut first = [0; 512];
/// disk.read_at(Sector::new(0), &mut first)?;
/// disk.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Host {
    session: Session,
    timeouts: Timeouts,
    nfc_port: Option<u16>,
    tag: TagKind,
    nfc_service: Mutex<Option<ManagedObject>>,
    closed: bool,
}

impl Host {
    /// Connects to a server, checks its certificate, agrees on a version of the API, and logs in.
    ///
    /// # Errors
    /// [`ErrorKind::Certificate`](crate::ErrorKind::Certificate) if the server is not the expected one; nothing secret
    /// was sent then. [`ErrorKind::LoginFailed`](crate::ErrorKind::LoginFailed) if it does not let the user in,
    /// [`ErrorKind::CannotConnect`](crate::ErrorKind::CannotConnect) if it is no vSphere or speaks only unknown
    /// versions, [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if an option is malformed, and the
    /// kinds of failed connections.
    pub fn connect(options: ConnectOptions) -> Result<Self> {
        let place = options.server.clone();
        Self::connect_to(options).map_err(|error| error.during(Operation::Connect, place))
    }

    fn connect_to(options: ConnectOptions) -> Result<Self> {
        let ConnectOptions {
            server,
            port,
            nfc_port,
            tag,
            credentials,
            trusted,
            timeouts,
        } = options;
        // A literal IPv6 address may come as it stands in URLs.
        let host = server
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&server);
        let config = tls::trusting(&trusted)?;
        let limits = CallLimits {
            connect: timeouts.connect,
            answer: timeouts.request,
        };
        let client = Client::connect(host, port, config, limits)?;
        Ok(Self {
            session: Session::begin(client, credentials)?,
            timeouts,
            nfc_port,
            tag,
            nfc_service: Mutex::new(None),
            closed: false,
        })
    }

    /// Whether a vCenter or an ESXi host answers.
    #[must_use]
    pub fn api_type(&self) -> ApiType {
        self.session.content.api_type
    }

    /// The version of the server's API, such as `8.0.3.0`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.session.content.api_version
    }

    /// The server's product and version in its own words.
    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.session.content.full_name
    }

    /// Looks for a virtual machine. An id is taken as it is; the server is asked about all other names.
    ///
    /// # Errors
    /// [`ErrorKind::VmNotFound`](crate::ErrorKind::VmNotFound), and those of any call.
    pub fn vm(&self, spec: &VmSpec) -> Result<ManagedObject> {
        let found = self.session.find_vm(spec);
        found.map_err(|error| error.during(Operation::Find, spec.to_string()))
    }

    /// The disks of a virtual machine as it is, or of a snapshot as it was when it was made, in the order of the
    /// server.
    ///
    /// # Errors
    /// [`ErrorKind::VmNotFound`](crate::ErrorKind::VmNotFound), and those of any call.
    pub fn disks(&self, owner: &ManagedObject) -> Result<Vec<VmDisk>> {
        let disks = self.session.disks(owner);
        disks.map_err(during(Operation::Inspect, owner))
    }

    /// The number of the disk of a virtual machine that has this datastore path, such as `[datastore1] vm/vm.vmdk`,
    /// itself or as one of its parents.
    ///
    /// # Errors
    /// [`ErrorKind::FileNotFound`](crate::ErrorKind::FileNotFound) if no disk has it,
    /// [`ErrorKind::VmNotFound`](crate::ErrorKind::VmNotFound), and those of any call.
    pub fn disk_key(&self, vm: &ManagedObject, path: &str) -> Result<i32> {
        match self.session.disk_and_host(vm, path) {
            Ok((disk, _)) => Ok(disk.key),
            Err(error) => Err(error.during(Operation::Inspect, vm.to_string())),
        }
    }

    /// A ticket for one connection to the host that has a disk of a virtual machine.
    ///
    /// `path` is a datastore path. It is looked up where the ticket is for one disk only; otherwise the host will check
    /// it when the disk is opened.
    ///
    /// # Errors
    /// [`ErrorKind::FileNotFound`](crate::ErrorKind::FileNotFound) if the virtual machine has no such disk,
    /// [`ErrorKind::VmNotFound`](crate::ErrorKind::VmNotFound),
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied), and those of any call.
    pub fn ticket(&self, vm: &ManagedObject, path: &str, access: Access) -> Result<Ticket> {
        let taken = self.take_ticket(vm, path, access);
        taken
            .map(|ticket| Ticket {
                port: self.nfc_port.unwrap_or(ticket.port),
                ..ticket
            })
            .map_err(|error| error.during(Operation::Ticket, format!("{path} of {vm}")))
    }

    fn take_ticket(&self, vm: &ManagedObject, path: &str, access: Access) -> Result<Ticket> {
        let service = self.nfc_service()?;
        if access == Access::ReadOnly {
            return Ok(self.session.vm_ticket(&service, vm)?);
        }
        let (disk, host) = self.session.disk_and_host(vm, path)?;
        let writable = access == Access::Writable;
        let ticket = self
            .session
            .disk_ticket(&service, vm, disk.key, host.as_ref(), writable);
        Ok(ticket?)
    }

    /// The version of the disk service of the host that runs a virtual machine: 11 on ESXi 8, 7 to 9 on ESXi 7; none
    /// when the host is too old to tell.
    ///
    /// # Errors
    /// Those of any call.
    pub fn nfc_version(&self, vm: &ManagedObject) -> Result<Option<i32>> {
        let version = || -> Result<_> {
            let service = self.nfc_service()?;
            let host = self.session.host_of(vm)?;
            match self.session.nfc_version(&service, &host) {
                Err(CallError::Fault(fault)) if fault.is_unsupported() => Ok(None),
                version => Ok(Some(version?)),
            }
        };
        version().map_err(|error| error.during(Operation::Inspect, vm.to_string()))
    }

    fn nfc_service(&self) -> Result<ManagedObject, CallError> {
        if let Some(known) = self.nfc_service.lock().clone() {
            return Ok(known);
        }
        let service = self.session.nfc_service()?;
        *self.nfc_service.lock() = Some(service.clone());
        Ok(service)
    }

    /// Forbids vCenter to move a virtual machine while its disks are being read, until
    /// [`end_access`](Self::end_access) is called with the same identity, by whomever. An identity has 1 to 50
    /// characters.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the server is no vCenter,
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if it is forbidden already under this identity, as after a crash, and
    /// those of any call.
    #[doc(alias = "VixDiskLib_PrepareForAccess")]
    pub fn prepare_access(&self, vm: &ManagedObject, identity: &str) -> Result<()> {
        let done = self.session.forbid_relocation(vm, identity);
        done.map_err(|error| error.during(Operation::Access, vm.to_string()))
    }

    /// Permits again what [`prepare_access`](Self::prepare_access) forbids.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the server is no vCenter, and those of any call.
    #[doc(alias = "VixDiskLib_EndAccess")]
    pub fn end_access(&self, vm: &ManagedObject, identity: &str) -> Result<()> {
        let done = self.session.permit_relocation(vm, identity);
        done.map_err(|error| error.during(Operation::Access, vm.to_string()))
    }

    /// Makes a snapshot of a virtual machine, without its memory, and waits until it is there: four hours at most.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`](crate::ErrorKind::Failed) if the machine is in no state for it,
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut), and those of any call.
    pub fn create_snapshot(
        &self,
        vm: &ManagedObject,
        options: &SnapshotOptions,
    ) -> Result<ManagedObject> {
        let made = self.session.create_snapshot(vm, options);
        made.map_err(|error| error.during(Operation::Snapshot, vm.to_string()))
    }

    /// Removes a snapshot, keeps those that build on it, and waits until it is gone: four hours at most.
    ///
    /// # Errors
    /// [`ErrorKind::ObjectNotFound`](crate::ErrorKind::ObjectNotFound) if it is gone already, and those of
    /// [`create_snapshot`](Self::create_snapshot).
    pub fn remove_snapshot(&self, snapshot: &ManagedObject) -> Result<()> {
        let removed = self.session.remove_snapshot(snapshot);
        removed.map_err(|error| error.during(Operation::Snapshot, snapshot.to_string()))
    }

    /// Lets the server note which areas of a virtual machine's disks change. It begins with the next snapshot.
    ///
    /// # Errors
    /// Those of [`create_snapshot`](Self::create_snapshot).
    pub fn track_changes(&self, vm: &ManagedObject) -> Result<()> {
        let done = self.session.track_changes(vm);
        done.map_err(|error| error.during(Operation::Snapshot, vm.to_string()))
    }

    /// The areas of a disk that have changed between the moment of a change id and that of a snapshot, or now.
    ///
    /// `key` is that of the disk, `start` where to begin in bytes. The answer may end before the disk does: ask again
    /// from there. The change id `*` asks for all areas that are in use.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the change id is of another disk or too
    /// old, [`ErrorKind::FileNotFound`](crate::ErrorKind::FileNotFound) if changes were not tracked, and those of any
    /// call.
    pub fn changed_areas(
        &self,
        vm: &ManagedObject,
        snapshot: Option<&ManagedObject>,
        key: i32,
        start: ByteLen,
        change_id: &str,
    ) -> Result<ChangedAreas> {
        let areas = self
            .session
            .changed_areas(vm, snapshot, key, start, change_id);
        areas.map_err(during(Operation::ChangedAreas, vm))
    }

    /// Where a first class disk, or a snapshot of one, is, and which virtual machine uses it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the server is no vCenter,
    /// [`ErrorKind::ObjectNotFound`](crate::ErrorKind::ObjectNotFound), and those of any call.
    pub fn fcd(&self, spec: &FcdSpec) -> Result<Fcd> {
        let found = self.session.fcd(spec);
        found.map_err(|error| error.during(Operation::FirstClassDisk, &spec.id))
    }

    /// The ids of the snapshots of a first class disk, in the order of the server.
    ///
    /// # Errors
    /// Those of [`fcd`](Self::fcd).
    pub fn fcd_snapshots(&self, spec: &FcdSpec) -> Result<Vec<String>> {
        let found = self.session.fcd_snapshots(spec);
        found.map_err(|error| error.during(Operation::FirstClassDisk, &spec.id))
    }

    /// A ticket with which somebody else, or another connection, gets a login of the same user, once.
    ///
    /// # Errors
    /// Those of any call.
    pub fn clone_ticket(&self) -> Result<Secret> {
        let ticket = self.session.clone_ticket();
        ticket.map_err(during(Operation::CloneTicket, self.session.host()))
    }

    /// Lets the login not expire; every ten minutes is enough. A login by password that has expired is renewed.
    ///
    /// # Errors
    /// [`ErrorKind::NotAuthenticated`](crate::ErrorKind::NotAuthenticated) if the login has ended for good, and those
    /// of any call.
    pub fn keep_alive(&self) -> Result<()> {
        let time = self.session.current_time();
        time.map(drop)
            .map_err(during(Operation::KeepAlive, self.session.host()))
    }

    /// Whether the server still knows the login; it is not renewed. Many servers answer this only to administrators,
    /// and ESXi hosts not at all.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for the session of somebody else and where the server
    /// does not know the question, and those of any call.
    pub fn is_active(&self) -> Result<bool> {
        let active = self.session.is_active();
        active.map_err(|error| error.during(Operation::KeepAlive, self.session.host()))
    }

    /// Logs out. A session that somebody else made stays as it is, and so do open disks.
    ///
    /// # Errors
    /// Those of any call; the login ends then by itself after some time.
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        let ended = self.session.end();
        ended.map_err(during(Operation::Close, self.session.host()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.closed
            && let Err(error) = self.session.end()
        {
            tracing::warn!(host = self.session.host(), %error, "logging out failed");
        }
    }
}

fn during(operation: Operation, object: impl std::fmt::Display) -> impl FnOnce(CallError) -> Error {
    move |error| Error::from(error).during(operation, object.to_string())
}
