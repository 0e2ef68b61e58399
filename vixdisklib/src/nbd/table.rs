//! The exports of a server, by name.

mod context_names;
mod opened;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::counters::LiveCounters;
use super::export::{ErrorNumber, Export, ExportError};
use super::source::{ExportSource, Listed};
use super::wire::MAX_STRING;
use super::wire::handshake::TransmissionFlags;
pub(super) use context_names::BadContext;
use opened::{OpenExports, Opened};

/// One export and what it is called.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) counters: LiveCounters,
    pub(super) export: Arc<dyn Export>,
    /// For an export that a source found. After `export`, because only when that is gone the next may be opened.
    opened: Option<Opened>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("name", &self.name)
            .field("size", &self.export.size())
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(super) fn new(name: String, description: String, export: Arc<dyn Export>) -> Self {
        Self {
            name,
            description,
            counters: LiveCounters::default(),
            export,
            opened: None,
        }
    }

    /// The flags of this export for a session in which structured replies were negotiated or not. Both INFO and
    /// GO answer with this, so they agree.
    pub(super) fn flags(&self, structured: bool) -> TransmissionFlags {
        let mut flags = TransmissionFlags::HAS_FLAGS
            | TransmissionFlags::SEND_FLUSH
            | TransmissionFlags::CAN_MULTI_CONN
            | TransmissionFlags::SEND_CACHE;
        if self.export.is_read_only() {
            flags |= TransmissionFlags::READ_ONLY;
        } else {
            flags |= TransmissionFlags::SEND_FUA
                | TransmissionFlags::SEND_WRITE_ZEROES
                | TransmissionFlags::SEND_FAST_ZERO;
            flags.set(TransmissionFlags::SEND_TRIM, self.export.can_trim());
        }
        flags.set(TransmissionFlags::SEND_DF, structured);
        flags
    }

    /// Whether clients can be told of it.
    pub(super) fn is_sendable(&self) -> bool {
        is_text(&self.name) && is_text(&self.description)
    }

    /// Whether clients can ask for its metadata contexts.
    pub(super) fn check_contexts(&self) -> Result<(), BadContext> {
        context_names::check(self.export.contexts())
    }

    /// Whether its size fits what clients calculate with.
    pub(super) fn is_too_large(&self) -> bool {
        i64::try_from(self.export.size().get()).is_err()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(opened) = &self.opened else { return };
        // Caught, because the thread that drops it last may be that of the whole server, which asks for counters.
        let flushed = catch_unwind(AssertUnwindSafe(|| self.export.flush()));
        let flushed = flushed
            .unwrap_or_else(|_| Err(ExportError::new(ErrorNumber::Io, "the export panicked")));
        if let Err(error) = flushed {
            tracing::error!(export = self.name, %error, "flushing as the last client leaves");
            opened.note_failure(&self.name, error);
        }
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= MAX_STRING && !text.contains('\0')
}

/// Why a client gets no export.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    /// There is none of that name.
    Unknown,
    /// There is one, but it could not be opened.
    Failed(ExportError),
}

/// All exports. Names come from the network and are matched exactly, never as paths.
pub(super) struct ExportTable {
    entries: Vec<Arc<Entry>>,
    /// What the empty name stands for.
    default: Option<String>,
    source: Option<Box<dyn ExportSource>>,
    open: Arc<OpenExports>,
}

impl fmt::Debug for ExportTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExportTable")
            .field("entries", &self.entries)
            .field("default", &self.default)
            .field("source", &self.source.is_some())
            .finish_non_exhaustive()
    }
}

impl ExportTable {
    pub(super) fn new(
        entries: Vec<Entry>,
        default: Option<String>,
        source: Option<Box<dyn ExportSource>>,
    ) -> Self {
        Self {
            entries: entries.into_iter().map(Arc::new).collect(),
            default,
            source,
            open: Arc::default(),
        }
    }

    /// The exports that are there all the time.
    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// All exports that clients can use without opening one: those of the source only while they are in use.
    pub(super) fn all_open(&self) -> Vec<Arc<Entry>> {
        let mut all = self.entries.clone();
        all.extend(self.open.entries());
        all
    }

    /// What clients are told when they ask for a list.
    pub(super) fn list(&self) -> Vec<Listed> {
        let entries = self.entries.iter();
        let mut list: Vec<_> = entries
            .map(|entry| Listed::new(&entry.name, &entry.description))
            .collect();
        if let Some(source) = &self.source {
            let found = catch_unwind(AssertUnwindSafe(|| source.list())).unwrap_or_else(|_| {
                tracing::error!("the source of exports panicked");
                Vec::new()
            });
            list.extend(found);
            list.retain(|listed| is_text(&listed.name) && is_text(&listed.description));
        }
        list
    }

    /// Finds an export, or has the source open it. The empty name stands for the default export; without one, for the
    /// only export, whatever it is called.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Entry>, NotServed> {
        let name = match &self.default {
            Some(default) if name.is_empty() => default,
            _ => name,
        };
        let exact = self.entries.iter().find(|entry| entry.name == name);
        if let Some(entry) = exact {
            return Ok(Arc::clone(entry));
        }
        match (&self.source, self.entries.as_slice()) {
            (None, [only]) if name.is_empty() => Ok(Arc::clone(only)),
            (None, _) => Err(NotServed::Unknown),
            (Some(source), _) => self
                .open
                .find_or_open(name, |opened| open(&**source, name, opened)),
        }
    }

    /// The first export of the source that could not be flushed when its last client left.
    pub(super) fn take_failure(&self) -> Option<(String, ExportError)> {
        self.open.take_failure()
    }
}

fn open(source: &dyn ExportSource, name: &str, opened: Opened) -> Result<Entry, NotServed> {
    let failed = |why: &str| NotServed::Failed(ExportError::new(ErrorNumber::Io, why));
    let found = catch_unwind(AssertUnwindSafe(|| source.find(name)));
    let found = found
        .map_err(|_| {
            tracing::error!(export = name, "the source of exports panicked");
            failed("internal error of the server")
        })?
        .map_err(NotServed::Failed)?
        .ok_or(NotServed::Unknown)?;
    let mut entry = Entry::new(name.to_owned(), found.description, found.export);
    if !entry.is_sendable() {
        entry.description.clear();
    }
    if entry.is_too_large() {
        return Err(failed("the export is too large"));
    }
    entry.check_contexts().map_err(|bad| {
        tracing::error!(export = name, %bad, "the source of exports has a bug");
        failed(&bad.to_string())
    })?;
    entry.opened = Some(opened);
    tracing::info!(export = name, "opened");
    Ok(entry)
}

#[cfg(test)]
mod tests;
