//! Attaching: two handles become one chain.

use std::ptr;
use std::sync::Arc;

use super::{Facts, Handle, OpenDisk, info};
use crate::api::{Api, required};
use crate::connection::OpenFlags;
use crate::error::{Context, Error, ErrorKind, Operation, Result};

/// Whether the handle of an attached parent is ours to close: VDDK before 6.7.1 keeps it, and later ones want it closed
/// (Virtual Disk Programming Guide). So does what has our extensions, whose file need not tell a version.
fn attached_parent_is_closed(api: &Api) -> bool {
    api.major.is_some_and(|major| major >= 7) || api.table.ext_get_property.is_some()
}

impl OpenDisk {
    pub(crate) fn can_attach(&self, parent: &Self) -> Result<()> {
        self.same_library(parent)
            .and_then(|()| required(Operation::Attach, self.api.table.is_attach_possible))
            .and_then(|possible| {
                self.may_block(Operation::Attach)?;
                self.settle_everything();
                parent.settle_everything();
                let (parent, child) = (parent.handle.0, self.handle.0);
                // SAFETY: both handles are open and of this library, and their owners are borrowed: no call overlaps.
                self.api
                    .call(Operation::Attach, |_| unsafe { possible(parent, child) })
            })
            .map_err(|error| self.not_attached(parent, error))
    }

    /// Whatever happens, no I/O reaches `parent` again.
    pub(crate) fn attach(&mut self, mut parent: Self) -> Result<()> {
        self.may_block(Operation::Attach)?;
        if self.api.table.is_attach_possible.is_some() {
            // The library has not attached anything yet: a parent that is dropped here is closed as any disk.
            self.can_attach(&parent)?;
        }
        let attach = self
            .same_library(&parent)
            .and_then(|()| required(Operation::Attach, self.api.table.attach))
            .map_err(|error| self.not_attached(&parent, error))?;
        self.settle_everything();
        parent.settle_everything();
        parent.queue.close();
        let (api, handles) = (self.api, (parent.handle, self.handle));
        let attached = self.connection.library().control(move || {
            let (parent, child): (Handle, Handle) = handles;
            // SAFETY: both handles are open, settled, of this library, and their owners are borrowed: no call overlaps.
            api.call(Operation::Attach, |_| unsafe { attach(parent.0, child.0) })
                .map(|()| info::read(api, child.0))
        });
        if !attached_parent_is_closed(api) {
            parent.handle = Handle(ptr::null_mut());
        }
        let info = match attached {
            Ok(info) => info,
            Err(error) => return Err(self.not_attached(&parent, error)),
        };
        let mut flags = self.facts.flags;
        flags.set(
            OpenFlags::SINGLE_LINK,
            parent.facts.flags.contains(OpenFlags::SINGLE_LINK),
        );
        // Memory that the caller reads into may reach the parent.
        flags |= parent.facts.flags & OpenFlags::UNBUFFERED;
        self.parents.push(parent);
        // What was probed of the single link says nothing of the chain.
        self.blocks = Arc::default();
        let facts = Facts::clone(&self.facts);
        self.facts = Arc::new(Facts { flags, ..facts });
        let info = info.map_err(|error| self.facts.locate(error))?;
        let facts = Facts::clone(&self.facts);
        self.facts = Arc::new(Facts { info, ..facts });
        Ok(())
    }

    fn same_library(&self, parent: &Self) -> Result<()> {
        if ptr::eq(self.api, parent.api) {
            return Ok(());
        }
        let text = "the two disks are of different libraries";
        Err(Error::new(
            ErrorKind::InvalidArgument,
            Operation::Attach,
            text,
        ))
    }

    fn not_attached(&self, parent: &Self, error: Error) -> Error {
        self.facts
            .locate(error)
            .with_context(Context::Target(parent.facts.name.clone()))
    }
}
