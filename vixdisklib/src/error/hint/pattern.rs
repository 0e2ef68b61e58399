//! What the library logs, and the cause that it stands for: data, no code.
//!
//! A pattern fits a line that has all its words, in any order, whatever their case; the first that fits a line of the
//! call wins, so the more certain ones come first. The library's lines have no published format and change with its
//! release. So a pattern holds only the words that carry the meaning, and the comment above says who reported them.

use super::Hint;

/// One kind of line.
pub(super) struct Pattern {
    /// All of them are in the line; lower case.
    pub(super) words: &'static [&'static str],
    pub(super) cause: Cause,
}

/// What a line stands for.
pub(super) enum Cause {
    /// A wrong thumbprint; which ones is read from the lines.
    Thumbprint,
    /// A hint that has no more to say.
    Plain(Hint),
}

const fn plain(words: &'static [&'static str], hint: Hint) -> Pattern {
    Pattern {
        words,
        cause: Cause::Plain(hint),
    }
}

const fn thumbprint(words: &'static [&'static str]) -> Pattern {
    Pattern {
        words,
        cause: Cause::Thumbprint,
    }
}

/// All patterns, the more certain ones first.
pub(super) const PATTERNS: &[Pattern] = &[
    // Manual of nbdkit's VDDK plugin, on error 1 at open: the log has the actual and the expected thumbprint.
    thumbprint(&["thumbprint", "mismatch"]),
    thumbprint(&["thumbprint", "not match"]),
    thumbprint(&["thumbprint", "expected"]),
    thumbprint(&["fingerprint", "mismatch"]),
    // The embedded engine.
    thumbprint(&["certificate has the thumbprint", "not"]),
    // Manual of nbdkit's VDDK plugin: "received NFC error 5 from server: Failed to allocate the requested 2097176 bytes".
    plain(&["nfc error 5"], Hint::HostMemory),
    plain(
        &["failed to allocate the requested", "bytes"],
        Hint::HostMemory,
    ),
    // Answers of a host when the memory of its NFC service is used up; Virtual Disk Programming Guide, NBD transport.
    plain(&["nfc", "out of memory"], Hint::HostMemory),
    plain(&["nfc", "memory limit"], Hint::HostMemory),
    // Reported to nbdkit for disks in independent mode, which VDDK 7 and later refuse.
    plain(&["cannot create disk spec"], Hint::IndependentDisk),
    plain(
        &["independent", "disk", "not supported"],
        Hint::IndependentDisk,
    ),
    // Faults of the vSphere API (its reference: InvalidLogin, NoPermission, NotAuthenticated).
    plain(&["incorrect user name or password"], Hint::WrongCredentials),
    plain(&["vim.fault.invalidlogin"], Hint::WrongCredentials),
    plain(&["login failure"], Hint::WrongCredentials),
    plain(&["notauthenticated"], Hint::WrongCredentials),
    plain(&["vim.fault.nopermission"], Hint::MissingPrivilege),
    plain(
        &["permission to perform this operation was denied"],
        Hint::MissingPrivilege,
    ),
    // vSphere API reference: ManagedObjectNotFound, and the text of vCenter for it.
    plain(&["managedobjectnotfound"], Hint::ObjectGone),
    plain(
        &["has already been deleted or has not been completely created"],
        Hint::ObjectGone,
    ),
    // Virtual Disk Programming Guide: PrepareForAccess is for vCenter, and a host refuses it. The words are expected, not seen.
    plain(&["host agent", "not a vcenter"], Hint::NotVcenter),
    plain(&["not connected to", "virtualcenter"], Hint::NotVcenter),
    // Virtual Disk Programming Guide, NBD transport: "the server refused connection" means that port 902 is blocked.
    plain(&["server refused connection"], Hint::PortBlocked),
    plain(&[":902", "refused"], Hint::PortBlocked),
    plain(&[":902", "timed out"], Hint::PortBlocked),
    plain(&["port 902", "failed"], Hint::PortBlocked),
    plain(&["authd", "connection refused"], Hint::PortBlocked),
    // Virtual Disk Programming Guide, tips: without DNS the check of the certificate fails with "no host".
    plain(&["could not resolve"], Hint::NameNotResolved),
    plain(&["name or service not known"], Hint::NameNotResolved),
    plain(
        &["temporary failure in name resolution"],
        Hint::NameNotResolved,
    ),
    plain(&["certificate", "no host"], Hint::NameNotResolved),
    // Locks of a host: the disk library's code 16392, and the texts of its NFC server for a running virtual machine.
    plain(&["disklib error 16392"], Hint::DiskLocked),
    plain(&["failed to lock"], Hint::DiskLocked),
    plain(&["multiwriter"], Hint::DiskLocked),
    plain(&["someone else has", "locked"], Hint::DiskLocked),
    // Containerized Data Importer, on error 13: the live disk of a running virtual machine needs its snapshot. The text
    // is that of the host's NFC server for a name that the ticket does not cover.
    plain(&["permission check failed"], Hint::SnapshotNotNamed),
    plain(&["snapshotref", "required"], Hint::SnapshotNotNamed),
    // Field reports of old hosts: opening works and the first read fails.
    plain(&["host", "version", "not supported"], Hint::HostTooOld),
    plain(&["server", "version", "not supported"], Hint::HostTooOld),
    plain(&["unsupported", "esx", "version"], Hint::HostTooOld),
    // Logs of nbdkit and of the Containerized Data Importer: started without libDir, or with lib64 instead of the root.
    plain(&["disklibplugin", "cannot open"], Hint::PluginMissing),
    plain(&["disklibplugin", "no such file"], Hint::PluginMissing),
    plain(&["disklibplugin", "not loading"], Hint::PluginMissing),
    plain(&["disklibplugin", "not found"], Hint::PluginMissing),
    plain(&["lib64/lib64"], Hint::PluginMissing),
    // Field reports of VDDK 8.0.2 on RHEL 8 and of machines in FIPS mode: the private OpenSSL does not load or start.
    plain(&["libssl", "cannot open"], Hint::CryptoLibrary),
    plain(&["libcrypto", "cannot open"], Hint::CryptoLibrary),
    plain(&["libcrypto", "not found"], Hint::CryptoLibrary),
    plain(&["libssl", "not found"], Hint::CryptoLibrary),
    plain(&["fips", "fail"], Hint::CryptoLibrary),
    plain(&["fips", "error"], Hint::CryptoLibrary),
    plain(&["openssl", "version", "mismatch"], Hint::CryptoLibrary),
    // When SAN or HotAdd alone is allowed. The words are expected, not seen.
    plain(&["no transport modes avail"], Hint::NoTransport),
    // The name of a fault in the vSphere API reference. Expected, not seen.
    plain(&["restrictedversion"], Hint::NotLicensed),
    plain(&["not licensed"], Hint::NotLicensed),
    // What a network fault in the middle of a copy may leave. The words are expected, not seen.
    plain(&["nfc", "connection", "closed by"], Hint::ConnectionLost),
    plain(&["nfc", "connection", "reset"], Hint::ConnectionLost),
    plain(&["nfc", "session", "lost"], Hint::ConnectionLost),
];
