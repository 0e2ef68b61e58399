//! A management plane that answers from a script.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use vsphere_nfc::{ConnectOptions, Credentials, Secret, Timeouts, TrustedCertificate};

use super::Listener;
use super::tls::{BOTH, Identity, Raw, Recorded, Session, accept};

pub(crate) const USER: &str = "backup@vsphere.local";
pub(crate) const PASSWORD: &str = "p4ss<&>\"'wörd";
pub(crate) const COOKIE: &str = "vmware_soap_session=\"cookie-4711\"";

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The SOAP method, or the path of a GET.
    pub(crate) method: String,
}

impl Request {
    /// Whether the request is of the session that [`COOKIE`] names.
    pub(crate) fn has_cookie(&self) -> bool {
        self.head.contains(&format!("\r\nCookie: {COOKIE}\r\n"))
    }
}

/// What is answered.
pub(crate) enum Answer {
    /// The content of the response element.
    Value(String),
    /// The same, and sets the cookie.
    Login(String),
    /// Type, content and text.
    Fault(&'static str, String, &'static str),
    /// These bytes, in pieces of so many, with so long a pause between them.
    Raw(Vec<u8>, usize, Duration),
    /// The same bytes for ever behind others.
    Endless(Vec<u8>, Vec<u8>),
    /// A whole value, then the end of the connection without a word about it.
    ThenClose(String),
    /// Nothing at all.
    HangUp,
}

pub(crate) fn fault(kind: &'static str, text: &'static str) -> Answer {
    Answer::Fault(kind, String::new(), text)
}

pub(crate) fn value(content: impl Into<String>) -> Answer {
    Answer::Value(format!("<returnval>{}</returnval>", content.into()))
}

/// A document as servers write it.
pub(crate) fn document(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) fn envelope(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    )
}

/// What a vCenter says about itself.
pub(crate) fn vcenter() -> Answer {
    service_content("VirtualCenter")
}

pub(crate) fn esxi() -> Answer {
    service_content("HostAgent")
}

fn service_content(api_type: &str) -> Answer {
    value(format!(
        "<rootFolder type=\"Folder\">group-d1</rootFolder>\
         <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
         <about><name>x</name><fullName>vSphere 8.0.3 of a test</fullName><apiType>{api_type}</apiType>\
         <apiVersion>8.0.3.0</apiVersion></about>\
         <sessionManager type=\"SessionManager\">SM-1</sessionManager>\
         <authorizationManager type=\"AuthorizationManager\">AM-1</authorizationManager>\
         <searchIndex type=\"SearchIndex\">SI-1</searchIndex>\
         <vStorageObjectManager type=\"VcenterVStorageObjectManager\">VSOM-1</vStorageObjectManager>"
    ))
}

pub(crate) const VERSIONS: &str = "<?xml version=\"1.0\"?><namespaces version=\"1.0\"><namespace><name>urn:vim25</name>\
    <version>8.0.3.0</version><priorVersions><version>8.0.2.0</version><version>6.5</version></priorVersions>\
    </namespace></namespaces>";

