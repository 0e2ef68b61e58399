//! How much a simulated server takes.

use std::time::Duration;

use crate::profile::Profile;

/// The limits of a server; the defaults are those that are public, or were observed by public clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sessions on the data port at one time. Default: 52, as through a vCenter.
    pub nfc_sessions: usize,
    /// Bytes of buffers of all sessions. Default: 48 MiB, or 96 MiB for an ESXi 8 that is logged in to directly.
    pub host_memory: u64,
    /// Bytes of one buffer. Default: 2 MiB.
    pub buffer_size: u64,
    /// Bytes of all buffers of one session. Default: 16 MiB.
    pub session_memory: u64,
    /// Bytes of a line on the data port, before its protocol for disks. Default: 1 KiB.
    pub line_length: usize,
    /// Bytes of the body of a SOAP request. Default: 1 MiB.
    pub soap_body: usize,
    /// How long a ticket waits for its use. Default: 60 seconds.
    pub ticket_lifetime: Duration,
    /// How long a SOAP session lasts without a call. Default: 30 minutes.
    pub soap_idle: Duration,
    /// How long a session on the data port lasts without a message. Default: 30 minutes.
    pub nfc_idle: Duration,
    /// Reads of one session that run at the same time. Default: 4.
    pub parallel_reads: usize,
    /// Connections to each port at one time. Default: 256.
    pub connections: usize,
}

impl Limits {
    /// The defaults for a profile.
    #[must_use]
    pub fn for_profile(profile: Profile) -> Self {
        let mebibytes = match profile {
            Profile::Esxi8Direct => 96,
            Profile::Esxi8Vcenter | Profile::Esxi7Direct => 48,
        };
        Self {
            nfc_sessions: 52,
            host_memory: mebibytes << 20,
            buffer_size: 2 << 20,
            session_memory: 16 << 20,
            line_length: 1 << 10,
            soap_body: 1 << 20,
            ticket_lifetime: Duration::from_secs(60),
            soap_idle: Duration::from_secs(30 * 60),
            nfc_idle: Duration::from_secs(30 * 60),
            parallel_reads: 4,
            connections: 256,
        }
    }
}
