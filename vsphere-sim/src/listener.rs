//! Letting clients in.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::site::{Port, Site};
use crate::{nfc, soap};

/// A port, and the thread that lets clients in.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Listener {
    pub(crate) fn bind(site: &Arc<Site>, port: Port, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let site = Arc::clone(site);
        let thread = thread::Builder::new()
            .name(format!("sim-{}", port.name()))
            .spawn(move || accept(&site, port, &listener))?;
        Ok(Self { address, thread })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The site is stopping already; a connection makes the thread see it.
    pub(crate) fn stop(self) {
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
        // Its panics were reported when they happened.
        let _ = self.thread.join();
    }
}

fn accept(site: &Arc<Site>, port: Port, listener: &TcpListener) {
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        if site.is_stopping() {
            break;
        }
        clients.retain(|client| !client.is_finished());
        let Ok(stream) = stream else { continue };
        // After a change of the host the old one lets nobody in.
        let is_old = port == Port::Nfc
            && listener
                .local_addr()
                .is_ok_and(|address| address.port() != site.data_port.load(Ordering::Acquire));
        let admitted = if is_old {
            None
        } else {
            site.connections.add(port, &stream, site.limits.connections)
        };
        let Some(number) = admitted else { continue };
        let served = Arc::clone(site);
        let name = format!("sim-{}-{number}", port.name());
        let client = thread::Builder::new().name(name).spawn(move || {
            match port {
                Port::Soap => soap::serve(&served, number, stream),
                Port::Nfc => nfc::serve(&served, number, stream),
            }
            served.connections.remove(number);
        });
        match client {
            Ok(client) => clients.push(client),
            Err(_) => site.connections.remove(number),
        }
        // One that came between the last look and now is not forgotten.
        if site.is_stopping() {
            site.connections.shut_down(|_| true);
        }
    }
    for client in clients {
        // Its panics were reported when they happened.
        let _ = client.join();
    }
}
