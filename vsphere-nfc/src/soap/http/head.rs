//! The first part of an answer: its status, and the few headers that matter.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The cookie that names a session.
pub(crate) const SESSION_COOKIE: &str = "vmware_soap_session";

/// How many headers an answer may have.
const MAX_HEADERS: usize = 96;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Malformed(&'static str),
    TooLong,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClosed,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) keeps: bool,
    pub(super) cookie: Option<Secret>,
}

/// The head that `received` begins with, and its length; none while its end is missing.
pub(super) fn parse(received: &[u8], limit: usize) -> Result<Option<(Head, usize)>, HeadError> {
    let within = received.get(..limit).unwrap_or(received);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(within) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if within.len() == limit => return Err(HeadError::TooLong),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLong),
        Err(_) => return Err(HeadError::Malformed("its head is broken")),
    };
    let status = response
        .code
        .ok_or(HeadError::Malformed("its head has no status"))?;
    let mut head = Head {
        status,
        framing: Framing::UntilClosed,
        keeps: response.version == Some(1),
        cookie: None,
    };
    let mut announced = None;
    let mut chunked = false;
    for header in response.headers {
        let value = header.value.trim_ascii();
        let named = |name: &str| header.name.eq_ignore_ascii_case(name);
        if named("content-length") {
            let length = decimal(value).ok_or(HeadError::Malformed("its length is no number"))?;
            if announced.is_some_and(|known| known != length) {
                return Err(HeadError::Malformed("it has two lengths"));
            }
            announced = Some(length);
        } else if named("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Malformed("its transfer encoding is unknown"));
            }
            chunked = true;
        } else if named("content-encoding") {
            if !value.eq_ignore_ascii_case(b"identity") {
                return Err(HeadError::Malformed("it is compressed"));
            }
        } else if named("connection") {
            let mut options = value.split(|byte| *byte == b',');
            head.keeps &= !options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if named("set-cookie")
            && let Some(cookie) = session_cookie(value)
        {
            head.cookie = Some(cookie);
        }
    }
    head.framing = match (chunked, announced) {
        (true, Some(_)) => {
            return Err(HeadError::Malformed("it has a length and is chunked"));
        }
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
        (false, None) => Framing::UntilClosed,
    };
    Ok(Some((head, length)))
}

/// Digits only: what Rust parses as a number may begin with a plus sign.
fn decimal(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

/// `name=value` of the session's cookie, as the server wrote it but without the attributes behind it.
fn session_cookie(value: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(value).ok()?;
    let pair = text.split(';').next().unwrap_or(text).trim();
    let (name, _) = pair.split_once('=')?;
    let ours =
        name.trim() == SESSION_COOKIE && pair.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    ours.then(|| Secret::new(pair.to_owned()))
}

/// The text of a `Cookie` header for a session whose cookie is known; none when no header can carry it.
///
/// The name may stand before the value, and attributes behind it.
pub(crate) fn cookie_header(cookie: &Secret) -> Option<Secret> {
    let text = Zeroizing::new(cookie.expose().trim().to_owned());
    let value = text
        .strip_prefix(SESSION_COOKIE)
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix('='))
        .unwrap_or(&text);
    let value = value.split(';').next().unwrap_or(value).trim();
    let legal = !value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    legal.then(|| Secret::new(format!("{SESSION_COOKIE}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, HeadError> {
        parse(text.as_bytes(), 4096).map(|found| found.expect("whole").0)
    }

    #[test]
    fn the_headers_that_matter_are_read() {
        let head = head(
            "HTTP/1.1 200 OK\r\nDate: today\r\nSet-Cookie: other=1\r\n\
             Set-Cookie: vmware_soap_session=\"5a-b\"; Path=/; HttpOnly; Secure\r\n\
             content-length: 12\r\n\r\n",
        );
        let expected = Head {
            status: 200,
            framing: Framing::Length(12),
            keeps: true,
            cookie: Some(Secret::new("vmware_soap_session=\"5a-b\"".to_owned())),
        };
        assert_eq!(head, Ok(expected));
    }

    #[test]
    fn the_end_of_the_body_is_told_in_three_ways() {
        let ok = "HTTP/1.1 500 Oops\r\n";
        let chunked = head(&format!("{ok}Transfer-Encoding: Chunked\r\n\r\n"));
        assert_eq!(chunked.map(|head| head.framing), Ok(Framing::Chunked));
        let closed = head(&format!("{ok}Connection: x, Close\r\n\r\n")).expect("head");
        assert_eq!(
            (closed.framing, closed.keeps),
            (Framing::UntilClosed, false)
        );
        assert!(
            !head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
                .expect("head")
                .keeps
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: +1",
            "Content-Length: 99999999999999999999999",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Content-Encoding: gzip",
            "no colon",
        ] {
            let found = parse(
                format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(),
                4096,
            );
            assert!(
                matches!(found, Err(HeadError::Malformed(_))),
                "{headers}: {found:?}"
            );
        }
    }

    #[test]
    fn heads_end_in_time() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(5000));
        assert_eq!(parse(endless.as_bytes(), 4096), Err(HeadError::TooLong));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "X: 1\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(parse(many.as_bytes(), 4096), Err(HeadError::TooLong));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nX: 1\r\n", 4096), Ok(None));
    }

    #[test]
    fn cookies_come_with_and_without_name() {
        let header = |text: &str| cookie_header(&Secret::new(text.to_owned()));
        let expected = Some(Secret::new("vmware_soap_session=\"ab\"".to_owned()));
        for text in [
            "\"ab\"",
            " vmware_soap_session=\"ab\" ",
            "vmware_soap_session = \"ab\"; Path=/; HttpOnly",
        ] {
            assert_eq!(header(text), expected, "{text}");
        }
        for text in ["", "vmware_soap_session=", "a\r\nX: b", "\u{e9}"] {
            assert_eq!(header(text), None, "{text}");
        }
    }
}
