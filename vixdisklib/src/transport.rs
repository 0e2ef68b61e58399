//! The ways to a disk: their names, an order of preference, and the one that was chosen.

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Operation, Result};

/// No name that is known has half that many characters.
const LONGEST_NAME: usize = 32;

/// A way to the data of a disk, by the name that the library gives it.
///
/// The set is open: a name that this crate does not know passes through, and the library decides.
///
/// ```
/// use vixdisklib::Transport;
///
/// assert_eq!("nbdssl".parse::<Transport>()?, Transport::NBDSSL);
/// assert_eq!(Transport::HOTADD, "hotadd");
/// assert!("nbd ssl".parse::<Transport>().is_err());
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transport(Cow<'static, str>);

impl Transport {
    /// Files of this machine.
    pub const FILE: Self = Self(Cow::Borrowed("file"));
    /// The LUN itself, from a machine on the same storage network.
    pub const SAN: Self = Self(Cow::Borrowed("san"));
    /// The disk attached to the virtual machine that this process runs in.
    pub const HOTADD: Self = Self(Cow::Borrowed("hotadd"));
    /// The network, encrypted.
    pub const NBDSSL: Self = Self(Cow::Borrowed("nbdssl"));
    /// The network, not encrypted.
    pub const NBD: Self = Self(Cow::Borrowed("nbd"));
    /// What stands for a name that the library did not give; never sent to it.
    pub const UNKNOWN: Self = Self(Cow::Borrowed("unknown"));

    const KNOWN: [Self; 5] = [Self::FILE, Self::SAN, Self::HOTADD, Self::NBDSSL, Self::NBD];

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in a string of the library; one that is none counts as unknown.
    ///
    /// # Safety
    /// `text` is null or a C string.
    pub(crate) unsafe fn from_library(text: *const c_char) -> Self {
        if text.is_null() {
            return Self::UNKNOWN;
        }
        // SAFETY: not null, so a C string, as the caller promises.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        text.parse().unwrap_or(Self::UNKNOWN)
    }
}

/// Letters, digits, `-`, `_` and `.`, at most 32 of them.
impl FromStr for Transport {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some(known) = Self::KNOWN.into_iter().find(|known| known == name) {
            return Ok(known);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(legal) {
            let text = format!("{name:?} is no name of a transport");
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                Operation::Configure,
                text,
            ));
        }
        Ok(Self(Cow::Owned(name.to_owned())))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl PartialEq<str> for Transport {
    fn eq(&self, name: &str) -> bool {
        self.0 == name
    }
}

impl PartialEq<&str> for Transport {
    fn eq(&self, name: &&str) -> bool {
        self.0 == *name
    }
}

/// Transports in order of preference; none of them means the library's own order.
///
/// The library tries them from left to right whenever a disk is opened. VDDK prefers SAN by default and notices only
/// on use that it does not work, so programs that nobody watches should name what they want (Virtual Disk Programming
/// Guide; manual of nbdkit's VDDK plugin).
///
/// ```
/// use vixdisklib::{Transport, TransportModes};
///
/// let modes = TransportModes::from([Transport::NBDSSL, Transport::NBD]);
/// assert_eq!(modes.to_string(), "nbdssl:nbd");
/// assert_eq!(modes, "nbdssl:nbd".parse()?);
/// # Ok::<(), vixdisklib::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransportModes(Vec<Transport>);

impl TransportModes {
    /// Whether none is named, so that the library's own order counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The transports, the preferred one first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Transport> {
        self.0.iter()
    }

    /// Whether `transport` is one of them.
    #[must_use]
    pub fn contains(&self, transport: &Transport) -> bool {
        self.0.contains(transport)
    }

    /// The list in a string of the library, without what is no name.
    ///
    /// # Safety
    /// `text` is null or a C string.
    pub(crate) unsafe fn from_library(text: *const c_char) -> Self {
        if text.is_null() {
            return Self::default();
        }
        // SAFETY: not null, so a C string, as the caller promises.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        text.split(':')
            .filter_map(|name| name.parse().ok())
            .collect()
    }
}

/// Of a transport that is named twice the first place counts.
impl FromIterator<Transport> for TransportModes {
    fn from_iter<I: IntoIterator<Item = Transport>>(transports: I) -> Self {
        let mut modes = Vec::new();
        for transport in transports {
            if !modes.contains(&transport) {
                modes.push(transport);
            }
        }
        Self(modes)
    }
}

impl<const N: usize> From<[Transport; N]> for TransportModes {
    fn from(transports: [Transport; N]) -> Self {
        transports.into_iter().collect()
    }
}

impl From<Transport> for TransportModes {
    fn from(transport: Transport) -> Self {
        Self(vec![transport])
    }
}

/// Names joined by colons; nothing at all is the empty list.
impl FromStr for TransportModes {
    type Err = Error;

    fn from_str(names: &str) -> Result<Self> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        names.split(':').map(str::parse).collect()
    }
}

/// Names joined by colons, as the library takes them.
impl fmt::Display for TransportModes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, transport) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(formatter, "{separator}{transport}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        for text in ["", "file", "nbdssl:nbd", "san:hotadd:nbdssl:nbd:rdma-2"] {
            let modes: TransportModes = text.parse().expect("a list");
            assert_eq!(modes.to_string(), text);
        }
        let modes: TransportModes = "nbd:nbdssl:nbd".parse().expect("a list");
        assert_eq!(modes.to_string(), "nbd:nbdssl");
        assert!(modes.contains(&Transport::NBD) && !modes.contains(&Transport::SAN));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "x".repeat(LONGEST_NAME + 1);
        for text in [
            ":", "nbd:", ":nbd", "nbd::san", "n b d", "nbd\0", "nbd\n", "ñbd", &long,
        ] {
            let error = text.parse::<TransportModes>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        assert!("".parse::<Transport>().is_err());
        assert!("nbd:san".parse::<Transport>().is_err());
    }

    #[test]
    fn the_library_may_say_anything() {
        // SAFETY: C strings and null.
        let read = |text: Option<&CStr>| unsafe {
            Transport::from_library(text.map_or(std::ptr::null(), CStr::as_ptr))
        };
        assert_eq!(read(None), Transport::UNKNOWN);
        assert_eq!(read(Some(c"")), Transport::UNKNOWN);
        assert_eq!(read(Some(c"nbdssl")), Transport::NBDSSL);
        assert_eq!(read(Some(c"quic")), "quic");
        assert_eq!(read(Some(c"\xff")), Transport::UNKNOWN);
        // SAFETY: a C string.
        let list = unsafe { TransportModes::from_library(c"file:san::nbd".as_ptr()) };
        assert_eq!(list.to_string(), "file:san:nbd");
        // SAFETY: null is allowed.
        let none = unsafe { TransportModes::from_library(std::ptr::null()) };
        assert!(none.is_empty());
    }
}
