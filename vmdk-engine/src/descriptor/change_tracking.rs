//! Changed-block tracking, as a descriptor notes it: a version of 3, and the file that lists the blocks.
//!
//! Nothing public says how that file is written. So whoever changes the disk has to end the tracking first: backup
//! programs then find no list, instead of one that lacks changes.

use std::ffi::OsString;

use super::{Descriptor, Patch, file_name};

const PATH: &str = "changeTrackPath";
/// The version of a descriptor whose changes are tracked.
const TRACKED: u32 = 3;

impl Descriptor {
    /// Whether changes are tracked, or were when the descriptor was written.
    pub(crate) fn tracks_changes(&self) -> bool {
        self.version == TRACKED || self.find(PATH).is_some()
    }

    /// The file that lists the changes, if its name can be read.
    pub(crate) fn change_list(&self) -> Option<OsString> {
        let entry = self.find(PATH)?;
        file_name(self.slice(&entry.value), &self.encoding).ok()
    }

    /// Ends the tracking and returns what has to change in the file: the version, and the line with the list, which
    /// becomes a comment, so that nothing else moves. Each change alone leaves a good descriptor, too.
    pub(crate) fn end_change_tracking(&mut self) -> Vec<Patch> {
        let mut patches = Vec::new();
        if self.version == TRACKED
            && let Some(entry) = self.find("version")
        {
            let width = entry.value.len();
            patches.push(Patch {
                position: entry.value.start,
                bytes: format!("{:0width$}", 1).into_bytes(),
            });
        }
        for entry in self
            .entries
            .iter()
            .filter(|entry| self.has_key(entry, PATH))
        {
            let line = self.text.get(entry.key.start..).unwrap_or_default();
            let end = line.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let mut bytes = vec![b'#'];
            bytes.resize(end.unwrap_or(line.len()), b' ');
            patches.push(Patch {
                position: entry.key.start,
                bytes,
            });
        }
        let entries = std::mem::take(&mut self.entries);
        self.entries = entries
            .into_iter()
            .filter(|entry| !self.has_key(entry, PATH))
            .collect();
        self.version = 1;
        self.apply(&patches);
        patches
    }
}
