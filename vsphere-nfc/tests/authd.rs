//! The way into a host, against daemons that follow a script.

mod support;

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::authd::{Authd, Daemon, GREETING};
use support::soap::{Server, esxi, usual, value};
use support::tls::{BOTH, Identity, ONLY_12, ONLY_13, most_hidden, records};
use vsphere_nfc::{
    Access, Dial, Dialed, DiskDialer, DiskPlace, Error, ErrorKind, Host, ManagedObject, Thumbprint,
    Timeouts, Transport,
};

/// A management plane whose tickets lead to a daemon.
struct Site {
    host: Arc<Host>,
    tickets: Arc<AtomicUsize>,
    authd: Authd,
    _server: Server,
}

impl Site {
    fn new(daemon: Daemon) -> Self {
        let thumbprint = daemon.identity.sha1();
        Self::with(daemon, thumbprint, "vpxa-nfc", None)
    }

    fn with(
        daemon: Daemon,
        thumbprint: Thumbprint,
        service: &'static str,
        accept: Option<Duration>,
    ) -> Self {
        let authd = Authd::new(daemon);
        let port = authd.port();
        let tickets = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tickets);
        let server = Server::new(move |request| match request.method.as_str() {
            "RetrieveServiceContent" if service == "nfc" => esxi(),
            "NfcGetVmFiles" if request.has_cookie() => {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let host = if service == "nfc" {
                    ""
                } else {
                    "<host>localhost</host>"
                };
                value(format!(
                    "{host}<port>{port}</port><sslThumbprint>{thumbprint}</sslThumbprint><service>{service}</service>\
                     <serviceVersion>1.1</serviceVersion><sessionId>ticket-{number}</sessionId>"
                ))
            }
            _ => usual(request),
        });
        let mut timeouts = Timeouts::default();
        timeouts.accept = accept.unwrap_or(Duration::from_secs(10));
        let host = Host::connect(server.options().timeouts(timeouts)).expect("a login");
        Self {
            host: Arc::new(host),
            tickets,
            authd,
            _server: server,
        }
    }

    fn dial(&self, transport: Transport) -> Result<Dialed, Error> {
        let place = DiskPlace {
            vm: ManagedObject::vm("vm-1"),
            path: "[ds] v/v.vmdk".to_owned(),
            access: Access::ReadOnly,
            transport,
        };
        DiskDialer::new(Arc::clone(&self.host), place).dial()
    }

    fn tickets(&self) -> usize {
        self.tickets.load(Ordering::SeqCst)
    }
}

fn send(dialed: &Dialed, bytes: &[u8]) {
    let count = dialed
        .stream
        .write_vectored(&[IoSlice::new(bytes)])
        .expect("sent");
    assert_eq!(count, bytes.len());
}

fn receive(dialed: &Dialed, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut have = 0;
    while have < length {
        let count = dialed.stream.read(&mut bytes[have..]).expect("received");
        assert!(count > 0, "the end after {have} bytes");
        have += count;
    }
    bytes
}

#[test]
fn both_transports_lead_to_the_disk_service() {
    let mut tags = BTreeSet::new();
    for versions in [ONLY_12, ONLY_13, BOTH] {
        for (transport, service) in [
            (Transport::Nbd, "vpxa-nfc"),
            (Transport::NbdSsl, "vpxa-nfcssl"),
        ] {
            let site = Site::new(Daemon {
                versions,
                ..Daemon::new()
            });
            let dialed = site.dial(transport).expect("a connection");
            let tag = String::from_utf8(dialed.tag.clone().expect("a tag")).expect("text");
            assert_eq!(tag.len(), 16);
            assert!(tags.insert(tag.clone()), "each connection has its own");
            assert_eq!(dialed.host, "localhost");
            let message = [b"\x2b\0\0\0".as_slice(), tag.as_bytes(), &[0; 244]].concat();
            send(&dialed, &message);
            assert_eq!(receive(&dialed, message.len()), message);
            // Nothing comes between the first session and the next byte: no farewell.
            assert_eq!(*site.authd.service.lock().expect("no panic"), message);
            let proxy = format!("PROXY {service}");
            assert_eq!(
                site.authd.said(),
                [
                    "SESSION ticket-1",
                    "BANNER ",
                    &format!("THUMBPRINT_SHA2 {tag}"),
                    &proxy
                ]
            );
        }
    }
}

