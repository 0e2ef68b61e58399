//! The management port: SOAP over HTTP over TLS.
//!
//! ```text
//! serve            a connection: requests, one after another    soap.rs
//!  ├─ http             what is a request                        http.rs
//!  ├─ request          what it asks for                         request.rs
//!  ├─ call             every method                             call/
//!  ├─ object           what there is to see of each object      object/
//!  └─ collector        which properties of which objects        collector.rs
//! ```

mod call;
mod collector;
mod http;
mod object;
mod request;
mod shared;

pub(crate) use shared::Shared;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use zeroize::Zeroizing;

use crate::injection::Injection;
use crate::site::{Port, Site};
use crate::transcript::Event;
use crate::vim::{Fault, Value, write};
use call::{Answer, Caller};
use http::{Method, Request, Response};
use request::Call;

/// A client that says nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(600);

/// Serves one connection until it ends.
pub(crate) fn serve(site: &Arc<Site>, connection: u64, stream: TcpStream) {
    site.note(Event::SoapConnected { connection });
    let reason = match serve_requests(site, connection, stream) {
        Ok(()) => "closed by the client".to_owned(),
        Err(error) => error.to_string(),
    };
    site.note(Event::Disconnected {
        connection,
        port: Port::Soap.name(),
        reason,
    });
}

fn serve_requests(site: &Arc<Site>, connection: u64, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let other = site.injected(connection, &Injection::ManagementCertificate);
    let identity = if other {
        &site.other_management
    } else {
        &site.management
    };
    let tls = ServerConnection::new(identity.config()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    site.note(Event::Encrypted {
        connection,
        port: Port::Soap.name(),
        number: 1,
    });
    let address = stream.sock.local_addr()?.ip().to_string();
    answer_requests(site, connection, address, &mut stream)?;
    stream.conn.send_close_notify();
    // Whoever is gone already does not miss it.
    let _ = stream.conn.complete_io(&mut stream.sock);
    Ok(())
}

/// Answers one request after another, until the client or a request ends that.
fn answer_requests(
    site: &Arc<Site>,
    connection: u64,
    address: String,
    stream: &mut (impl Read + Write),
) -> io::Result<()> {
    let mut reader = http::Reader::new(site.limits.soap_body, address);
    while let Some(request) = reader.next(stream)? {
        let (response, keep) = match request {
            Ok(request) => (respond(site, connection, &request), request.keep_alive),
            Err(response) => (response, false),
        };
        wait(site, connection);
        response.write(stream, keep)?;
        if !keep {
            break;
        }
    }
    Ok(())
}

/// For fuzzers: the answers to all requests of a stream.
pub(crate) fn answer_all(site: &Arc<Site>, stream: &mut (impl Read + Write)) -> io::Result<()> {
    answer_requests(site, 0, "127.0.0.1".to_owned(), stream)
}

/// For fuzzers: the document that answers a body.
pub(crate) fn answer_to(site: &Arc<Site>, cookie: Zeroizing<String>, body: &[u8]) -> String {
    answer(site, 0, &Request::with_body(cookie, body)).into_body()
}

/// What the distance, or an injection, makes of an answer.
fn wait(site: &Site, connection: u64) {
    let delay = site
        .injections
        .happens(Some(connection), |injection| match injection {
            Injection::Delay { time } => Some(*time),
            _ => None,
        });
    let time = site.latency + delay.unwrap_or_default();
    if !time.is_zero() {
        thread::sleep(time);
    }
}

fn respond(site: &Arc<Site>, connection: u64, request: &Request) -> Response {
    let status = site
        .injections
        .happens(Some(connection), |injection| match injection {
            Injection::HttpError { status } => Some(*status),
            _ => None,
        });
    if let Some(status) = status {
        return Response::plain(status, "injected");
    }
    match (request.method, request.path.as_str()) {
        (Method::Get, path) => {
            let response = fetch(site, path);
            site.note(Event::Fetched {
                connection,
                path: path.chars().take(200).collect(),
                status: response.status(),
            });
            response
        }
        (Method::Post, "/sdk" | "/sdk/" | "/sdk/vimService") => answer(site, connection, request),
        (Method::Post, _) => Response::plain(404, "there is nothing at this path"),
    }
}

/// The documents that tell versions.
fn fetch(site: &Site, path: &str) -> Response {
    let (newest, prior) = site.profile.api_versions();
    let document = |name: &str, newest: &str, prior: &[&str]| {
        let prior: String = prior
            .iter()
            .map(|version| format!("<version>{version}</version>"))
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\"><namespace>\
             <name>{name}</name><version>{newest}</version><priorVersions>{prior}</priorVersions>\
             </namespace></namespaces>\n"
        )
    };
    match path {
        "/sdk/vimServiceVersions.xml" => Response::xml(200, document("urn:vim25", newest, prior)),
        "/sdk/nfcServiceVersions.xml" => Response::xml(200, document("urn:nfc", "7.0.3.2", &[])),
        _ => Response::plain(404, "there is nothing at this path"),
    }
}

/// Carries out a call.
fn answer(site: &Arc<Site>, connection: u64, request: &Request) -> Response {
    let document = match request::document(&request.body) {
        Ok(document) => document,
        Err(error) => return fault_response(&Fault::invalid_request(error.to_string())),
    };
    let call = match Call::of(&document) {
        Ok(call) => call,
        Err(error) => return fault_response(&Fault::invalid_request(error.to_string())),
    };
    let mut caller = Caller::new(site, connection, request);
    let result = caller.answer(&call);
    let known = call::is_known(call.method());
    site.note(Event::Called {
        connection,
        // Anything else may hold what was meant as a secret.
        method: if known {
            call.method().to_owned()
        } else {
            "?".to_owned()
        },
        object: call
            .this()
            .map(|this| this.id.chars().take(100).collect())
            .unwrap_or_default(),
        fault: result.as_ref().err().map(|fault| fault.kind().to_owned()),
    });
    match result {
        Ok(answer) => success_response(call.method(), &answer, caller.new_cookie()),
        Err(fault) => fault_response(&fault),
    }
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n\
         <soapenv:Body>\n{body}\n</soapenv:Body>\n</soapenv:Envelope>"
    )
}

fn success_response(method: &str, answer: &Answer, cookie: Option<&Zeroizing<String>>) -> Response {
    let mut body = format!("<{method}Response xmlns=\"urn:vim25\">");
    match answer {
        Answer::Nothing => {}
        Answer::Value(Value::List(_, items)) => {
            for item in items {
                write(&mut body, "returnval", item);
            }
        }
        Answer::Value(value) => write(&mut body, "returnval", value),
        Answer::Any(value) => crate::vim::write_any(&mut body, "returnval", value),
    }
    body.push_str(&format!("</{method}Response>"));
    let response = Response::xml(200, envelope(&body));
    match cookie {
        Some(cookie) => response.with_cookie(cookie),
        None => response,
    }
}

fn fault_response(fault: &Fault) -> Response {
    let mut body = String::new();
    fault.write(&mut body);
    Response::xml(500, envelope(&body))
}
