//! A login that all disks of a connection share.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use vsphere_nfc::{ConnectOptions, Host};

use super::error::failure;
use crate::error::Failure;

/// How often a server hears of a login: reading and writing disks does not count as use of it, and servers end an unused
/// one after half an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 60);

/// A login. It ends when this is dropped, and the disks that were opened with it.
#[derive(Debug)]
pub(super) struct Login {
    host: Arc<Host>,
    keeper: Mutex<Option<Keeper>>,
}

impl Login {
    pub(super) fn new(options: ConnectOptions) -> Result<Self, Failure> {
        let host = Host::connect(options).map_err(|error| failure(&error))?;
        Ok(Self {
            host: Arc::new(host),
            keeper: Mutex::new(None),
        })
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Keeps the login alive from now on. Without a thread for it the login may end; disks that are open then go on.
    pub(super) fn keep_alive(&self) {
        let mut keeper = self.keeper.lock();
        if keeper.is_none() {
            *keeper = Keeper::start(&self.host, KEEP_ALIVE);
        }
    }
}

/// A thread that uses a login now and then.
#[derive(Debug)]
struct Keeper {
    /// Nothing is sent; the thread ends when it is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(host: &Arc<Host>, every: Duration) -> Option<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let host: Weak<Host> = Arc::downgrade(host);
        let thread = thread::Builder::new().name("vixdisklib-login".to_owned());
        let thread = thread.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                let Some(host) = host.upgrade() else { return };
                // What is wrong shows when the login is needed, and may have passed by then.
                let _ = host.keep_alive();
            }
        });
        Some(Self {
            stop: Some(stop),
            thread: Some(thread.ok()?),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic. It is waited for because the library may be unloaded next.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use vsphere_nfc::{Credentials, Secret, TrustedCertificate};
    use vsphere_sim::{Event, Inventory, Profile, Simulator};

    use super::*;

    #[test]
    fn a_login_is_used_now_and_then_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let inventory = Inventory::demo(folder.path(), Profile::Esxi8Vcenter).expect("disks");
        let user = inventory.users[0].clone();
        let simulator = Simulator::builder(inventory).start().expect("it starts");
        let credentials = Credentials::Password {
            user: user.name,
            password: Secret::new(user.password.reveal().to_owned()),
        };
        let thumbprint = simulator.thumbprint_sha1().parse().expect("a thumbprint");
        let options = ConnectOptions::new("127.0.0.1", credentials)
            .port(simulator.address().port())
            .trusted(TrustedCertificate::Thumbprint(thumbprint));
        let login = Login::new(options).expect("a login");
        let calls = |name: &str| {
            let called =
                |event: &Event| matches!(event, Event::Called { method, .. } if method == name);
            simulator.transcript().count(called)
        };
        *login.keeper.lock() = Keeper::start(login.host(), Duration::from_millis(5));
        let deadline = Instant::now() + Duration::from_secs(30);
        while calls("CurrentTime") < 3 {
            assert!(Instant::now() < deadline, "the server hears nothing");
            thread::sleep(Duration::from_millis(5));
        }
        drop(login);
        assert_eq!(calls("Logout"), 1);
    }
}
