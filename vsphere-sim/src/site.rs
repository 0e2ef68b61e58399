//! What the two ports share.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use vmdk_engine::{Disk, OpenOptions, Sector};

use crate::budget::Budget;
use crate::injection::{Injection, Injections};
use crate::limits::Limits;
use crate::listener::Listener;
use crate::profile::Profile;
use crate::soap;
use crate::tls::Identity;
use crate::transcript::{Event, Transcript};
use crate::world::{Sessions, Tickets, World};

/// A simulated server, whatever asks it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) profile: Profile,
    world: Mutex<World>,
    changed: Condvar,
    pub(crate) sessions: Sessions,
    pub(crate) tickets: Tickets,
    pub(crate) injections: Injections,
    pub(crate) transcript: Transcript,
    pub(crate) limits: Limits,
    /// So much later comes every message, as from far away.
    pub(crate) latency: Duration,
    /// What the management port shows.
    pub(crate) management: Identity,
    /// What the data port shows.
    pub(crate) data: Identity,
    /// A second certificate for each port, for injections.
    pub(crate) other_management: Identity,
    pub(crate) other_data: Identity,
    /// The present data port.
    pub(crate) data_port: AtomicU16,
    pub(crate) connections: Connections,
    /// The memory of the host for sessions, in bytes.
    pub(crate) memory: Arc<Budget>,
    /// How many sessions there may be.
    pub(crate) sessions_left: Arc<Budget>,
    pub(crate) soap: soap::Shared,
    listeners: Mutex<Vec<Listener>>,
    stopping: AtomicBool,
}

/// What a site is made of.
pub(crate) struct Parts {
    pub(crate) world: World,
    pub(crate) limits: Limits,
    pub(crate) latency: Duration,
    pub(crate) identities: [Identity; 4],
}

impl Site {
    pub(crate) fn new(parts: Parts) -> Self {
        let transcript = Transcript::new();
        let [management, other_management, data, other_data] = parts.identities;
        Self {
            profile: parts.world.profile,
            world: Mutex::new(parts.world),
            changed: Condvar::new(),
            sessions: Sessions::new(parts.limits.soap_idle),
            tickets: Tickets::new(parts.limits.ticket_lifetime),
            injections: Injections::new(transcript.clone()),
            transcript,
            memory: Budget::new(parts.limits.host_memory),
            sessions_left: Budget::new(parts.limits.nfc_sessions.try_into().unwrap_or(u64::MAX)),
            limits: parts.limits,
            latency: parts.latency,
            management,
            data,
            other_management,
            other_data,
            data_port: AtomicU16::new(0),
            connections: Connections::default(),
            soap: soap::Shared::default(),
            listeners: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    pub(crate) fn world_mutex(&self) -> &Mutex<World> {
        &self.world
    }

    /// Writes to the newest link of a disk.
    pub(crate) fn write_as_guest(
        &self,
        vm: &str,
        key: i32,
        start: Sector,
        data: &[u8],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (place, gate) = {
            let world = self.world();
            let disk = world.machine(vm).and_then(|machine| machine.disk(key));
            let place = disk.and_then(|disk| world.locate(disk.links.first()?));
            (
                place.ok_or("there is no such disk")?,
                Arc::clone(&world.gate),
            )
        };
        let disk = Disk::open(place, &OpenOptions::new().writable(true).gate(gate))?;
        disk.write_at(start, data)?;
        disk.close()?;
        let begin = start.get() * 512;
        if let Some(machine) = self.world().machine_mut(vm) {
            machine.changed(key, begin..begin + data.len() as u64);
        }
        Ok(())
    }

    /// Something in the world is not as it was.
    pub(crate) fn tell_change(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change for at most so long.
    pub(crate) fn await_change(&self, world: &mut MutexGuard<'_, World>, patience: Duration) {
        self.changed.wait_for(world, patience);
    }

    pub(crate) fn note(&self, event: Event) {
        self.transcript.add(event);
    }

    pub(crate) fn injected(&self, connection: u64, injection: &Injection) -> bool {
        self.injections.is(Some(connection), injection)
    }

    /// Opens a port; gives its address. The present data port is the last one that was opened.
    pub(crate) fn listen(
        self: &Arc<Self>,
        port: Port,
        address: SocketAddr,
    ) -> io::Result<SocketAddr> {
        let mut listeners = self.listeners.lock();
        if self.is_stopping() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let listener = Listener::bind(self, port, address)?;
        let address = listener.address();
        listeners.push(listener);
        if port == Port::Nfc {
            self.data_port.store(address.port(), Ordering::Release);
        }
        Ok(address)
    }

    /// Lets the machines move to another host, which has another data port.
    pub(crate) fn switch_host(self: &Arc<Self>) -> io::Result<()> {
        let ip = self
            .listeners
            .lock()
            .first()
            .map(|listener| listener.address().ip());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.listen(Port::Nfc, SocketAddr::new(ip, 0))?;
        self.connections.shut_down(|port| port == Port::Nfc);
        Ok(())
    }

    /// Ends all connections, lets no new ones in, and waits until all threads have ended.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.connections.shut_down(|_| true);
        self.tell_change();
        let listeners = mem::take(&mut *self.listeners.lock());
        for listener in listeners {
            listener.stop();
        }
        let mut world = self.world();
        while world.machines.iter().any(|machine| machine.busy.is_some()) {
            self.await_change(&mut world, Duration::from_secs(1));
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Which port a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Soap,
    Nfc,
}

impl Port {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Soap => "soap",
            Self::Nfc => "nfc",
        }
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    last: AtomicU64,
    open: Mutex<HashMap<u64, (Port, TcpStream)>>,
}

impl Connections {
    /// Registers a connection unless there are too many; gives its number.
    pub(crate) fn add(&self, port: Port, stream: &TcpStream, limit: usize) -> Option<u64> {
        let stream = stream.try_clone().ok()?;
        let mut open = self.open.lock();
        if open.values().filter(|(known, _)| *known == port).count() >= limit {
            return None;
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        open.insert(number, (port, stream));
        Some(number)
    }

    pub(crate) fn remove(&self, number: u64) {
        self.open.lock().remove(&number);
    }

    pub(crate) fn count(&self, port: Port) -> usize {
        self.open
            .lock()
            .values()
            .filter(|(known, _)| *known == port)
            .count()
    }

    /// Ends the connections of some ports.
    pub(crate) fn shut_down(&self, of: impl Fn(Port) -> bool) {
        for (port, stream) in self.open.lock().values() {
            if of(*port) {
                // It may have ended by itself.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}
