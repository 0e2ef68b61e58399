//! Calls on an open handle that make another disk, or another shape of this one.

use std::ffi::c_void;
use std::path::Path;

use disk_units::ByteLen;
use vixdisklib_sys::{VixDiskLibDiskType, VixDiskLibHandle, VixDiskLibProgressFunc, VixError};

use super::{Handle, OpenDisk};
use crate::api::required;
use crate::connection::absolute;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::kind::DiskKind;
use crate::library::c_path;
use crate::progress::{self, Progress, Reporter};
use crate::worker::Worker;

/// A call that works on an open disk and reports how far it is.
type Reshape =
    unsafe extern "C" fn(VixDiskLibHandle, VixDiskLibProgressFunc, *mut c_void) -> VixError;

impl OpenDisk {
    pub(crate) fn create_child(
        &mut self,
        path: &Path,
        kind: DiskKind,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let operation = Operation::CreateChild;
        let failed = |error: Error| error.with_path(path);
        let create = required(operation, self.api.table.create_child).map_err(failed)?;
        let name = absolute(operation, path)
            .and_then(|path| c_path("the disk's name", &path))
            .map_err(failed)?;
        self.may_block(operation)?;
        self.settle_everything();
        let (api, handle) = (self.api, self.handle);
        let created = self
            .connection
            .library()
            .control_watched(None, progress, move |reporter| {
                let handle: Handle = handle;
                api.call(operation, |_| {
                    // SAFETY: the handle is open, and borrowed by `&mut self` until the call has returned, so no other
                    // call meets this one; the name is a C string; the reporter belongs to the function and outlives
                    // the call.
                    unsafe {
                        create(
                            handle.0,
                            name.as_ptr(),
                            kind.to_c(),
                            Reporter::FUNCTION,
                            reporter.data(),
                        )
                    }
                })
            });
        created.map_err(failed)
    }

    pub(crate) fn shrink(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.reshape(Operation::Shrink, self.api.table.shrink, progress)
    }

    pub(crate) fn defragment(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.reshape(Operation::Defragment, self.api.table.defragment, progress)
    }

    fn reshape(
        &mut self,
        operation: Operation,
        function: Option<Reshape>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let failed = |error: Error| self.facts.locate(error);
        let function = required(operation, function).map_err(failed)?;
        if self.facts.is_read_only() {
            let text = "the disk is open for reading only";
            return Err(failed(Error::new(ErrorKind::ReadOnly, operation, text)));
        }
        self.may_block(operation)?;
        let thread = Worker::start("vixdisklib-reshape", ()).map_err(|cause| {
            let text = "no thread for the call";
            failed(Error::new(ErrorKind::OutOfMemory, operation, text).with_cause(cause))
        })?;
        self.settle_everything();
        let (api, handle) = (self.api, self.handle);
        let done = progress::watch(&thread, None, progress, move |reporter| {
            let handle: Handle = handle;
            api.call(operation, |_| {
                // SAFETY: the handle is open, and borrowed by `&mut self` until the call has returned, so no other call
                // meets this one; it is not bound to a thread; the reporter belongs to the function and outlives the
                // call.
                unsafe { function(handle.0, Reporter::FUNCTION, reporter.data()) }
            })
        });
        done.map_err(failed)
    }

    pub(crate) fn space_needed_for_clone(&self, kind: Option<DiskKind>) -> Result<ByteLen> {
        let operation = Operation::SpaceNeeded;
        let needed = required(operation, self.api.table.space_needed_for_clone)
            .map_err(|error| self.facts.locate(error))?;
        let same = VixDiskLibDiskType::VIXDISKLIB_DISK_UNKNOWN;
        let kind = kind.map_or(same, DiskKind::to_c);
        let mut bytes = 0;
        self.call(operation, |handle| {
            // SAFETY: the handle is open, the output writable.
            unsafe { needed(handle, kind, &raw mut bytes) }
        })?;
        Ok(ByteLen::new(bytes))
    }
}
