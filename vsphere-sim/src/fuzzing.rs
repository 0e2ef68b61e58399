//! Entries for fuzzers: what hostile clients send, and all that is answered. Not a part of the API.

#![allow(
    clippy::missing_panics_doc,
    reason = "to panic is how a finding is reported"
)]

use std::io::{self, Cursor, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use zeroize::Zeroizing;

use crate::inventory::{Inventory, Power};
use crate::limits::Limits;
use crate::nfc;
use crate::profile::Profile;
use crate::site::{Parts, Site};
use crate::soap;
use crate::tls::Identity;
use crate::world::{Scope, Ticket, World};

/// A demonstration that is asked.
pub struct Target {
    site: Arc<Site>,
    cookie: Zeroizing<String>,
    listener: TcpListener,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Target {
    /// Makes the demonstration in a folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let mut inventory = Inventory::demo(folder, Profile::Esxi8Vcenter).expect("it is made");
        for vm in &mut inventory.vms {
            // So that all disks open.
            vm.power = Power::Off;
        }
        let mut limits = Limits::for_profile(inventory.profile);
        limits.host_memory = 8 << 20;
        limits.parallel_reads = 2;
        let identity = || Identity::for_data().expect("a certificate");
        let site = Arc::new(Site::new(Parts {
            world: World::new(inventory).expect("its disks open"),
            limits,
            latency: std::time::Duration::ZERO,
            identities: [identity(), identity(), identity(), identity()],
        }));
        // So that nobody waits for changes.
        site.stop();
        let (cookie, _) = site.sessions.begin("fuzzer", false);
        Self {
            site,
            cookie,
            listener: TcpListener::bind("127.0.0.1:0").expect("a free port"),
        }
    }

    /// The answer to the body of a SOAP request of somebody who is logged in.
    #[must_use]
    pub fn soap(&self, body: &[u8]) -> String {
        soap::answer_to(&self.site, self.cookie.clone(), body)
    }

    /// The answers to the requests in a stream of HTTP.
    #[must_use]
    pub fn http(&self, sent: &[u8]) -> Vec<u8> {
        let mut stream = Memory::new(sent);
        // Whether it ends well is up to the client.
        let _ = soap::answer_all(&self.site, &mut stream);
        stream.answers
    }

    /// The replies to the lines of a client; `TICKET` in them stands for a good ticket.
    #[must_use]
    pub fn authd(&self, sent: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(sent);
        let sent = if text.contains("TICKET") {
            let ticket = self.ticket();
            text.replace("TICKET", &self.site.tickets.issue(ticket))
                .into_bytes()
        } else {
            sent.to_vec()
        };
        let mut stream = Memory::new(&sent);
        nfc::answer_lines(&self.site, &mut stream);
        stream.answers
    }

    /// The replies to the messages of a client with a ticket, from the handshake on, over a real connection: `tag` is what
    /// the daemon was told.
    #[must_use]
    pub fn session(&self, sent: &[u8], tag: Option<&[u8]>) -> Vec<u8> {
        let address = self.listener.local_addr().expect("it listens");
        let client = TcpStream::connect(address).expect("it listens");
        let (server, _) = self.listener.accept().expect("somebody connected");
        let (site, ticket) = (Arc::clone(&self.site), self.ticket());
        let tag = tag.map(<[u8]>::to_vec);
        thread::scope(|scope| {
            scope.spawn(move || nfc::answer_messages(&site, server, ticket, tag));
            let reader = scope.spawn(|| {
                let mut answers = Vec::new();
                // A connection that is cut may be reset.
                let _ = (&client).read_to_end(&mut answers);
                answers
            });
            let _ = (&client).write_all(sent);
            let _ = client.shutdown(Shutdown::Write);
            reader.join().expect("it does not panic")
        })
    }

    /// Bytes of memory that sessions have, which is none between two of them.
    #[must_use]
    pub fn memory_in_use(&self) -> u64 {
        self.site.memory.used()
    }

    fn ticket(&self) -> Ticket {
        let world = self.site.world();
        let vm = world
            .machines
            .first()
            .expect("the demonstration has machines");
        Ticket {
            vm: vm.moref.clone(),
            scope: Scope::Disk {
                key: 2000,
                writable: true,
            },
        }
    }
}

/// What a client sends, and what it is answered.
struct Memory<'a> {
    sent: Cursor<&'a [u8]>,
    answers: Vec<u8>,
}

impl<'a> Memory<'a> {
    fn new(sent: &'a [u8]) -> Self {
        Self {
            sent: Cursor::new(sent),
            answers: Vec::new(),
        }
    }
}

impl Read for Memory<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.sent.read(buf)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.answers.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
