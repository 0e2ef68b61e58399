//! The exports of a server, by name.

use std::fmt;
use std::sync::Arc;

use super::export::Export;
use super::wire::handshake::TransmissionFlags;

/// Where an entry stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExportIndex(usize);

/// One export and what it is called.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) export: Arc<dyn Export>,
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
}

/// All exports. Names come from the network and are matched exactly, never as paths.
#[derive(Debug)]
pub(super) struct ExportTable(Vec<Entry>);

impl ExportTable {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(super) fn entry(&self, index: ExportIndex) -> &Entry {
        &self.0[index.0]
    }

    /// Finds an export. The empty name stands for the only export, whatever it is called.
    pub(super) fn find(&self, name: &str) -> Option<ExportIndex> {
        let exact = self.0.iter().position(|entry| entry.name == name);
        let only = (name.is_empty() && self.0.len() == 1).then_some(0);
        exact.or(only).map(ExportIndex)
    }
}