/// What a well-behaved vCenter answers.
pub(crate) fn usual(request: &Request) -> Answer {
    match request.method.as_str() {
        "/sdk/vimServiceVersions.xml" => {
            Answer::Raw(document("200 OK", "", VERSIONS), usize::MAX, Duration::ZERO)
        }
        "RetrieveServiceContent" => vcenter(),
        "Login"
            if request
                .body
                .contains("<password>p4ss&lt;&amp;&gt;&quot;'wörd</password>") =>
        {
            Answer::Login(format!(
                "<returnval><key>key-1</key><userName>{USER}</userName></returnval>"
            ))
        }
        "Login" => fault(
            "InvalidLogin",
            "Cannot complete login due to an incorrect user name or password.",
        ),
        "CloneSession" => Answer::Login(
            "<returnval><key>key-2</key><userName>x</userName></returnval>".to_owned(),
        ),
        _ if !request.has_cookie() => {
            fault("NotAuthenticated", "The session is not authenticated.")
        }
        "Logout" => Answer::Value(String::new()),
        "CurrentTime" => value("2026-11-22T12:00:00Z"),
        "RetrieveInternalContent" => value("<nfcService type=\"NfcService\">nfc-1</nfcService>"),
        _ => fault("InvalidRequest", "no such method"),
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server with a certificate, a script, and a memory.
pub(crate) struct Server {
    listener: Listener,
    pub(crate) identity: Identity,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) raw: Raw,
}

impl Server {
    pub(crate) fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(Identity::new(&["localhost"]), BOTH, script)
    }

    pub(crate) fn with(
        identity: Identity,
        versions: &[&'static rustls::SupportedProtocolVersion],
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let raw = Raw::default();
        let config = identity.config(versions);
        let (kept, kept_raw) = (Arc::clone(&requests), Arc::clone(&raw));
        let connections = Mutex::new(0);
        let script: Arc<Script> = Arc::new(script);
        let listener = Listener::new(move |tcp| {
            let connection = {
                let mut connections = connections.lock().expect("no panic");
                *connections += 1;
                *connections
            };
            let stream = Recorded::new(tcp, Arc::clone(&kept_raw));
            let mut session = accept(Arc::clone(&config), stream)?;
            while let Some(request) = read_request(&mut session, connection)? {
                kept.lock().expect("no panic").push(request.clone());
                if !answer(&mut session, &request, script(&request))? {
                    break;
                }
            }
            Ok(())
        });
        Self {
            listener,
            identity,
            requests,
            raw,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.port
    }

    /// What it takes to log in with the password.
    pub(crate) fn options(&self) -> ConnectOptions {
        self.options_of(Credentials::Password {
            user: USER.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        })
    }

    pub(crate) fn options_of(&self, credentials: Credentials) -> ConnectOptions {
        let mut timeouts = Timeouts::default();
        timeouts.connect = Duration::from_secs(10);
        timeouts.request = Duration::from_secs(10);
        timeouts.accept = Duration::from_secs(10);
        ConnectOptions::new("localhost", credentials)
            .port(self.port())
            .trusted(TrustedCertificate::Thumbprint(self.identity.sha256()))
            .timeouts(timeouts)
    }

    /// The methods that were called, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("no panic");
        requests
            .iter()
            .map(|request| request.method.clone())
            .collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.methods()
            .iter()
            .filter(|called| *called == method)
            .count()
    }

    pub(crate) fn last(&self, method: &str) -> Request {
        let requests = self.requests.lock().expect("no panic");
        let mut called = requests.iter().rev();
        called
            .find(|request| request.method == method)
            .expect(method)
            .clone()
    }
}

fn read_request(session: &mut Session, connection: usize) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break bytes.drain(..end + 4).collect::<Vec<u8>>();
        }
        let mut piece = [0; 4096];
        match session.read(&mut piece)? {
            0 => return Ok(None),
            count => bytes.extend(&piece[..count]),
        }
    };
    let head = String::from_utf8(head).expect("a head is text");
    let length = head
        .split("Content-Length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .map_or(0, |length| length.parse().expect("a length"));
    let have = bytes.len();
    assert!(have <= length, "more than one request at a time");
    bytes.resize(length, 0);
    session.read_exact(&mut bytes[have..])?;
    let body = String::from_utf8(bytes).expect("a body is text");
    let method = match body.split("<soapenv:Body><").nth(1) {
        Some(call) => call.split([' ', '>']).next(),
        None => head.split(' ').nth(1),
    };
    let method = method.expect("a method").to_owned();
    Ok(Some(Request {
        connection,
        head,
        body,
        method,
    }))
}

/// False when the connection shall end.
fn answer(session: &mut Session, request: &Request, answer: Answer) -> io::Result<bool> {
    let response = |content: &str| {
        let method = &request.method;
        envelope(&format!(
            "<{method}Response xmlns=\"urn:vim25\">{content}</{method}Response>"
        ))
    };
    let bytes = match answer {
        Answer::Value(content) => document("200 OK", "", &response(&content)),
        Answer::Login(content) => {
            let cookie = format!("Set-Cookie: {COOKIE}; Path=/; HttpOnly; Secure\r\n");
            document("200 OK", &cookie, &response(&content))
        }
        Answer::Fault(kind, content, text) => document(
            "500 Internal Server Error",
            "",
            &envelope(&format!(
                "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring><detail>\
                 <{kind}Fault xmlns=\"urn:vim25\" xsi:type=\"{kind}\">{content}</{kind}Fault></detail></soapenv:Fault>"
            )),
        ),
        Answer::Raw(bytes, step, pause) => {
            for piece in bytes.chunks(step.min(bytes.len().max(1))) {
                session.write_all(piece)?;
                session.flush()?;
                thread::sleep(pause);
            }
            return Ok(true);
        }
        Answer::Endless(head, piece) => {
            session.write_all(&head)?;
            loop {
                session.write_all(&piece)?;
            }
        }
        Answer::ThenClose(content) => {
            session.write_all(&document("200 OK", "", &response(&content)))?;
            session.flush()?;
            return Ok(false);
        }
        Answer::HangUp => return Ok(false),
    };
    session.write_all(&bytes)?;
    session.flush()?;
    Ok(true)
}
