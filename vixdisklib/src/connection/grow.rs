//! Growing a disk.

use std::ffi::OsStr;

use disk_units::SectorCount;

use super::Connection;
use crate::api::required;
use crate::error::{Error, Operation, Result};
use crate::progress::{Progress, Reporter};

/// What becomes of the geometry that a disk records when it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrowGeometry {
    /// It is computed anew from the capacity.
    Update,
    /// It stays: a guest that depends on the old one boots, but may not see all of the disk.
    Keep,
}

impl Connection {
    /// Enlarges a local disk to `capacity` sectors (`VixDiskLib_Grow`); what is new reads as zeroes.
    ///
    /// The disk must not be open, and have no children: they keep the old capacity and do not fit any more. For
    /// blocking, threads and `progress` see [`create_disk`](Self::create_disk); the total is not known.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the disk is that large already,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Locked`](crate::ErrorKind::Locked),
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) on a connection for reading,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_Grow")]
    pub fn grow(
        &self,
        path: impl AsRef<OsStr>,
        capacity: SectorCount,
        geometry: GrowGeometry,
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        let operation = Operation::Grow;
        let api = self.library().api();
        let (path, name) = self.writable_name(operation, path.as_ref())?;
        let failed = |error: Error| self.locate(error, &path);
        let grow = required(operation, api.table.grow).map_err(failed)?;
        let update = geometry == GrowGeometry::Update;
        let connection = self.clone();
        let grown = self
            .library()
            .control_watched(None, &mut progress, move |reporter| {
                api.call(operation, |_| {
                    // SAFETY: the connection is live, the name a C string; the reporter belongs to the function and
                    // outlives the call.
                    unsafe {
                        grow(
                            connection.handle(),
                            name.as_ptr(),
                            capacity.get(),
                            update.into(),
                            Reporter::FUNCTION,
                            reporter.data(),
                        )
                    }
                })
            });
        grown.map_err(failed)
    }
}