#[test]
fn the_second_session_follows_without_a_farewell() {
    let site = Site::new(Daemon {
        versions: ONLY_12,
        ..Daemon::new()
    });
    site.dial(Transport::NbdSsl).expect("a connection");
    let raw = site.authd.raw.lock().expect("no panic").clone();
    // Two handshakes, and in neither session an alert.
    let kinds: Vec<_> = records(&raw).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == 20).count(),
        2,
        "{kinds:?}"
    );
    assert!(!kinds.contains(&21), "{kinds:?}");
}

#[test]
fn bytes_right_behind_the_hand_over_are_not_lost() {
    for versions in [ONLY_12, ONLY_13] {
        for transport in [Transport::Nbd, Transport::NbdSsl] {
            let first = b"\x24\0\0\0 early";
            let site = Site::new(Daemon {
                versions,
                first,
                ..Daemon::new()
            });
            let dialed = site.dial(transport).expect("a connection");
            assert_eq!(receive(&dialed, first.len()), first);
        }
    }
}

#[test]
fn an_esxi_host_is_dialed_where_the_login_was() {
    let daemon = Daemon::new();
    let thumbprint = daemon.identity.sha256();
    let site = Site::with(daemon, thumbprint, "nfc", None);
    let dialed = site.dial(Transport::NbdSsl).expect("a connection");
    assert_eq!(dialed.host, "localhost");
    assert_eq!(
        site.authd.said().last().map(String::as_str),
        Some("PROXY nfcssl")
    );
}

#[test]
fn no_ticket_is_shown_to_another_host() {
    for versions in [ONLY_12, ONLY_13] {
        let daemon = Daemon {
            versions,
            ..Daemon::new()
        };
        let expected = Identity::new(&["localhost"]).sha1();
        let presented = daemon.identity.sha1();
        let site = Site::with(daemon, expected, "vpxa-nfc", None);
        let error = site.dial(Transport::NbdSsl).expect_err("another host");
        assert_eq!(error.kind(), ErrorKind::Certificate);
        let text = error.to_string();
        assert!(
            text.contains(&expected.to_string()) && text.contains(&presented.to_string()),
            "{text}"
        );
        assert!(site.authd.said().is_empty());
        let raw = site.authd.raw.lock().expect("no panic").clone();
        assert!(
            !raw.is_empty() && most_hidden(&raw) < 32,
            "{:?}",
            records(&raw)
        );
        assert_eq!(site.tickets(), 1, "another ticket would not help");
    }
}

#[test]
fn a_disk_service_with_another_certificate_is_not_asked_for() {
    let other = Identity::new(&["localhost"]).sha256();
    let site = Site::new(Daemon {
        digest: Some(format!("200 {other}\r\n")),
        ..Daemon::new()
    });
    let error = site.dial(Transport::Nbd).expect_err("another digest");
    assert_eq!(error.kind(), ErrorKind::Certificate);
    let said = site.authd.said();
    assert!(
        said.last()
            .is_some_and(|line| line.starts_with("THUMBPRINT_SHA2 "))
    );

    let site = Site::new(Daemon {
        digest: Some("501 Invalid arguments\r\n".to_owned()),
        ..Daemon::new()
    });
    let error = site.dial(Transport::Nbd).expect_err("no digest");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.server_text(), Some("Invalid arguments"));
}

#[test]
fn the_second_session_has_the_certificate_of_the_first() {
    for versions in [ONLY_12, ONLY_13] {
        let daemon = Daemon {
            versions,
            second: Identity::new(&["localhost"]),
            ..Daemon::new()
        };
        let site = Site::new(daemon);
        let error = site
            .dial(Transport::NbdSsl)
            .expect_err("another certificate");
        assert_eq!(error.kind(), ErrorKind::Certificate);
        assert!(site.authd.service.lock().expect("no panic").is_empty());
    }
}

