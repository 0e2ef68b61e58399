//! The data port.

use std::net::TcpStream;
use std::sync::Arc;

use crate::site::{Port, Site};
use crate::transcript::Event;

/// Serves one connection until it ends.
pub(crate) fn serve(site: &Arc<Site>, connection: u64, stream: TcpStream) {
    site.note(Event::NfcConnected { connection });
    drop(stream);
    site.note(Event::Disconnected {
        connection,
        port: Port::Nfc.name(),
        reason: "not served yet".to_owned(),
    });
}
