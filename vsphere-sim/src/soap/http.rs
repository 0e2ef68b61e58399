//! As much of HTTP/1.1 as clients of SOAP use: requests with a length, one after another.

use std::io::{self, Read, Write};

use zeroize::{Zeroize, Zeroizing};

/// The request line and the headers have at most so many bytes.
const MAX_HEAD: usize = 16 << 10;
/// And so many headers.
const MAX_HEADERS: usize = 64;
/// So much is read at once.
const PIECE: usize = 16 << 10;
/// The name of the cookie.
const COOKIE: &str = "vmware_soap_session";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// A whole request.
pub(super) struct Request {
    pub(super) method: Method,
    /// Without what follows a question mark.
    pub(super) path: String,
    /// The value of the session cookie.
    pub(super) cookie: Option<Zeroizing<String>>,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) keep_alive: bool,
    /// The address of this server that the client connected to.
    pub(super) address: String,
}

impl Request {
    /// A call of somebody who has a session.
    pub(super) fn with_body(cookie: Zeroizing<String>, body: &[u8]) -> Self {
        Self {
            method: Method::Post,
            path: "/sdk".to_owned(),
            cookie: Some(cookie),
            body: Zeroizing::new(body.to_vec()),
            keep_alive: false,
            address: "127.0.0.1".to_owned(),
        }
    }
}

/// What the headers say of a request.
struct Head {
    request: Request,
    length: usize,
    expects_continue: bool,
    /// Its bytes, the empty line included.
    taken: usize,
}

/// Takes requests out of a stream.
pub(super) struct Reader {
    received: Zeroizing<Vec<u8>>,
    max_body: usize,
    address: String,
}

impl Reader {
    pub(super) fn new(max_body: usize, address: String) -> Self {
        Self {
            received: Zeroizing::default(),
            max_body,
            address,
        }
    }

    /// The next request; none when the client closed the connection instead. A request that cannot be taken gives what to
    /// answer, after which nothing more can be read.
    pub(super) fn next(
        &mut self,
        stream: &mut (impl Read + Write),
    ) -> io::Result<Option<Result<Request, Response>>> {
        let mut seen = 0;
        let head = loop {
            // A head ends with a line; one that comes byte by byte is not parsed for each of them.
            if self.received[seen..].contains(&b'\n') || self.received.len() >= MAX_HEAD {
                match head(&self.received, self.max_body) {
                    Ok(Some(head)) => break head,
                    Ok(None) => {}
                    Err(response) => return Ok(Some(Err(response))),
                }
            }
            seen = self.received.len();
            if !self.receive(stream)? {
                return if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(cut_off())
                };
            }
        };
        if head.expects_continue {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            stream.flush()?;
        }
        let end = head.taken + head.length;
        while self.received.len() < end {
            if !self.receive(stream)? {
                return Err(cut_off());
            }
        }
        let mut request = head.request;
        request.address.clone_from(&self.address);
        request
            .body
            .extend_from_slice(&self.received[head.taken..end]);
        let rest = Zeroizing::new(self.received.split_off(end));
        self.received = rest;
        Ok(Some(Ok(request)))
    }

    /// Whether more came.
    fn receive(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut piece = [0; PIECE];
        let count = match stream.read(&mut piece) {
            Ok(count) => count,
            // Many clients close without saying so in TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        self.received.extend_from_slice(&piece[..count]);
        piece[..count].zeroize();
        Ok(count > 0)
    }
}

fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the client closed within a request",
    )
}

/// The head of the first request in what was received; none if more has to come.
fn head(received: &[u8], max_body: usize) -> Result<Option<Head>, Response> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let bounded = &received[..received.len().min(MAX_HEAD)];
    let status = parsed.parse(bounded);
    let status = status.map_err(|error| Response::plain(400, &error.to_string()))?;
    let httparse::Status::Complete(taken) = status else {
        if received.len() >= MAX_HEAD {
            return Err(Response::plain(431, "the headers are too long"));
        }
        return Ok(None);
    };
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => return Err(Response::plain(405, "only GET and POST are known")),
    };
    let mut head = Head {
        request: Request {
            method,
            path: parsed
                .path
                .unwrap_or_default()
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned(),
            cookie: None,
            body: Zeroizing::default(),
            keep_alive: parsed.version == Some(1),
            address: String::new(),
        },
        length: 0,
        expects_continue: false,
        taken,
    };
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length = value.parse::<usize>();
                head.length = length.map_err(|_| Response::plain(400, "no such length"))?;
            }
            "transfer-encoding" => {
                return Err(Response::plain(411, "a request needs a length"));
            }
            "connection" if value.eq_ignore_ascii_case("close") => head.request.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => {
                head.request.keep_alive = true
            }
            "expect" if value.eq_ignore_ascii_case("100-continue") => head.expects_continue = true,
            "cookie" => {
                if let Some(cookie) = session_cookie(value) {
                    head.request.cookie = Some(Zeroizing::new(cookie.to_owned()));
                }
            }
            _ => {}
        }
    }
    if head.length > max_body {
        return Err(Response::plain(413, "the body is too long"));
    }
    Ok(Some(head))
}

