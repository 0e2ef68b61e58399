//! Logging in, against servers that follow a script: certificates, credentials, expiry, and how calls travel.

mod support;

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::soap::{Answer, PASSWORD, Server, document, envelope, esxi, fault, usual, value};
use support::tls::{BOTH, Identity, ONLY_12, ONLY_13, most_hidden, records};
use vsphere_nfc::{
    ApiType, Credentials, Error, ErrorKind, Host, ManagedObject, Secret, SnapshotOptions, Timeouts,
    TrustedCertificate,
};

/// All that an error can show, which must not be a secret.
fn shown(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause}\n{cause:?}"));
        source = cause.source();
    }
    for secret in [PASSWORD, "p4ss", "cookie-4711", "clone-ticket-1", "key-1"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

#[test]
fn a_password_lets_in() {
    let server = Server::new(usual);
    let host = Host::connect(server.options()).expect("a login");
    assert_eq!(host.api_type(), ApiType::VirtualCenter);
    assert_eq!(host.api_version(), "8.0.3.0");
    assert_eq!(host.full_name(), "vSphere 8.0.3 of a test");
    host.keep_alive().expect("alive");
    assert!(!format!("{host:?}").contains("p4ss"));
    host.close().expect("logged out");
    assert_eq!(
        server.methods(),
        [
            "/sdk/vimServiceVersions.xml",
            "RetrieveServiceContent",
            "Login",
            "CurrentTime",
            "Logout"
        ]
    );
    let requests = server.requests.lock().expect("no panic").clone();
    assert!(
        requests.iter().all(|request| request.connection == 1),
        "one connection is kept"
    );
    let action = "\r\nSOAPAction: \"urn:vim25/8.0.3.0\"\r\n";
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.head.contains(action))
    );
    assert!(!requests[2].head.contains("Cookie"));
    assert!(requests[3..].iter().all(|request| request.has_cookie()));
}

#[test]
fn dropping_logs_out() {
    let server = Server::new(usual);
    drop(Host::connect(server.options()).expect("a login"));
    assert_eq!(server.count("Logout"), 1);
}

#[test]
fn dropping_does_not_wait_longer_than_agreed() {
    let server = Server::new(|request| match request.method.as_str() {
        "Logout" => Answer::Raw(
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            1,
            Duration::from_millis(50),
        ),
        _ => usual(request),
    });
    let mut timeouts = Timeouts::default();
    timeouts.request = Duration::from_millis(300);
    let host = Host::connect(server.options().timeouts(timeouts)).expect("a login");
    let begun = Instant::now();
    drop(host);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(server.count("Logout"), 1);
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::new(usual);
    let credentials = Credentials::Password {
        user: "backup".to_owned(),
        password: Secret::new("p4ss wrong".to_owned()),
    };
    let error = Host::connect(server.options_of(credentials)).expect_err("a wrong password");
    assert_eq!(error.kind(), ErrorKind::LoginFailed);
    assert_eq!(error.fault(), Some("InvalidLogin"));
    assert!(shown(&error).contains("incorrect user name or password"));
    assert_eq!(server.count("Logout"), 0);
}

#[test]
fn passwords_that_xml_cannot_carry_are_refused() {
    let server = Server::new(usual);
    let credentials = Credentials::Password {
        user: "backup".to_owned(),
        password: Secret::new("p4ss\0word".to_owned()),
    };
    let error = Host::connect(server.options_of(credentials)).expect_err("no XML");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    shown(&error);
    assert_eq!(server.count("Login"), 0);
}

#[test]
fn thumbprints_of_both_kinds_pin_the_certificate() {
    let server = Server::new(usual);
    for thumbprint in [server.identity.sha1(), server.identity.sha256()] {
        let trusted = TrustedCertificate::Thumbprint(thumbprint);
        Host::connect(server.options().trusted(trusted)).expect("a login");
    }
}

#[test]
fn nothing_is_said_to_a_server_with_another_certificate() {
    for versions in [ONLY_12, ONLY_13, BOTH] {
        let server = Server::with(Identity::new(&["localhost"]), versions, usual);
        let other = Identity::new(&["localhost"]);
        for (expected, presented) in [
            (other.sha1(), server.identity.sha1()),
            (other.sha256(), server.identity.sha256()),
        ] {
            let trusted = TrustedCertificate::Thumbprint(expected);
            let error = Host::connect(server.options().trusted(trusted)).expect_err("another");
            assert_eq!(error.kind(), ErrorKind::Certificate);
            let text = shown(&error);
            assert!(text.contains(&expected.to_string()), "{text}");
            assert!(text.contains(&presented.to_string()), "{text}");
        }
        assert!(server.methods().is_empty());
        // A login takes hundreds of bytes; what came is the beginning of a handshake and an alert.
        let raw = server.raw.lock().expect("no panic").clone();
        assert!(
            records(&raw).iter().any(|(kind, _)| *kind == 22),
            "a handshake was begun"
        );
        assert!(most_hidden(&raw) < 32, "{:?}", records(&raw));
    }
}

