//! Answers as literal bytes.

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Response, HttpError> {
    read_response(&mut { bytes })
}

#[test]
fn bodies_are_whole_however_they_are_framed() {
    for (answer, keeps) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n07;x=y\r\ndefghij\r\n0\r\nA: b\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nabcdefghij", false),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghijk",
            false,
        ),
    ] {
        let response = read(answer.as_bytes()).expect(answer);
        assert_eq!(response.status, 200, "{answer}");
        assert_eq!(response.body.as_slice(), b"abcdefghij", "{answer}");
        assert_eq!(response.keeps, keeps, "{answer}");
    }
}

#[test]
fn answers_that_end_too_early_are_no_answers() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let error = read(answer.as_bytes()).expect_err(answer);
        assert!(
            matches!(&error, HttpError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof),
            "{answer}: {error:?}"
        );
    }
}

#[test]
fn broken_chunks_are_refused() {
    for chunks in [
        "x\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n",
        "3\nabc\r\n",
        "-1\r\n",
        "11111111111111111\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let error = read(answer.as_bytes()).expect_err(chunks);
        assert!(
            matches!(error, HttpError::Malformed(_)),
            "{chunks}: {error:?}"
        );
    }
}

/// Gives the head, then the same byte for ever.
struct Endless<'a> {
    head: &'a [u8],
    given: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            return self.head.read(buffer);
        }
        self.given += buffer.len() as u64;
        buffer.fill(b'1');
        Ok(buffer.len())
    }
}

#[test]
fn answers_without_end_are_given_up() {
    for head in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ] {
        let mut stream = Endless {
            head: head.as_bytes(),
            given: 0,
        };
        let error = read_response(&mut stream).expect_err(head);
        assert!(matches!(error, HttpError::TooLong), "{head}: {error:?}");
        assert!(
            stream.given <= MAX_BODY as u64 + 16384,
            "{head}: {}",
            stream.given
        );
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INTERIM + 1);
    assert!(matches!(
        read(interim.as_bytes()),
        Err(HttpError::Malformed(_))
    ));
}

#[test]
fn requests_are_whole_and_name_the_server() {
    let cookie = Secret::new("vmware_soap_session=1".to_owned());
    let message = written(
        Request::Post {
            path: "/sdk",
            action: "urn:vim25/8.0.3.0",
            cookie: Some(&cookie),
            body: b"<x/>",
        },
        &authority("::1", 8443),
    );
    let expected = "POST /sdk HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Type: text/xml; charset=utf-8\r\n\
        Accept: text/xml\r\nSOAPAction: \"urn:vim25/8.0.3.0\"\r\nCookie: vmware_soap_session=1\r\n\
        Content-Length: 4\r\n\r\n<x/>";
    assert_eq!(std::str::from_utf8(message.as_slice()), Ok(expected));
    let message = written(Request::Get { path: "/a" }, &authority("esx", 443));
    assert!(
        message
            .as_slice()
            .starts_with(b"GET /a HTTP/1.1\r\nHost: esx\r\n")
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_refused(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_head_are_a_body_or_refused(
        framing in prop::sample::select(vec!["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]),
        bytes: Vec<u8>,
    ) {
        let mut answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n").into_bytes();
        answer.extend(bytes);
        let _ = read(&answer);
    }

    #[test]
    fn chunked_bodies_are_put_together(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10)) {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in &pieces {
            answer.extend(format!("{:x}\r\n", piece.len()).bytes());
            answer.extend(piece);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        let response = read(&answer).expect("well-formed");
        prop_assert_eq!(response.body.as_slice(), pieces.concat());
        prop_assert!(response.keeps);
    }
}
