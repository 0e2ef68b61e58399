//! The likely cause of a failure whose code means many things.

mod pattern;

use std::fmt;

use vixdisklib_sys::VixError;

use super::{Context, Error, Operation};
use pattern::{Cause, PATTERNS};

/// The likely cause of an [`Error`], and with it what to do; `Display` is one line.
///
/// The library has one code for many failures: 1, "unknown error", is what a wrong thumbprint gives, or a disk that cannot
/// take part in snapshots. A hint is derived from the lines that the library logged during the call, or where they say
/// nothing, from the code and the circumstances. It is a conclusion, not a fact: log lines have no published format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// The server's certificate is another one than the thumbprint names.
    WrongThumbprint {
        /// The thumbprint of the certificate that the server has, where the log names it.
        actual: Option<String>,
        /// The thumbprint that was asked for, where the log names it.
        expected: Option<String>,
    },
    /// The server refused the login.
    WrongCredentials,
    /// The account lacks a privilege.
    MissingPrivilege,
    /// Connecting reports nothing by itself, so what opening reports may be about the thumbprint, the credentials or the
    /// virtual machine.
    ConnectParams,
    /// The server or host cannot be reached.
    HostUnreachable,
    /// The name of the server or of a host cannot be resolved.
    NameNotResolved,
    /// The host refuses the port of its data connections, 902.
    PortBlocked,
    /// A connection that worked was lost.
    ConnectionLost,
    /// The host has no memory for another request over the network.
    HostMemory,
    /// The disk of a running virtual machine was opened without its snapshot.
    SnapshotNotNamed,
    /// The disk is in an independent mode, which takes no part in snapshots.
    IndependentDisk,
    /// Someone else holds the disk.
    DiskLocked,
    /// A local name on a connection to a server, or `[datastore] name` on a local one.
    PathOfOtherKind,
    /// The disk is not where the virtual machine said.
    DiskMoved,
    /// The virtual machine, host or snapshot that was named does not exist on this server.
    ObjectGone,
    /// A parent of the disk is missing or cannot be reached over this connection.
    ParentMissing,
    /// The disk is encrypted and its key was not given.
    Encrypted,
    /// The host is older than the library supports.
    HostTooOld,
    /// The server is no vCenter.
    NotVcenter,
    /// None of the transports works for this disk from here.
    NoTransport,
    /// The library's plugin for SAN and HotAdd was not found.
    PluginMissing,
    /// The library's own OpenSSL could not be loaded or started.
    CryptoLibrary,
    /// The licence of the host does not allow it.
    NotLicensed,
}

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::WrongThumbprint { actual, expected } => {
                formatter
                    .write_str("the server's certificate does not have the given thumbprint")?;
                return match (actual, expected) {
                    (Some(actual), Some(expected)) => {
                        write!(formatter, ": it has {actual}, given was {expected}")
                    }
                    (Some(actual), None) => write!(formatter, ": it has {actual}"),
                    (None, Some(expected)) => write!(formatter, ", which was {expected}"),
                    (None, None) => Ok(()),
                };
            }
            Self::WrongCredentials => "the server refused the user name, password or session",
            Self::MissingPrivilege => {
                "the account lacks a privilege on the virtual machine, disk or datastore"
            }
            Self::ConnectParams => {
                "check the thumbprint first, then the credentials and that the server has this virtual machine"
            }
            Self::HostUnreachable => {
                "the server cannot be reached, or its certificate was refused: check port 443 and the thumbprint"
            }
            Self::NameNotResolved => {
                "the name of the server or host cannot be resolved: this machine needs working DNS"
            }
            Self::PortBlocked => {
                "the host refused the connection: TCP port 902 of every ESXi host must be open from here"
            }
            Self::ConnectionLost => "the connection to the host was lost: open the disk again",
            Self::HostMemory => {
                "the host's NFC server is out of memory: open fewer disks at once, keep requests within 2 MiB"
            }
            Self::SnapshotNotNamed => {
                "a disk of a running virtual machine opens through a snapshot only: connect with its snapshot's reference"
            }
            Self::IndependentDisk => {
                "the disk is in independent mode, which snapshots and this library leave out: change its mode"
            }
            Self::DiskLocked => "another program or host has the disk open",
            Self::PathOfOtherKind => {
                "the name does not fit the connection: a server takes \"[datastore] folder/name.vmdk\", a local one a path"
            }
            Self::DiskMoved => {
                "the virtual machine has moved its disk: take the name from the snapshot, not from the virtual machine"
            }
            Self::ObjectGone => "the server has no such virtual machine or snapshot (any more)",
            Self::ParentMissing => {
                "a parent of the disk is missing, or cannot be reached over this connection"
            }
            Self::Encrypted => {
                "the disk is encrypted: use NBDSSL or HotAdd, with the privilege Cryptographer.Access"
            }
            Self::HostTooOld => "the host is older than this library supports: use an older VDDK",
            Self::NotVcenter => {
                "the server is no vCenter, which this function needs; on a host it can be left out"
            }
            Self::NoTransport => {
                "none of the transports works for this disk from this machine: allow another one, such as nbdssl"
            }
            Self::PluginMissing => {
                "libdiskLibPlugin was not found, so SAN and HotAdd are missing: name the root of the distribution"
            }
            Self::CryptoLibrary => {
                "the library's own OpenSSL cannot be used on this system: check FIPS settings and the release of VDDK"
            }
            Self::NotLicensed => "the host's licence does not allow backups through this interface",
        };
        formatter.write_str(text)
    }
}