#[test]
fn authorities_vouch_for_names() {
    let server = Server::new(usual);
    let pem = |identity: &Identity| TrustedCertificate::Ca(identity.pem.clone().into_bytes());
    Host::connect(server.options().trusted(pem(&server.identity))).expect("a login");

    let stranger = Identity::new(&["localhost"]);
    let elsewhere = Server::with(Identity::new(&["elsewhere.test"]), BOTH, usual);
    for (server, trusted) in [
        (&server, pem(&stranger)),
        (&server, TrustedCertificate::System),
        (&elsewhere, pem(&elsewhere.identity)),
    ] {
        let before = server.methods().len();
        let error = Host::connect(server.options().trusted(trusted)).expect_err("untrusted");
        assert_eq!(error.kind(), ErrorKind::Certificate, "{error}");
        shown(&error);
        assert_eq!(server.methods().len(), before);
    }
    let broken = TrustedCertificate::Ca(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
    );
    for trusted in [TrustedCertificate::Ca(Vec::new()), broken] {
        let error = Host::connect(server.options().trusted(trusted)).expect_err("no authority");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

#[test]
fn somebody_elses_session_is_used_and_left_alone() {
    let server = Server::new(usual);
    for cookie in [
        "\"cookie-4711\"",
        "vmware_soap_session=\"cookie-4711\"; Path=/",
    ] {
        let credentials = Credentials::SessionCookie(Secret::new(cookie.to_owned()));
        let host = Host::connect(server.options_of(credentials)).expect("a session");
        host.keep_alive().expect("alive");
        host.close().expect("closed");
    }
    assert_eq!((server.count("Login"), server.count("Logout")), (0, 0));
    assert_eq!(server.count("CurrentTime"), 4);

    for (cookie, kind) in [
        ("expired", ErrorKind::NotAuthenticated),
        ("x\r\nHost: y", ErrorKind::InvalidArgument),
    ] {
        let credentials = Credentials::SessionCookie(Secret::new(cookie.to_owned()));
        let error = Host::connect(server.options_of(credentials)).expect_err(cookie);
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn a_clone_ticket_lets_in_once() {
    let server = Server::new(|request| match request.method.as_str() {
        "AcquireCloneTicket" => value("clone-ticket-1"),
        _ => usual(request),
    });
    let first = Host::connect(server.options()).expect("a login");
    let ticket = first.clone_ticket().expect("a ticket");
    let second =
        Host::connect(server.options_of(Credentials::CloneTicket(ticket))).expect("a login");
    let request = server.last("CloneSession");
    assert!(
        request
            .body
            .contains("<cloneTicket>clone-ticket-1</cloneTicket>")
    );
    second.close().expect("logged out");
    first.close().expect("logged out");
    assert_eq!(server.count("Logout"), 2);
}

/// A server gives whoever it does not know a new cookie, which is good for a login only.
#[test]
fn a_late_answer_does_not_replace_the_cookie_of_a_new_login() {
    let expired = |cookie: &str| {
        let fault = "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring/><detail>\
            <NotAuthenticatedFault xmlns=\"urn:vim25\" xsi:type=\"NotAuthenticated\"/></detail></soapenv:Fault>";
        let cookie = format!("Set-Cookie: vmware_soap_session={cookie}\r\n");
        let answer = document("500 Internal Server Error", &cookie, &envelope(fault));
        Answer::Raw(answer, usize::MAX, Duration::ZERO)
    };
    let calls = AtomicUsize::new(0);
    let (asked, is_asked) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let server = Server::new(move |request| match request.method.as_str() {
        "CurrentTime" => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => {
                asked.send(()).expect("somebody waits");
                wait.lock().expect("no panic").recv().expect("it goes on");
                expired("late")
            }
            1 => expired("early"),
            _ => usual(request),
        },
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    thread::scope(|scope| {
        let late = scope.spawn(|| host.keep_alive());
        is_asked.recv().expect("the first call");
        host.keep_alive().expect("a new login");
        go_on.send(()).expect("the server waits");
        late.join().expect("no panic").expect("the same new login");
    });
    assert_eq!(server.count("Login"), 2);
    assert!(server.last("CurrentTime").has_cookie());
}

#[test]
fn an_expired_login_is_renewed_once_for_many_calls() {
    // The session ends with the third call of any kind, for whoever has not logged in since.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static RENEWED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::new(|request| match request.method.as_str() {
        "Login" => {
            RENEWED.fetch_add(1, Ordering::SeqCst);
            usual(request)
        }
        "CurrentTime" => {
            let call = CALLS.fetch_add(1, Ordering::SeqCst);
            if RENEWED.load(Ordering::SeqCst) < 2 && call >= 2 {
                return fault("NotAuthenticated", "The session is not authenticated.");
            }
            usual(request)
        }
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    host.keep_alive().expect("renewed");
                }
            });
        }
    });
    assert_eq!(server.count("Login"), 2);
    assert!(server.count("CurrentTime") >= 25, "some call was repeated");
}

