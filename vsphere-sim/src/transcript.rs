//! What clients did, one event after another, without secrets.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

/// So many events are kept; the oldest go first.
const KEPT: usize = 100_000;

/// Something that a client did, or that was done to it. Connections have numbers, which begin with 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A connection to the management port.
    SoapConnected {
        /// The connection.
        connection: u64,
    },
    /// A document was fetched from the management port.
    Fetched {
        /// The connection.
        connection: u64,
        /// The path.
        path: String,
        /// The status of the reply.
        status: u16,
    },
    /// A method was called.
    Called {
        /// The connection.
        connection: u64,
        /// The method.
        method: String,
        /// The id of the object that it was called on.
        object: String,
        /// The type of the fault that it ended with.
        fault: Option<String>,
    },
    /// Somebody logged in, by password or by a clone ticket.
    LoggedIn {
        /// The connection.
        connection: u64,
        /// The name of the user.
        user: String,
    },
    /// Somebody could not log in.
    LoginRefused {
        /// The connection.
        connection: u64,
    },
    /// Somebody logged out.
    LoggedOut {
        /// The connection.
        connection: u64,
        /// The name of the user.
        user: String,
    },
    /// A ticket for the data port was given out.
    TicketIssued {
        /// The id of the virtual machine.
        vm: String,
        /// The key of the disk that it is for; all disks of the machine without.
        disk: Option<i32>,
        /// Whether it is good for writing.
        writable: bool,
    },
    /// A connection to the data port.
    NfcConnected {
        /// The connection.
        connection: u64,
    },
    /// A TLS handshake was finished.
    Encrypted {
        /// The connection.
        connection: u64,
        /// The port: `soap` or `nfc`.
        port: &'static str,
        /// 1, and 2 for the second one on the data port.
        number: u8,
    },
    /// A command to the authentication daemon; of a ticket only whether it is good.
    Authd {
        /// The connection.
        connection: u64,
        /// The first word of the line, or `?` for one that is not known.
        command: &'static str,
        /// The code of the reply; none if there is none.
        code: Option<u16>,
    },
    /// A ticket was presented.
    TicketTaken {
        /// The connection.
        connection: u64,
        /// Whether it was good.
        accepted: bool,
    },
    /// A message of the older protocol came from the client.
    Classic {
        /// The connection.
        connection: u64,
        /// Its number.
        message: u32,
    },
    /// A session for disks was opened.
    SessionOpened {
        /// The connection.
        connection: u64,
        /// Bytes of a buffer.
        buffer_size: u32,
        /// Buffers.
        buffer_count: u32,
    },
    /// A disk was opened.
    DiskOpened {
        /// The connection.
        connection: u64,
        /// Its path.
        path: String,
        /// The flags of the request.
        flags: u32,
    },
    /// A read was asked for.
    Read {
        /// The connection.
        connection: u64,
        /// The operation.
        operation: u32,
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        length: u32,
        /// The wanted compression: 0 none, 1 zlib, 2 FastLZ, 3 SkipZ.
        compression: u32,
    },
    /// A whole write came.
    Written {
        /// The connection.
        connection: u64,
        /// The operation.
        operation: u32,
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        length: u32,
        /// The compression of its first part.
        compression: u32,
    },
    /// An entry of the disk database was asked for.
    Metadata {
        /// The connection.
        connection: u64,
        /// The key.
        key: String,
    },
    /// The map of allocated blocks was asked for.
    Blocks {
        /// The connection.
        connection: u64,
        /// Where, in bytes.
        offset: u64,
        /// Bytes of a chunk.
        chunk: u64,
        /// How many chunks.
        count: u64,
    },
    /// A request was refused with an error.
    Refused {
        /// The connection.
        connection: u64,
        /// The operation.
        operation: u32,
        /// The code.
        code: u32,
        /// The text.
        text: String,
    },
    /// A disk was closed.
    DiskClosed {
        /// The connection.
        connection: u64,
    },
    /// A session for disks was closed.
    SessionClosed {
        /// The connection.
        connection: u64,
    },
    /// A connection ended.
    Disconnected {
        /// The connection.
        connection: u64,
        /// The port: `soap` or `nfc`.
        port: &'static str,
        /// Why, in words; `closed by the client` is the ordinary end.
        reason: String,
    },
    /// An injected error was done to a client.
    Injected {
        /// The connection, if it has to do with one.
        connection: Option<u64>,
        /// The name of the injection.
        name: &'static str,
    },
}

