//! Attaching: two handles become one chain.

use std::ptr;
use std::sync::Arc;

use super::{Facts, Handle, OpenDisk, info};
use crate::api::required;
use crate::connection::OpenFlags;
use crate::error::{Context, Error, ErrorKind, Operation, Result};

/// The first release that wants the handle of an attached parent closed; to those before it belongs, and closing it is an
/// error (Virtual Disk Programming Guide).
const PARENT_CLOSED_SINCE: [u32; 3] = [6, 7, 1];

impl OpenDisk {
    /// Whether the handle of a parent that was attached is ours to close. So it is to what has our extensions, whose file
    /// need not tell a version; where that is unknown otherwise, a handle that leaks is better than one closed twice.
    fn attached_parent_is_ours(&self) -> bool {
        let library = self.connection.library();
        self.api.table.ext_get_property.is_some() || library.is_surely_since(PARENT_CLOSED_SINCE)
    }

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
        // One that was not attached still belongs to nobody else: it is closed as any disk when it is dropped.
        let info = attached.map_err(|error| self.not_attached(&parent, error))?;
        if !self.attached_parent_is_ours() {
            parent.handle = Handle(ptr::null_mut());
        }
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
