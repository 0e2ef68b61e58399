//! What a simulator does wrong, and when.

mod parse;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use parse::InvalidInjection;

use crate::transcript::{Event, Transcript};

/// Something that goes wrong, or differently. Its name on the command line stands behind each.
///
/// ```
/// use vsphere_sim::{Injection, Plan};
///
/// let plan: Plan = "disconnect-in-read=bytes:1000,after:3,times:1".parse()?;
/// assert_eq!(plan.injection, Injection::DisconnectInRead { bytes: 1000 });
/// assert_eq!((plan.after, plan.times), (3, Some(1)));
/// # Ok::<(), vsphere_sim::InvalidInjection>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Injection {
    /// `wrong-password`: a login is refused.
    WrongPassword,
    /// `session-expired`: at a call that needs a login, all logins end.
    SessionExpired,
    /// `unknown-vm`: a call about a machine faults with `ManagedObjectNotFound`.
    UnknownVm,
    /// `soap-fault=method:NAME,type:FAULT`: calls of a method fault.
    SoapFault {
        /// The method, such as `NfcGetVmFiles`; every one if empty.
        method: String,
        /// The type of the fault, such as `NoPermission`.
        kind: String,
    },
    /// `http-error=status:503`: the management port answers a request without a SOAP document.
    HttpError {
        /// The status.
        status: u16,
    },
    /// `management-certificate`: the management port shows another certificate than the one that is told.
    ManagementCertificate,
    /// `ticket-thumbprint`: a ticket tells another certificate than the data port has.
    TicketThumbprint,
    /// `announced-sha256`: the data port tells the SHA-256 of another certificate.
    AnnouncedSha256,
    /// `second-certificate`: the second TLS session has another certificate than the first.
    SecondCertificate,
    /// `ticket-refused=how:line` or `how:close`: a ticket is not taken, as if it were used or expired.
    TicketRefused {
        /// Whether the connection just ends, without a line.
        silent: bool,
    },
    /// `read-only-tickets`: tickets for writing are good for reading only.
    ReadOnlyTickets,
    /// `greeting=without:sha256` or `without:nfcssl`: the data port announces less.
    Greeting {
        /// What it leaves out.
        without: Capability,
    },
    /// `proxy-refused`: there is no such service.
    ProxyRefused,
    /// `classic-refused=instead:36,with:end`: in the handshake the answer 36, 51 or 52 is another one.
    ClassicRefused {
        /// The number of the message that should have come.
        instead_of: u32,
        /// Whether an error with a text comes (20), or only the end of the session (4).
        with_error: bool,
    },
    /// `probe-reply=late:true`: when the answer 36 is sent, whatever the profile says.
    ProbeReply {
        /// After the client's version instead of at once.
        late: bool,
    },
    /// `open-refused=reason:locked`, or `code:N,text:TEXT`: a disk is not opened.
    OpenRefused {
        /// Why.
        reason: OpenRefusal,
    },
    /// `io-error=on:read,code:13,text:TEXT`: a read or a write fails.
    IoError {
        /// Which.
        on: IoKind,
        /// The code of the error.
        code: u32,
        /// Its text.
        text: String,
    },
    /// `out-of-memory=above:BYTES`: reads and writes of more bytes fail with code 5.
    OutOfMemory {
        /// The longest that does not.
        above: u32,
    },
    /// `session-refused`: a session is not opened, with code 5, as if the host had no memory left.
    SessionRefused,
    /// `small-buffers=limit:BYTES`: sessions with larger buffers are refused.
    SmallBuffers {
        /// The largest buffer.
        limit: u32,
    },
    /// `session-limit`: the data port refuses a connection to its service, as if there were too many.
    SessionLimit,
    /// `disconnect=messages:N`: a connection to the data port ends after so many messages, in both directions together;
    /// the greeting is the first.
    Disconnect {
        /// How many messages.
        messages: u32,
    },
    /// `disconnect-in-read=bytes:N`: the connection ends within the data of a read.
    DisconnectInRead {
        /// After so many bytes of data in a message.
        bytes: u32,
    },
    /// `truncated-frame`: the connection ends within the header of a reply.
    TruncatedFrame,
    /// `bad-header=field:magic`, `field:operation` or `field:kind`: a reply has a wrong header.
    BadHeader {
        /// What is wrong.
        field: HeaderField,
    },
    /// `bad-fragment=fault:overlap` and so on: a part of what was read is not what it should be.
    BadFragment {
        /// What is wrong.
        fault: FragmentFault,
    },
    /// `raw-skipz`: parts that should be compressed by SkipZ are not, and say they are, as was observed on ESXi 8.
    RawSkipZ,
    /// `uncompressed`: what is read is not compressed, whatever was asked for.
    Uncompressed,
    /// `shuffle`: parts of reads come in another order, and so do the replies.
    Shuffle,
    /// `delay=ms:N`: each message of the server comes later. Unlike the latency of the builder, the server does nothing
    /// else meanwhile.
    Delay {
        /// So much later.
        time: Duration,
    },
    /// `bandwidth=bytes:N`: the data port sends so many bytes in a second on each connection.
    Bandwidth {
        /// The bytes.
        bytes: u64,
    },
    /// `stall=ms:N`: the server is silent for so long before a reply to an open session; meant with `times:1`.
    Stall {
        /// For so long.
        time: Duration,
    },
    /// `error-reply=trailing:true` or `false`: whether an error on an open session is followed by an ordinary reply.
    /// Without this, it is after a refused `OPEN_FILE`, as observed on ESXi 7.0.3.
    ErrorReply {
        /// Whether it is.
        trailing: bool,
    },
    /// `host-switch=how:close` or `how:message`: on a message of an open session, the host changes: all sessions are
    /// closed and tickets name another port; or a message comes that nobody asked for.
    HostSwitch {
        /// Whether a message comes instead.
        message: bool,
    },
    /// `maintenance=state:in` or `state:entering`: calls for tickets fault, and open sessions end at their next message.
    Maintenance {
        /// Whether the host is on its way only.
        entering: bool,
    },
    /// `host-disconnected`: calls for tickets fault, for vCenter does not reach the host.
    HostDisconnected,
    /// `delayed-write-reply=writes:N`: the reply to a write comes after so many further ones, before the reply to what is
    /// no write, or after a tenth of a second.
    DelayedWriteReply {
        /// How many.
        writes: u32,
    },
    /// `no-blocks`: the disk cannot tell what is allocated.
    NoBlocks,
}