/// The value of the session cookie, in quotes or not, whatever else the client sends back.
fn session_cookie(header: &str) -> Option<&str> {
    let mut pairs = header
        .split([';', ','])
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(COOKIE))?;
    Some(value.trim().trim_matches('"'))
}

/// What is sent back.
pub(super) struct Response {
    status: u16,
    kind: &'static str,
    body: String,
    cookie: Option<Zeroizing<String>>,
}

impl Response {
    pub(super) fn xml(status: u16, body: String) -> Self {
        Self {
            status,
            kind: "text/xml; charset=utf-8",
            body,
            cookie: None,
        }
    }

    pub(super) fn plain(status: u16, text: &str) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: format!("{text}\n"),
            cookie: None,
        }
    }

    pub(super) fn with_cookie(mut self, cookie: &Zeroizing<String>) -> Self {
        self.cookie = Some(cookie.clone());
        self
    }

    pub(super) fn into_body(self) -> String {
        self.body
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn write(&self, stream: &mut impl Write, keep_alive: bool) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "Status",
        };
        let mut head = Zeroizing::new(format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
             Connection: {}\r\n",
            self.status,
            self.kind,
            self.body.len(),
            if keep_alive { "keep-alive" } else { "close" },
        ));
        if let Some(cookie) = &self.cookie {
            head.push_str(&format!(
                "Set-Cookie: {COOKIE}=\"{}\"; Path=/; HttpOnly; Secure;\r\n",
                **cookie
            ));
        }
        head.push_str("\r\n");
        head.push_str(&self.body);
        stream.write_all(head.as_bytes())?;
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client sends, in pieces of a byte.
    struct Slow<'a>(&'a [u8], Vec<u8>);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buf[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    impl Write for Slow<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn status(text: &str) -> u16 {
        let mut reader = Reader::new(100, String::new());
        let mut stream = Slow(text.as_bytes(), Vec::new());
        match reader.next(&mut stream).expect("it can be read") {
            Some(Ok(_)) => 200,
            Some(Err(response)) => response.status(),
            None => 0,
        }
    }

    #[test]
    fn two_requests_are_taken_one_after_another() {
        let text = b"POST /sdk?x=1 HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\
            Cookie: vmware_soap_session=\"abc\"; Path=/; HttpOnly\r\n\r\nxyzGET / HTTP/1.0\r\n\r\n";
        let mut stream = Slow(text, Vec::new());
        let mut reader = Reader::new(100, String::new());
        let first = reader
            .next(&mut stream)
            .expect("read")
            .expect("there is one")
            .ok()
            .expect("it is good");
        assert_eq!(
            (first.method, first.path.as_str(), &first.body[..]),
            (Method::Post, "/sdk", &b"xyz"[..])
        );
        assert_eq!(
            first.cookie.as_ref().map(|cookie| cookie.as_str()),
            Some("abc")
        );
        assert!(first.keep_alive);
        assert!(stream.1.starts_with(b"HTTP/1.1 100"));
        let second = reader
            .next(&mut stream)
            .expect("read")
            .expect("there is one")
            .ok()
            .expect("it is good");
        assert_eq!((second.method, second.keep_alive), (Method::Get, false));
        assert!(reader.next(&mut stream).expect("read").is_none());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert_eq!(
            status("POST /sdk HTTP/1.1\r\nContent-Length: 101\r\n\r\n"),
            413
        );
        assert_eq!(
            status("POST /sdk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            411
        );
        assert_eq!(status("PUT /sdk HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(
            status("POST /sdk HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            400
        );
        assert_eq!(status("nonsense\r\n\r\n"), 400);
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(17_000));
        assert_eq!(status(&long), 431);
        assert_eq!(status(""), 0);
    }

    #[test]
    fn cookies_are_read_leniently() {
        for header in [
            "vmware_soap_session=abc",
            "vmware_soap_session=\"abc\"; Path=/; HttpOnly; Secure;",
            "a=b; VMWARE_SOAP_SESSION = abc",
        ] {
            assert_eq!(session_cookie(header), Some("abc"), "{header}");
        }
        assert_eq!(session_cookie("a=b"), None);
    }
}