/// An event and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Time since the start of the simulator, in microseconds.
    pub micros: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// One line of JSON, without its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One line of text.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.micros / 1_000_000, self.micros % 1_000_000);
        write!(f, "{seconds:4}.{micros:06} ")?;
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&self.event) else {
            return Ok(());
        };
        let name = fields.get("event").and_then(serde_json::Value::as_str);
        write!(f, "{}", name.unwrap_or_default())?;
        let shown = fields
            .iter()
            .filter(|(key, value)| *key != "event" && !value.is_null());
        for (key, value) in shown {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

/// The events so far. Clones are the same transcript; it may be read at any time, from any thread.
#[derive(Clone, Debug)]
pub struct Transcript(Arc<Inner>);

struct Inner {
    start: Instant,
    kept: Mutex<Kept>,
    more: Condvar,
}

/// Where events go besides, and as what lines.
struct Sink {
    to: Box<dyn Write + Send>,
    line: fn(&Entry) -> String,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Entry>,
    /// How many went.
    dropped: usize,
    sink: Option<Sink>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.lock();
        let count = kept.dropped + kept.entries.len();
        f.debug_struct("Transcript")
            .field("events", &count)
            .finish_non_exhaustive()
    }
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            kept: Mutex::default(),
            more: Condvar::new(),
        }))
    }

    /// Writes each event, from now on, as a line of JSON. A sink that fails gets no more.
    pub fn copy_json_to(&self, sink: impl Write + Send + 'static) {
        self.copy_to(sink, Entry::to_json);
    }

    /// Writes each event, from now on, as a line of text. A sink that fails gets no more.
    pub fn copy_text_to(&self, sink: impl Write + Send + 'static) {
        self.copy_to(sink, Entry::to_string);
    }

    fn copy_to(&self, sink: impl Write + Send + 'static, line: fn(&Entry) -> String) {
        self.0.kept.lock().sink = Some(Sink {
            to: Box::new(sink),
            line,
        });
    }

    pub(crate) fn add(&self, event: Event) {
        let micros = self.0.start.elapsed().as_micros();
        let entry = Entry {
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            event,
        };
        tracing::debug!(target: "vsphere_sim::transcript", "{entry}");
        let mut kept = self.0.kept.lock();
        let failed = kept
            .sink
            .as_mut()
            .is_some_and(|sink| sink.write(&entry).is_err());
        if failed {
            kept.sink = None;
        }
        kept.entries.push_back(entry);
        if kept.entries.len() > KEPT {
            kept.entries.pop_front();
            kept.dropped += 1;
        }
        drop(kept);
        self.0.more.notify_all();
    }

    /// The events so far, the oldest first; at most the last 100 000.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.kept.lock().entries.iter().cloned().collect()
    }

    /// How many events there were so far.
    #[must_use]
    pub fn len(&self) -> usize {
        let kept = self.0.kept.lock();
        kept.dropped + kept.entries.len()
    }

    /// Whether nothing happened yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the kept events are like this.
    pub fn count(&self, is_like: impl Fn(&Event) -> bool) -> usize {
        let kept = self.0.kept.lock();
        kept.entries
            .iter()
            .filter(|entry| is_like(&entry.event))
            .count()
    }

    /// Waits until there is such an event, and says whether there is one in time.
    pub fn wait_for(&self, patience: Duration, is_it: impl Fn(&Event) -> bool) -> bool {
        let end = Instant::now() + patience;
        let mut kept = self.0.kept.lock();
        loop {
            if kept.entries.iter().any(|entry| is_it(&entry.event)) {
                return true;
            }
            if self.0.more.wait_until(&mut kept, end).timed_out() {
                return kept.entries.iter().any(|entry| is_it(&entry.event));
            }
        }
    }
}

impl Sink {
    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = (self.line)(entry);
        line.push('\n');
        self.to.write_all(line.as_bytes())?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_of_text_or_json() {
        let transcript = Transcript::new();
        transcript.add(Event::LoggedIn {
            connection: 3,
            user: "root".to_owned(),
        });
        let entries = transcript.entries();
        assert!(
            entries[0]
                .to_string()
                .ends_with("logged_in connection=3 user=\"root\""),
            "{}",
            entries[0]
        );
        let json: serde_json::Value =
            serde_json::from_str(&entries[0].to_json()).expect("it is JSON");
        assert_eq!(json["event"], "logged_in");
        assert_eq!(json["user"], "root");
    }

    #[test]
    fn old_events_go_and_are_counted() {
        let transcript = Transcript::new();
        for connection in 0..100_005 {
            transcript.add(Event::NfcConnected { connection });
        }
        assert_eq!(transcript.len(), 100_005);
        let entries = transcript.entries();
        assert_eq!(entries.len(), KEPT);
        assert_eq!(entries[0].event, Event::NfcConnected { connection: 5 });
    }

    #[test]
    fn waiting_ends_with_the_event_or_with_patience() {
        let transcript = Transcript::new();
        let is_it = |event: &Event| matches!(event, Event::NfcConnected { connection: 1 });
        assert!(!transcript.wait_for(Duration::from_millis(1), is_it));
        transcript.add(Event::NfcConnected { connection: 1 });
        assert!(transcript.wait_for(Duration::from_secs(5), is_it));
    }
}