/// What a greeting may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `SHA256 supported`; the command for it is refused then.
    Sha256,
    /// `NFCSSL supported`; the encrypted service is refused then.
    NfcSsl,
}

/// Why a disk is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenRefusal {
    /// `locked`: somebody else has it.
    Locked,
    /// `missing`: there is no such file.
    Missing,
    /// `permission`: the ticket is not for it.
    Permission,
    /// `multiwriter`: a running machine writes to it.
    MultiWriter,
    /// Any code and text.
    Other {
        /// The code.
        code: u32,
        /// The text.
        text: String,
    },
}

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// `read`.
    Read,
    /// `write`.
    Write,
}

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderField {
    /// `magic`: its begin.
    Magic,
    /// `operation`: an operation that nobody began.
    Operation,
    /// `kind`: a message that is not known.
    Kind,
}

/// What is wrong with a part of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FragmentFault {
    /// `overlap`: it comes twice.
    Overlap,
    /// `range`: it ends after the end of the request.
    OutOfRange,
    /// `empty`: it has no bytes.
    Empty,
    /// `length`: fewer bytes follow than it has.
    Length,
    /// `data`: its compressed bytes are damaged; if it is not compressed, it says that it is.
    Data,
}

/// An injection, and when it happens. By default at each occasion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What happens.
    pub injection: Injection,
    /// How many occasions pass before.
    pub after: u32,
    /// How often it happens; always, if `None`.
    pub times: Option<u32>,
}

impl From<Injection> for Plan {
    fn from(injection: Injection) -> Self {
        Self {
            injection,
            after: 0,
            times: None,
        }
    }
}

impl Plan {
    /// Lets so many occasions pass first.
    #[must_use]
    pub fn after(mut self, occasions: u32) -> Self {
        self.after = occasions;
        self
    }

    /// Makes it happen so often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

impl Injection {
    /// At the next occasion, and never again.
    #[must_use]
    pub fn once(self) -> Plan {
        Plan::from(self).times(1)
    }

    /// At each occasion, but no more than so often.
    #[must_use]
    pub fn times(self, times: u32) -> Plan {
        Plan::from(self).times(times)
    }

    /// After so many occasions, and from then on.
    #[must_use]
    pub fn after(self, occasions: u32) -> Plan {
        Plan::from(self).after(occasions)
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::SessionExpired => "session-expired",
            Self::UnknownVm => "unknown-vm",
            Self::SoapFault { .. } => "soap-fault",
            Self::HttpError { .. } => "http-error",
            Self::ManagementCertificate => "management-certificate",
            Self::TicketThumbprint => "ticket-thumbprint",
            Self::AnnouncedSha256 => "announced-sha256",
            Self::SecondCertificate => "second-certificate",
            Self::TicketRefused { .. } => "ticket-refused",
            Self::ReadOnlyTickets => "read-only-tickets",
            Self::Greeting { .. } => "greeting",
            Self::ProxyRefused => "proxy-refused",
            Self::ClassicRefused { .. } => "classic-refused",
            Self::ProbeReply { .. } => "probe-reply",
            Self::OpenRefused { .. } => "open-refused",
            Self::IoError { .. } => "io-error",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::SessionRefused => "session-refused",
            Self::SmallBuffers { .. } => "small-buffers",
            Self::SessionLimit => "session-limit",
            Self::Disconnect { .. } => "disconnect",
            Self::DisconnectInRead { .. } => "disconnect-in-read",
            Self::TruncatedFrame => "truncated-frame",
            Self::BadHeader { .. } => "bad-header",
            Self::BadFragment { .. } => "bad-fragment",
            Self::RawSkipZ => "raw-skipz",
            Self::Uncompressed => "uncompressed",
            Self::Shuffle => "shuffle",
            Self::Delay { .. } => "delay",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Stall { .. } => "stall",
            Self::ErrorReply { .. } => "error-reply",
            Self::HostSwitch { .. } => "host-switch",
            Self::Maintenance { .. } => "maintenance",
            Self::HostDisconnected => "host-disconnected",
            Self::DelayedWriteReply { .. } => "delayed-write-reply",
            Self::NoBlocks => "no-blocks",
        }
    }
}

