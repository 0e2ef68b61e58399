//! Starting a simulated server, changing it while it runs, stopping it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vmdk_engine::Sector;

use crate::injection::Plan;
use crate::inventory::{Inventory, InventoryError};
use crate::limits::Limits;
use crate::site::{Parts, Port, Site};
use crate::tls::{Identity, IdentityError};
use crate::transcript::Transcript;
use crate::world::World;

/// Why a simulator does not start, or does not do what it is told.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SimulatorError {
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SimulatorError {
    pub(crate) fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}

impl From<IdentityError> for SimulatorError {
    fn from(error: IdentityError) -> Self {
        Self::because("no certificates for the ports", error)
    }
}

impl From<InventoryError> for SimulatorError {
    fn from(error: InventoryError) -> Self {
        Self::because("no inventory", error)
    }
}

/// How a simulator is to be; see [`Simulator::builder`].
#[derive(Debug)]
pub struct Builder {
    inventory: Inventory,
    limits: Limits,
    latency: Duration,
    address: IpAddr,
    port: u16,
    nfc_port: u16,
    plans: Vec<Plan>,
}

impl Builder {
    /// The port for SOAP; 0, the default, takes any free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The port for data; 0, the default, takes any free one. Tickets tell it to clients.
    #[must_use]
    pub fn nfc_port(mut self, port: u16) -> Self {
        self.nfc_port = port;
        self
    }

    /// Where to listen. Default: 127.0.0.1, since whoever reaches a simulator and knows a user's password can read and
    /// write the disks.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// How much the server takes.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Every message of the server comes so much later, as if it were far away: messages that are on their way at the
    /// same time do not wait for each other.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Something goes wrong, from the start.
    #[must_use]
    pub fn inject(mut self, plan: impl Into<Plan>) -> Self {
        self.plans.push(plan.into());
        self
    }

    /// Starts the server: when this returns, clients can connect.
    ///
    /// # Errors
    /// When the inventory cannot be, a disk in it does not open, or a port is taken.
    pub fn start(self) -> Result<Simulator, SimulatorError> {
        let inventory = self.inventory.complete()?;
        let world = World::new(inventory)
            .map_err(|error| SimulatorError::because("a disk of the inventory", error))?;
        let site = Arc::new(Site::new(Parts {
            world,
            limits: self.limits,
            latency: self.latency,
            identities: [
                Identity::for_management()?,
                Identity::for_management()?,
                Identity::for_data()?,
                Identity::for_data()?,
            ],
        }));
        for plan in self.plans {
            site.injections.add(plan);
        }
        let site = Running(site);
        let listen = |port, number| {
            let address = SocketAddr::new(self.address, number);
            let failed = |error| SimulatorError::because(format!("listening at {address}"), error);
            site.0.listen(port, address).map_err(failed)
        };
        let address = listen(Port::Soap, self.port)?;
        listen(Port::Nfc, self.nfc_port)?;
        Ok(Simulator { address, site })
    }
}

/// A running simulator. Dropping it stops it: its threads have ended then, and its disks are closed.
pub struct Simulator {
    site: Running,
    address: SocketAddr,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("profile", &self.site.0.profile)
            .field("address", &self.address)
            .field("nfc_port", &self.nfc_port())
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// A simulator for this inventory, with the defaults of its profile.
    #[must_use]
    pub fn builder(inventory: Inventory) -> Builder {
        Builder {
            limits: Limits::for_profile(inventory.profile),
            inventory,
            latency: Duration::ZERO,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            nfc_port: 0,
            plans: Vec::new(),
        }
    }

    /// Where SOAP is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port for data.
    #[must_use]
    pub fn nfc_port(&self) -> u16 {
        self.site.0.data_port.load(Ordering::Acquire)
    }

    /// The SHA-1 of the management port's certificate: pairs of upper-case hex digits, joined by colons.
    #[must_use]
    pub fn thumbprint_sha1(&self) -> String {
        self.site.0.management.sha1()
    }

    /// The SHA-256 of the management port's certificate, likewise.
    #[must_use]
    pub fn thumbprint_sha256(&self) -> String {
        self.site.0.management.sha256()
    }

    /// The certificate of the management port, DER encoded, for clients that verify by authority: it is its own.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.site.0.management.certificate()
    }

    /// What clients did so far.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.site.0.transcript.clone()
    }

    /// Something goes wrong from now on.
    pub fn inject(&self, plan: impl Into<Plan>) {
        self.site.0.injections.add(plan.into());
    }

    /// Takes back the injections of this name, or all; gives how many there were.
    pub fn clear(&self, name: Option<&str>) -> usize {
        self.site.0.injections.remove(name)
    }

    /// What may go wrong, and how often each did.
    #[must_use]
    pub fn injections(&self) -> Vec<(Plan, u32)> {
        self.site.0.injections.list()
    }

    /// How many connections to the data port are open.
    #[must_use]
    pub fn nfc_connections(&self) -> usize {
        self.site.0.connections.count(Port::Nfc)
    }

    /// The bytes of memory that sessions have now, of [`Limits::host_memory`].
    #[must_use]
    pub fn memory_in_use(&self) -> u64 {
        self.site.0.memory.used()
    }

    /// Writes to a disk as the system in a machine does: to the newest link, which is seen by who tracks changes. `vm` is
    /// the id of the machine, `key` that of the disk, `start` counts sectors of 512 bytes; `data` is whole sectors.
    ///
    /// # Errors
    /// When there is no such disk, it is in use, or it does not end after the data.
    pub fn write_as_guest(
        &self,
        vm: &str,
        key: i32,
        start: Sector,
        data: &[u8],
    ) -> Result<(), SimulatorError> {
        let what = format!("writing to the disk {key} of {vm}");
        let written = self.site.0.write_as_guest(vm, key, start, data);
        written.map_err(|error| SimulatorError::because(what, error))
    }

    /// Ends all logins, as if they had been idle for too long.
    pub fn expire_sessions(&self) {
        self.site.0.sessions.end_all();
    }

    /// Ends all connections to the data port.
    pub fn disconnect_all(&self) {
        self.site.0.connections.shut_down(|port| port == Port::Nfc);
    }

    /// Lets the machines move to another host: ends all connections to the data port, and opens another one, which new
    /// tickets name. The old one refuses connections.
    ///
    /// # Errors
    /// When no port is free.
    pub fn switch_host(&self) -> Result<(), SimulatorError> {
        let failed = |error| SimulatorError::because("a new data port", error);
        self.site.0.switch_host().map_err(failed)
    }
}

/// A site that is stopped when this is dropped.
struct Running(Arc<Site>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}
