//! Copying a disk as a whole.

use std::ffi::OsStr;
use std::ptr;

use disk_units::SectorCount;
use vixdisklib_sys::VixDiskLibCreateParams;

use super::create::{USUAL_HARDWARE, params};
use super::{Connection, OpenFlags};
use crate::api::required;
use crate::error::{Context, Error, ErrorKind, Operation, Result};
use crate::info::Adapter;
use crate::kind::DiskKind;
use crate::progress::{Progress, Reporter};

/// What clone to make; see [`Connection::clone_disk`].
///
/// The default keeps the adapter and the hardware version of the source, as far as that records them, and leaves a disk
/// alone that is there already.
#[derive(Clone, Debug)]
#[must_use]
pub struct CloneOptions {
    kind: DiskKind,
    adapter: Option<Adapter>,
    hardware_version: Option<u16>,
    overwrite: bool,
}

impl CloneOptions {
    /// A clone of this kind. On a server only [`DiskKind::VMFS_THIN`] makes a difference: any other clone there is
    /// thick (Virtual Disk Programming Guide).
    pub fn new(kind: DiskKind) -> Self {
        Self {
            kind,
            adapter: None,
            hardware_version: None,
            overwrite: false,
        }
    }

    /// The adapter that the clone is for.
    pub fn adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// The version of the virtual hardware that the clone is for.
    pub fn hardware_version(mut self, version: u16) -> Self {
        self.hardware_version = Some(version);
        self
    }

    /// Whether the clone takes the place of a disk that has its name.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    fn params(&self, source: &Source) -> VixDiskLibCreateParams {
        params(
            self.kind,
            self.adapter.unwrap_or(source.adapter),
            self.hardware_version.unwrap_or(source.hardware_version),
            source.capacity,
        )
    }
}

/// What a clone takes over from its source.
struct Source {
    capacity: SectorCount,
    adapter: Adapter,
    hardware_version: u16,
}

impl Connection {
    /// Copies the disk at `path`, as it reads through all its parents, to `target_path` on `target`, which may be this
    /// connection or another one of the same library (`VixDiskLib_Clone`).
    ///
    /// The source is opened for reading first, to learn what the clone takes over from it. For blocking, threads and
    /// `progress` see [`create_disk`](Self::create_disk): no disk of the library is opened or closed until the copy is
    /// done. The total is the capacity of the source. On a server, since vSphere 6.5, `target` must be of a virtual
    /// machine that is switched off and owns the disk that is overwritten (Virtual Disk Programming Guide).
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// # let copy = folder.path().join("copy.vmdk");
    /// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![7; 64 * 512])?;
    /// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
    /// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n")?;
    /// use vixdisklib::{CloneOptions, DiskKind, Library};
    ///
    /// let connection = Library::embedded()?.connect_local()?;
    /// let options = CloneOptions::new(DiskKind::STREAM_OPTIMIZED);
    /// connection.clone_disk(&path, &connection, &copy, &options, |progress| {
    ///     eprintln!("{:?} of {:?} bytes", progress.done(), progress.total);
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if the target exists and may not be overwritten, [`ErrorKind::NotFound`],
    /// [`ErrorKind::InvalidArgument`] for connections of two libraries, [`ErrorKind::ReadOnly`] if `target` is for
    /// reading, [`ErrorKind::Unsupported`] if the library has no such call, or what it reports.
    #[doc(alias = "VixDiskLib_Clone")]
    pub fn clone_disk(
        &self,
        path: impl AsRef<OsStr>,
        target: &Connection,
        target_path: impl AsRef<OsStr>,
        options: &CloneOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        let operation = Operation::Clone;
        let api = self.library().api();
        let (path, name) = self.name(operation, path.as_ref())?;
        let (target_path, target_name) = target.writable_name(operation, target_path.as_ref())?;
        let failed = |error: Error| {
            self.locate(error, &path)
                .with_context(Context::Target(target_path.clone()))
        };
        let clone = required(operation, api.table.clone).map_err(failed)?;
        if !ptr::eq(api, target.library().api()) {
            let text = "the two connections are of different libraries";
            let error = Error::new(ErrorKind::InvalidArgument, operation, text);
            return Err(failed(error));
        }
        let source = self.source(path.as_os_str())?;
        let (params, overwrite) = (options.params(&source), options.overwrite);
        let (from, to) = (self.clone(), target.clone());
        let total = source.capacity.bytes();
        let cloned = self
            .library()
            .control_watched(total, &mut progress, move |reporter| {
                api.call(operation, |_| {
                    // SAFETY: both connections are live and of this library, the names C strings, the parameters
                    // whole; the reporter belongs to the function and outlives the call.
                    unsafe {
                        clone(
                            to.handle(),
                            target_name.as_ptr(),
                            from.handle(),
                            name.as_ptr(),
                            &raw const params,
                            Reporter::FUNCTION,
                            reporter.data(),
                            overwrite.into(),
                        )
                    }
                })
            });
        cloned.map_err(failed)
    }

    fn source(&self, path: &OsStr) -> Result<Source> {
        let disk = self.open_disk(path, OpenFlags::READ_ONLY)?;
        // What is not known of the source is as in every new disk.
        let version = disk.database().hardware_version().ok().flatten();
        let source = Source {
            capacity: disk.capacity(),
            adapter: match disk.info().adapter {
                Adapter::Unknown => Adapter::LsiLogic,
                known => known,
            },
            hardware_version: version
                .and_then(|version| u16::try_from(version).ok())
                .unwrap_or(USUAL_HARDWARE),
        };
        disk.close()?;
        Ok(source)
    }
}