#[test]
fn a_ticket_that_is_not_taken_is_replaced_once() {
    for (banner, proxy) in [
        (Some("530 Please login with USER and PASS\r\n"), None),
        (Some("501 bad ticket\r\n"), None),
        (Some("220 hello\r\n"), Some("530 Login incorrect\r\n")),
    ] {
        let site = Site::new(Daemon {
            banner,
            proxy,
            ..Daemon::new()
        });
        let error = site.dial(Transport::NbdSsl).expect_err("no ticket will do");
        assert_eq!(error.kind(), ErrorKind::TicketRejected, "{error}");
        assert!(error.server_text().is_some());
        assert!(
            !format!("{error} {error:?}").contains("ticket-"),
            "{error:?}"
        );
        assert_eq!((site.tickets(), site.authd.connections()), (2, 2));
        assert!(site.authd.said().contains(&"SESSION ticket-2".to_owned()));
    }
    let site = Site::new(Daemon {
        banner: None,
        ..Daemon::new()
    });
    let error = site.dial(Transport::NbdSsl).expect_err("a hang-up");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(site.tickets(), 2);
}

#[test]
fn a_refused_service_is_told_and_not_asked_for_again() {
    let site = Site::new(Daemon {
        proxy: Some("500 no such service\r\n"),
        ..Daemon::new()
    });
    let error = site.dial(Transport::Nbd).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.server_text(), Some("no such service"));
    assert!(error.to_string().contains("PROXY"), "{error}");
    assert_eq!(site.tickets(), 1);
}

#[test]
fn a_host_that_is_full_is_told_apart() {
    let site = Site::new(Daemon {
        proxy: Some("500 Too many sessions\r\n"),
        ..Daemon::new()
    });
    let error = site.dial(Transport::Nbd).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(error.server_text(), Some("Too many sessions"));
}

#[test]
fn older_hosts_are_asked_for_less() {
    let greeting = GREETING.replace(", SHA256 supported", "");
    let site = Site::new(Daemon {
        greeting,
        ..Daemon::new()
    });
    let dialed = site.dial(Transport::NbdSsl).expect("a connection");
    assert_eq!(dialed.tag, None);
    assert_eq!(
        site.authd.said(),
        ["SESSION ticket-1", "BANNER ", "PROXY vpxa-nfcssl"]
    );

    let greeting = GREETING.replace("NFCSSL supported/t, ", "");
    let site = Site::new(Daemon {
        greeting,
        ..Daemon::new()
    });
    let error = site.dial(Transport::NbdSsl).expect_err("no encryption");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(site.authd.said().is_empty(), "the ticket stays good");
    site.dial(Transport::Nbd)
        .expect("a connection in clear text");
}

#[test]
fn other_daemons_are_told_apart() {
    let long = format!("220 {}", "x".repeat(10_000));
    for (greeting, kind) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", ErrorKind::Protocol),
        ("220 mail.test ESMTP\r\n", ErrorKind::Unsupported),
        ("530 go away\r\n", ErrorKind::Protocol),
        ("220 \u{e9}\r\n", ErrorKind::Protocol),
        (&long, ErrorKind::Protocol),
    ] {
        let site = Site::new(Daemon {
            greeting: greeting.to_owned(),
            ..Daemon::new()
        });
        let error = site.dial(Transport::Nbd).expect_err(greeting);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(site.authd.said().is_empty());
    }
}

#[test]
fn surplus_before_the_hand_over_is_refused() {
    let proxy = Some("200 Connect ha-nfc\r\n200 and more\r\n");
    let site = Site::new(Daemon {
        proxy,
        ..Daemon::new()
    });
    let error = site.dial(Transport::Nbd).expect_err("surplus");
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn slow_daemons_are_given_up() {
    let daemon = Daemon {
        pause: Duration::from_millis(1500),
        ..Daemon::new()
    };
    let thumbprint = daemon.identity.sha1();
    let site = Site::with(
        daemon,
        thumbprint,
        "vpxa-nfc",
        Some(Duration::from_millis(400)),
    );
    let begun = Instant::now();
    let error = site.dial(Transport::Nbd).expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_millis(1400));
    assert_eq!(site.tickets(), 1);
}

#[test]
fn many_disks_share_a_login() {
    let site = Site::new(Daemon::new());
    let hosts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let dialed = site.dial(Transport::NbdSsl).expect("a connection");
                send(&dialed, b"hello");
                assert_eq!(receive(&dialed, 5), b"hello");
                hosts.lock().expect("no panic").push(dialed);
            });
        }
    });
    assert_eq!(site.tickets(), 8);
    assert_eq!(hosts.lock().expect("no panic").len(), 8);
}