impl Error {
    /// The likely cause, where the code alone does not name it: from the lines that the library logged during the call,
    /// else from the code and the circumstances.
    ///
    /// ```
    /// use vixdisklib::{Hint, Library, OpenFlags};
    ///
    /// let connection = Library::embedded()?.connect_local()?;
    /// let error = connection.open_disk("[datastore1] vm/vm.vmdk", OpenFlags::READ_ONLY).unwrap_err();
    /// assert_eq!(error.hint(), Some(Hint::PathOfOtherKind));
    /// eprintln!("{error}");
    /// if let Some(hint) = error.hint() {
    ///     eprintln!("hint: {hint}");
    /// }
    /// # Ok::<(), vixdisklib::Error>(())
    /// ```
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        self.pairing()
            .or_else(|| self.logged())
            .or_else(|| self.implied())
    }

    /// A name of the wrong kind is beyond doubt, and what is logged is only what follows from it.
    fn pairing(&self) -> Option<Hint> {
        let path = self.path()?.to_string_lossy();
        let remote = self.server().is_some();
        // A first class disk may be named by its bare id, so only what is plainly a local path counts.
        let local_name = path.starts_with('/') || path.get(1..3) == Some(":\\");
        // A relative name has become an absolute path on a local connection.
        let remote_name = path
            .split('/')
            .any(|part| part.starts_with('[') && part.contains("] "));
        let failed = self.operation() == Operation::Open && self.code().is_some();
        let wrong = if remote { local_name } else { remote_name };
        (failed && wrong).then_some(Hint::PathOfOtherKind)
    }

    /// The first pattern that a line fits; the lines of other threads count when no own line says anything.
    fn logged(&self) -> Option<Hint> {
        let lines = |other| {
            self.log_lines()
                .iter()
                .filter(move |line| line.other_thread() == other)
                .map(|line| line.text().to_owned())
        };
        let own: Vec<_> = lines(false).chain(self.causes()).collect();
        let others: Vec<_> = lines(true).collect();
        recognise(&own).or_else(|| recognise(&others))
    }

    /// What this crate's own causes say, of a library that could not be loaded for example.
    fn causes(&self) -> Vec<String> {
        let mut cause = self
            .0
            .cause
            .as_ref()
            .map(|cause| &**cause as &(dyn std::error::Error + 'static));
        let mut texts = Vec::new();
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
        texts
    }

    /// What the code means under the circumstances (Virtual Disk Programming Guide; release notes of VDDK).
    fn implied(&self) -> Option<Hint> {
        let code = self.code()?.without_detail();
        let remote = self.server().is_some();
        let opening = self.operation() == Operation::Open;
        let snapshot = self
            .context()
            .iter()
            .any(|context| matches!(context, Context::Snapshot(_)));
        match code {
            VixError::FILE_ALREADY_LOCKED => Some(Hint::DiskLocked),
            VixError::DISK_PARTIALCHAIN | VixError::DISK_OPENPARENT => Some(Hint::ParentMissing),
            VixError::DISK_NEEDKEY | VixError::NEED_KEY | VixError::DISK_NOKEY => {
                Some(Hint::Encrypted)
            }
            VixError::LICENSE | VixError::DISK_NOLICENSE => Some(Hint::NotLicensed),
            VixError::AUTHENTICATION_FAIL => Some(Hint::WrongCredentials),
            VixError::HOST_USER_PERMISSIONS => Some(Hint::MissingPrivilege),
            VixError::SNAPSHOT_INDEPENDENTDISK => Some(Hint::IndependentDisk),
            VixError::HOST_SERVER_NOT_FOUND | VixError::NET_HTTP_COULDNT_RESOLVE_HOST => {
                Some(Hint::NameNotResolved)
            }
            VixError::HOST_NETWORK_CONN_REFUSED => Some(Hint::PortBlocked),
            VixError::HOST_TCP_CONN_LOST | VixError::HOST_CONNECTION_LOST => {
                Some(Hint::ConnectionLost)
            }
            VixError::VM_NOT_FOUND | VixError::SNAPSHOT_NOTFOUND => Some(Hint::ObjectGone),
            VixError::OUT_OF_MEMORY if remote => Some(Hint::HostMemory),
            VixError::CANNOT_CONNECT_TO_HOST if remote => Some(Hint::HostUnreachable),
            VixError::FAIL if remote && opening => Some(Hint::ConnectParams),
            VixError::FILE_NOT_FOUND if remote && opening => Some(Hint::DiskMoved),
            VixError::FILE_ACCESS_ERROR if remote && opening && !snapshot => {
                Some(Hint::SnapshotNotNamed)
            }
            // Before 8.0.2 a host that is lost in the middle shows as this code.
            VixError::FILE_ACCESS_ERROR if remote && !opening => Some(Hint::ConnectionLost),
            _ => None,
        }
    }
}

fn recognise(lines: &[String]) -> Option<Hint> {
    let lower: Vec<_> = lines.iter().map(|line| line.to_lowercase()).collect();
    let fits = |words: &[&str]| {
        lower
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    let found = PATTERNS.iter().find(|pattern| fits(pattern.words))?;
    Some(match &found.cause {
        Cause::Thumbprint => thumbprint(lines),
        Cause::Plain(hint) => hint.clone(),
    })
}

/// The thumbprints that the lines name: the library writes an actual and an expected one, in that order (manual of
/// nbdkit's VDDK plugin).
fn thumbprint(lines: &[String]) -> Hint {
    let (mut actual, mut expected) = (None, None);
    for line in lines {
        let mut before = line.as_str();
        while let Some((label, found, rest)) = next_thumbprint(before) {
            let label = label.to_lowercase();
            // A label with both words is a headline: then the order says which is which.
            let place = label.contains("expect") && !label.contains("actual");
            let slot = if place || actual.is_some() {
                &mut expected
            } else {
                &mut actual
            };
            slot.get_or_insert_with(|| found.to_owned());
            before = rest;
        }
    }
    Hint::WrongThumbprint { actual, expected }
}

/// The text before the first thumbprint, the thumbprint, and the text behind it.
fn next_thumbprint(text: &str) -> Option<(&str, &str, &str)> {
    let digest = |character: char| character.is_ascii_hexdigit() || character == ':';
    let mut from = 0;
    loop {
        let start = from + text[from..].find(digest)?;
        let length = text[start..]
            .find(|character| !digest(character))
            .unwrap_or(text.len() - start);
        let run = &text[start..start + length];
        let trimmed = run.trim_matches(':');
        let pairs = trimmed.split(':');
        // 20 pairs are SHA-1, 32 are SHA-256.
        if matches!(pairs.clone().count(), 20 | 32) && pairs.clone().all(|pair| pair.len() == 2) {
            return Some((&text[..start], trimmed, &text[start + length..]));
        }
        from = start + length;
    }
}

#[cfg(test)]
mod tests;
