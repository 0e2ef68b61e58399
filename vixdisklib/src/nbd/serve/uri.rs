//! NBD URIs as in `doc/uri.md` of the NetworkBlockDevice project.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether clients find TLS behind a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Plain,
    #[cfg_attr(
        not(any(test, feature = "nbd-tls")),
        expect(dead_code, reason = "no URI is encrypted")
    )]
    Tls,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "nbd",
            Self::Tls => "nbds",
        }
    }
}

pub(super) fn tcp(scheme: Scheme, address: SocketAddr, export: &str) -> String {
    let scheme = scheme.name();
    format!("{scheme}://{address}/{}", escaped(export.as_bytes()))
}

#[cfg(target_os = "linux")]
pub(super) fn vsock(scheme: Scheme, machine: u32, port: u32, export: &str) -> String {
    const ANY: u32 = u32::MAX;
    const HOST: u32 = 2;
    // Virtual machines know their host by a fixed number.
    let scheme = scheme.name();
    let machine = if machine == ANY { HOST } else { machine };
    format!(
        "{scheme}+vsock://{machine}:{port}/{}",
        escaped(export.as_bytes())
    )
}

pub(super) fn unix(scheme: Scheme, path: &Path, export: &str) -> String {
    let socket = escaped(path.as_os_str().as_bytes());
    let scheme = scheme.name();
    format!(
        "{scheme}+unix:///{}?socket={socket}",
        escaped(export.as_bytes())
    )
}

/// Escapes all but what stands for itself everywhere in a URI, and the slash.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_what_clients_expect() {
        let address = "127.0.0.1:10809".parse().unwrap();
        assert_eq!(tcp(Scheme::Plain, address, ""), "nbd://127.0.0.1:10809/");
        assert_eq!(
            tcp(Scheme::Tls, "[::1]:1".parse().unwrap(), "a b/é?"),
            "nbds://[::1]:1/a%20b/%C3%A9%3F"
        );
        assert_eq!(
            unix(Scheme::Plain, Path::new("/tmp/a&b.sock"), "disk"),
            "nbd+unix:///disk?socket=/tmp/a%26b.sock"
        );
    }
}
