//! Content ids that somebody chose, instead of random ones.

use std::sync::atomic::Ordering;

use super::Link;
use crate::error::Error;

impl Link {
    /// Gives the disk this content id, durably, and no other one when it changes. The long id comes first: whoever finds
    /// the short one finds that too.
    pub(crate) fn set_content_id(&self, id: u32, long: [u8; 12]) -> Result<(), Error> {
        let _one = self.changing.lock();
        self.fuse.protect(|| {
            self.end_change_tracking()?;
            let patches = self.descriptor.write().set_content_id(id, long);
            let patches = patches.unwrap_or_default();
            for patch in patches.iter().rev() {
                self.write_ids(std::slice::from_ref(patch))?;
            }
            Ok(())
        })?;
        self.is_changed.store(true, Ordering::Release);
        Ok(())
    }

    /// Notes durably what content id the parent has.
    pub(crate) fn set_parent_id(&self, id: u32) -> Result<(), Error> {
        let _one = self.changing.lock();
        self.fuse.protect(|| {
            let patches = self.descriptor.write().set_parent_id(id);
            self.write_ids(&patches.unwrap_or_default())
        })
    }

    /// How many hexadecimal digits the descriptor has room for in the content id, and in that of the parent.
    pub(crate) fn id_digits(&self) -> (usize, usize) {
        let descriptor = self.descriptor.read();
        let digits = |digits: Option<usize>| digits.unwrap_or(0);
        (
            digits(descriptor.content_id_digits()),
            digits(descriptor.parent_id_digits()),
        )
    }
}
