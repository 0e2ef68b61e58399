//! Connections for a disk, each with a ticket of its own.

use std::sync::Arc;

use super::Host;
use crate::authd;
use crate::dial::{Dial, Dialed};
use crate::error::{Error, ErrorKind};
use crate::soap::ManagedObject;
use crate::ticket::Access;
use crate::transport::Transport;

/// Which disk is to be reached, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPlace {
    /// The virtual machine that has the disk.
    pub vm: ManagedObject,
    /// The datastore path of the disk, such as `[datastore1] vm/vm.vmdk`.
    pub path: String,
    /// What the tickets shall permit.
    pub access: Access,
    /// How the bytes travel.
    pub transport: Transport,
}

/// Makes connections for one disk: takes a ticket at the server of a login and presents it to the host that it names.
///
/// It shares the login, which lives as long as the dialer does.
#[derive(Clone, Debug)]
pub struct DiskDialer {
    host: Arc<Host>,
    place: DiskPlace,
}

impl DiskDialer {
    /// A dialer for one disk. Nothing is sent yet.
    #[must_use]
    pub fn new(host: Arc<Host>, place: DiskPlace) -> Self {
        Self { host, place }
    }

    fn try_once(&self) -> Result<Dialed, Error> {
        let DiskPlace {
            vm,
            path,
            access,
            transport,
        } = &self.place;
        let ticket = self.host.ticket(vm, path, *access)?;
        authd::present(&ticket, *transport, self.host.tag, &self.host.timeouts)
    }
}

impl Dial for DiskDialer {
    /// A ticket that the host does not take, or hangs up on, is replaced once: it may have expired on the way.
    fn dial(&self) -> Result<Dialed, Error> {
        match self.try_once() {
            Err(error) if is_stale_ticket(&error) => {
                tracing::debug!(%error, "taking another ticket");
                self.try_once()
            }
            result => result,
        }
    }
}

fn is_stale_ticket(error: &Error) -> bool {
    error.operation() == Some(crate::Operation::Authorize)
        && matches!(
            error.kind(),
            ErrorKind::TicketRejected | ErrorKind::ConnectionLost
        )
}