#[derive(Debug)]
struct Armed {
    plan: Plan,
    /// Occasions that passed.
    passed: u32,
    /// How often it happened.
    done: u32,
}

impl Armed {
    /// Takes an occasion: whether it happens now.
    fn take(&mut self) -> bool {
        if self.passed < self.plan.after {
            self.passed += 1;
            return false;
        }
        if self.plan.times.is_some_and(|times| self.done >= times) {
            return false;
        }
        self.done = self.done.saturating_add(1);
        true
    }
}

/// The plans of a simulator.
#[derive(Debug)]
pub(crate) struct Injections {
    /// Whether there are any: most of the time nobody has to look.
    any: AtomicBool,
    armed: Mutex<Vec<Armed>>,
    transcript: Transcript,
}

impl Injections {
    pub(crate) fn new(transcript: Transcript) -> Self {
        Self {
            any: AtomicBool::new(false),
            armed: Mutex::default(),
            transcript,
        }
    }

    pub(crate) fn add(&self, plan: Plan) {
        let mut armed = self.armed.lock();
        armed.push(Armed {
            plan,
            passed: 0,
            done: 0,
        });
        self.any.store(true, Ordering::Release);
    }

    /// Forgets the plans of this name, or all; gives how many.
    pub(crate) fn remove(&self, name: Option<&str>) -> usize {
        let mut armed = self.armed.lock();
        let before = armed.len();
        armed.retain(|armed| name.is_some_and(|name| armed.plan.injection.name() != name));
        self.any.store(!armed.is_empty(), Ordering::Release);
        before - armed.len()
    }

    /// The plans, and how often each happened.
    pub(crate) fn list(&self) -> Vec<(Plan, u32)> {
        self.armed
            .lock()
            .iter()
            .map(|armed| (armed.plan.clone(), armed.done))
            .collect()
    }

    /// An occasion for those that `pick` picks; gives what it makes of the first that happens.
    pub(crate) fn happens<T>(
        &self,
        connection: Option<u64>,
        pick: impl Fn(&Injection) -> Option<T>,
    ) -> Option<T> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut found = None;
        for armed in self.armed.lock().iter_mut() {
            if let Some(picked) = pick(&armed.plan.injection)
                && armed.take()
            {
                found = Some((picked, armed.plan.injection.name()));
                break;
            }
        }
        let (picked, name) = found?;
        self.transcript.add(Event::Injected { connection, name });
        Some(picked)
    }

    /// The same for injections without a value.
    pub(crate) fn is(&self, connection: Option<u64>, injection: &Injection) -> bool {
        self.happens(connection, |planned| (planned == injection).then_some(()))
            .is_some()
    }

    /// A property of the server, which is no occasion: it holds while it is planned.
    pub(crate) fn holds<T>(&self, pick: impl Fn(&Injection) -> Option<T>) -> Option<T> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.armed
            .lock()
            .iter()
            .find_map(|armed| pick(&armed.plan.injection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_injection_happens_when_it_is_planned() {
        let transcript = Transcript::new();
        let injections = Injections::new(transcript.clone());
        injections.add(Injection::WrongPassword.after(2).times(2));
        let seen: Vec<bool> = (0..6)
            .map(|_| injections.is(None, &Injection::WrongPassword))
            .collect();
        assert_eq!(seen, [false, false, true, true, false, false]);
        assert!(!injections.is(None, &Injection::UnknownVm));
        assert_eq!(transcript.len(), 2);
        assert_eq!(injections.list()[0].1, 2);
    }

    #[test]
    fn injections_go_by_name_or_all_together() {
        let injections = Injections::new(Transcript::new());
        injections.add(Injection::Shuffle.into());
        injections.add(Injection::NoBlocks.into());
        injections.add(Injection::Shuffle.once());
        assert_eq!(injections.remove(Some("shuffle")), 2);
        assert!(injections.is(None, &Injection::NoBlocks));
        assert_eq!(injections.remove(None), 1);
        assert!(!injections.is(None, &Injection::NoBlocks));
    }
}
