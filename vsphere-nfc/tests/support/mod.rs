//! Servers that answer as a test tells them to.

#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod authd;
pub(crate) mod soap;
pub(crate) mod tls;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A listener on a port of its own that gives each connection to a thread, until it is dropped.
pub(crate) struct Listener {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn new(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = Arc::new(serve);
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = connection.expect("a connection");
                let limit = Some(Duration::from_secs(20));
                connection.set_read_timeout(limit).expect("a limit");
                connection.set_write_timeout(limit).expect("a limit");
                connection.set_nodelay(true).expect("an option");
                let serve = Arc::clone(&serve);
                // Clients hang up whenever they like; tests look at what came.
                thread::spawn(move || drop(serve(connection)));
            }
        });
        Self {
            port,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the listener ends");
        }
    }
}