#[test]
fn a_login_that_cannot_be_renewed_ends() {
    static LOGINS: AtomicUsize = AtomicUsize::new(0);
    let server = Server::new(|request| match request.method.as_str() {
        "CurrentTime" => fault("NotAuthenticated", "The session is not authenticated."),
        "Login" if LOGINS.fetch_add(1, Ordering::SeqCst) > 0 => fault("InvalidLogin", "locked"),
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    let error = host.keep_alive().expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::LoginFailed);
    shown(&error);
    assert_eq!((server.count("CurrentTime"), server.count("Login")), (1, 2));
}

#[test]
fn logging_out_of_an_ended_session_is_no_failure() {
    let server = Server::new(|request| match request.method.as_str() {
        "Logout" => fault("NotAuthenticated", "The session is not authenticated."),
        _ => usual(request),
    });
    Host::connect(server.options())
        .expect("a login")
        .close()
        .expect("over anyway");
}

#[test]
fn connections_that_the_server_has_closed_are_replaced() {
    let server = Server::new(|request| match request.method.as_str() {
        "CurrentTime" => Answer::ThenClose("<returnval>now</returnval>".to_owned()),
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    for _ in 0..5 {
        host.keep_alive().expect("alive");
    }
    assert_eq!(server.count("CurrentTime"), 5);
    assert_eq!(server.last("CurrentTime").connection, 5);
}

#[test]
fn what_makes_something_is_said_only_once() {
    let server = Server::new(|request| match request.method.as_str() {
        "CreateSnapshot_Task" | "CurrentTime" => Answer::HangUp,
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    let error = host
        .create_snapshot(&ManagedObject::vm("vm-1"), &SnapshotOptions::new("s"))
        .expect_err("a hang-up");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(server.count("CreateSnapshot_Task"), 1);
    // A question is asked again, on a new connection; no more than once.
    let error = host.keep_alive().expect_err("a hang-up");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(server.count("CurrentTime"), 2);
}

#[test]
fn answers_in_small_chunks_are_put_together() {
    let server = Server::new(|request| {
        let content = match request.method.as_str() {
            "CurrentTime" => {
                "<CurrentTimeResponse xmlns=\"urn:vim25\"><returnval>now</returnval></CurrentTimeResponse>"
            }
            _ => return usual(request),
        };
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in envelope(content).as_bytes().chunks(37) {
            answer.extend(format!("{:X};x=\"y\"\r\n", piece.len()).bytes());
            answer.extend(piece);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\nTrailer: x\r\n\r\n");
        Answer::Raw(answer, 5, Duration::ZERO)
    });
    let host = Host::connect(server.options()).expect("a login");
    for _ in 0..3 {
        host.keep_alive().expect("alive");
    }
    assert_eq!(server.last("CurrentTime").connection, 1);
}

#[test]
fn versions_are_agreed_on() {
    let serving = |versions: Vec<u8>| {
        Server::new(move |request| match request.method.as_str() {
            "/sdk/vimServiceVersions.xml" => {
                Answer::Raw(versions.clone(), usize::MAX, Duration::ZERO)
            }
            _ => usual(request),
        })
    };
    let only = |version: &str| {
        let namespace =
            format!("<namespace><name>urn:vim25</name><version>{version}</version></namespace>");
        document(
            "200 OK",
            "",
            &format!("<namespaces version=\"1.0\">{namespace}</namespaces>"),
        )
    };
    for (versions, spoken) in [
        (only("6.5"), "6.5"),
        (only("7.0.3.2"), "7.0.3.2"),
        (document("404 Not Found", "", "<html>"), "6.5"),
    ] {
        let server = serving(versions);
        Host::connect(server.options()).expect("a login");
        let action = format!("SOAPAction: \"urn:vim25/{spoken}\"");
        assert!(server.last("Login").head.contains(&action));
    }
    for versions in [
        only("9.0.0.0"),
        only("5.5"),
        document("200 OK", "", "<html/>"),
        document("503 Busy", "", ""),
    ] {
        let server = serving(versions);
        let error = Host::connect(server.options()).expect_err("no common version");
        assert_eq!(error.kind(), ErrorKind::CannotConnect, "{error}");
        assert_eq!(server.methods().len(), 1, "no secret was sent");
    }
}

#[test]
fn slow_servers_are_given_up() {
    let server = Server::new(|request| match request.method.as_str() {
        // Each byte comes in time, and all of them together do not.
        "CurrentTime" => {
            let answer = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(4000));
            Answer::Raw(answer.into_bytes(), 1, Duration::from_millis(20))
        }
        _ => usual(request),
    });
    let mut timeouts = Timeouts::default();
    timeouts.request = Duration::from_millis(700);
    let host = Host::connect(server.options().timeouts(timeouts)).expect("a login");
    for _ in 0..2 {
        let begun = Instant::now();
        let error = host.keep_alive().expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn silent_servers_are_given_up() {
    let server = Server::new(|request| match request.method.as_str() {
        "CurrentTime" => Answer::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
            1000,
            Duration::from_secs(3),
        ),
        _ => usual(request),
    });
    let mut timeouts = Timeouts::default();
    timeouts.request = Duration::from_millis(600);
    let host = Host::connect(server.options().timeouts(timeouts)).expect("a login");
    let begun = Instant::now();
    assert_eq!(
        host.keep_alive().expect_err("silence").kind(),
        ErrorKind::TimedOut
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn hostile_answers_are_errors() {
    let deep = envelope(&format!("<CurrentTimeResponse>{}", "<a>".repeat(100_000)));
    let bomb = "<!DOCTYPE a [<!ENTITY x \"yyyy\"><!ENTITY z \"&x;&x;\">]><a>&z;</a>";
    let endless = |head: &str, piece: &str| {
        Answer::Endless(head.as_bytes().to_vec(), piece.as_bytes().repeat(64))
    };
    let plain = |status: &str, body: &str| {
        Answer::Raw(document(status, "", body), usize::MAX, Duration::ZERO)
    };
    let answers: Vec<(Box<dyn Fn() -> Answer + Send + Sync>, ErrorKind)> = vec![
        (
            Box::new(move || endless("HTTP/1.1 200 OK\r\n", "X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || endless("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyy")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || {
                endless(
                    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
                    "<a>",
                )
            }),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || endless("HTTP/1.1 200 OK\r\n\r\n", &"<a>".repeat(1000))),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || {
                endless(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    &"400\r\n".repeat(1000),
                )
            }),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || plain("200 OK", &deep)),
            ErrorKind::Protocol,
        ),
        (Box::new(move || plain("200 OK", bomb)), ErrorKind::Protocol),
        (
            Box::new(move || plain("200 OK", "<html><p>hello</html>")),
            ErrorKind::Protocol,
        ),
        (
            Box::new(move || plain("200 OK", &envelope("<LoginResponse/>"))),
            ErrorKind::Protocol,
        ),
        (
            Box::new(move || plain("302 Found", "")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || plain("401 Unauthorized", "<html/>")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || plain("503 Service Unavailable", "503")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(move || plain("500 Oops", "<html/>")),
            ErrorKind::CannotConnect,
        ),
        (
            Box::new(|| Answer::Raw(b"SSH-2.0-OpenSSH_9\r\n".to_vec(), 100, Duration::ZERO)),
            ErrorKind::CannotConnect,
        ),
    ];
    for (number, (answer, kind)) in answers.into_iter().enumerate() {
        let server = Server::new(move |request| match request.method.as_str() {
            "CurrentTime" => answer(),
            _ => usual(request),
        });
        let host = Host::connect(server.options()).expect("a login");
        let error = host.keep_alive().expect_err("hostile");
        assert_eq!(error.kind(), kind, "{number}: {error:?}");
        shown(&error);
        host.close().expect("the next connection is clean");
    }
}

#[test]
fn what_is_no_vsphere_is_told() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrieveServiceContent" => value("<about><apiType>Toaster</apiType></about>"),
        _ => usual(request),
    });
    let error = Host::connect(server.options()).expect_err("a toaster");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // Nobody listens there any more.
    let options = server.options();
    drop(server);
    let error = Host::connect(options).expect_err("nobody");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(
        error
            .to_string()
            .starts_with("connecting to localhost failed"),
        "{error}"
    );
}

#[test]
fn an_esxi_host_is_told_from_a_vcenter() {
    let server = Server::new(|request| match request.method.as_str() {
        "RetrieveServiceContent" => esxi(),
        _ => usual(request),
    });
    let host = Host::connect(server.options()).expect("a login");
    assert_eq!(host.api_type(), ApiType::HostAgent);
    let error = host
        .prepare_access(&ManagedObject::vm("1"), "me")
        .expect_err("no vCenter");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("not a vCenter"), "{error}");
    assert_eq!(server.count("DisableMethods"), 0);
}

#[test]
fn hosts_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Host>();
    shared::<vsphere_nfc::Ticket>();
}
