//! STARTTLS, with something that stands for TLS.

use super::*;
use crate::nbd::session::TlsMode;

fn connect(mode: TlsMode) -> Client {
    let mut client = Client::connect(vec![("disk", ram(4096))], Limits::default(), mode);
    client.greet(3);
    client
}

#[test]
fn off_means_that_nobody_encrypts() {
    let mut client = connect(TlsMode::Off);
    assert_eq!(client.verdict(5, &[]), UNSUPPORTED);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
}

#[test]
fn offered_means_that_the_client_decides() {
    let mut client = connect(TlsMode::Offered);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    let mut client = connect(TlsMode::Offered);
    assert_eq!(client.verdict(5, b"x"), INVALID);
    assert_eq!(client.option(5, &[]), [(ACK, vec![])]);
    client.start_tls();
    assert_eq!(client.verdict(5, &[]), INVALID, "once is enough");
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);
    client.request(0, 1, 1, 0, 4);
    client.send(b"data");
    assert_eq!(client.reply(), simple(1, 0));
    client.request(0, 0, 2, 0, 4);
    assert_eq!(client.reply(), simple(2, 0));
    assert_eq!(client.read(4), b"data");
}

#[test]
fn what_was_agreed_on_in_plain_text_is_forgotten() {
    for option in [8, 11] {
        let mut client = connect(TlsMode::Offered);
        assert_eq!(client.verdict(option, &[]), ACK);
        let query = contexts("disk", &["base:allocation"]);
        assert_eq!(client.verdict(10, &query), ACK);
        assert_eq!(client.verdict(5, &[]), ACK);
        client.start_tls();
        assert_eq!(client.verdict(10, &query), INVALID, "no chunks");
        assert_eq!(client.option(7, &info("disk", &[]))[0].1[11] & 0x80, 0);
        client.request(0, 7, 1, 0, 512);
        assert_eq!(client.reply(), simple(1, 22), "no context");
    }
}

#[test]
fn required_means_that_nothing_else_can_be_negotiated() {
    let mut client = connect(TlsMode::Required);
    for option in [3, 4, 6, 7, 8, 9, 10, 11, 99] {
        let replies = client.option(option, &info("disk", &[]));
        assert_eq!(replies[0].0, TLS_REQUIRED, "{option}");
        assert!(!replies[0].1.is_empty());
    }
    let long = [0; 70_000];
    assert_eq!(client.verdict(10, &long), TLS_REQUIRED);
    assert_eq!(client.verdict(5, &long), TOO_BIG);
    assert_eq!(client.verdict(5, b"x"), INVALID);
    assert_eq!(client.verdict(5, &[]), ACK);
    client.start_tls();
    assert_eq!(client.verdict(10, &long), TOO_BIG);
    assert_eq!(client.verdict(3, &[]), ACK);
    assert_eq!(client.verdict(8, &[]), ACK);
    assert_eq!(client.verdict(7, &info("disk", &[])), ACK);

    let mut client = connect(TlsMode::Required);
    assert_eq!(client.verdict(2, &[]), ACK);
    client.finish().1.unwrap();

    let mut client = connect(TlsMode::Required);
    client.send_option(1, b"disk");
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    assert!(matches!(result, Err(SessionError::TlsRequired)));
}

/// Whoever sits between may add to what the client sends before it encrypts.
#[test]
fn plain_text_behind_starttls_ends_the_session() {
    for mode in [TlsMode::Offered, TlsMode::Required] {
        let mut client = connect(mode);
        client.send(b"IHAVEOPT\0\0\0\x05\0\0\0\0IHAVEOPT\0\0\0\x08\0\0\0\0");
        let (rest, result) = client.finish();
        assert!(rest.is_empty(), "not even an answer");
        assert!(matches!(result, Err(SessionError::Injected)));
    }
    // What comes after the answer is for TLS to judge.
    let mut client = connect(TlsMode::Offered);
    assert_eq!(client.verdict(5, &[]), ACK);
    client.send(b"IHAVEOPT\0\0\0\x08\0\0\0\0");
    let (rest, result) = client.finish();
    assert!(rest.is_empty());
    assert!(matches!(result, Err(SessionError::Tls(_))));
}

#[test]
fn a_client_that_leaves_instead_ends_the_session() {
    let mut client = connect(TlsMode::Required);
    assert_eq!(client.verdict(5, &[]), ACK);
    client.hang_up();
    assert!(matches!(client.finish().1, Err(SessionError::Tls(_))));
}
