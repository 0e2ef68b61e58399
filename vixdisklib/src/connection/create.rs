//! Creating a disk.

use std::ffi::OsStr;

use disk_units::SectorCount;
use vixdisklib_sys::{VIXDISKLIB_HWVERSION_CURRENT, VixDiskLibCreateParams};

use super::Connection;
use crate::api::Api;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::info::Adapter;
use crate::kind::DiskKind;
use crate::progress::{Progress, Reporter};

/// The virtual hardware that disks are made for unless somebody says otherwise: that of ESXi 6.5.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the header's number is 13; C has it in 16 bits too"
)]
pub(super) const USUAL_HARDWARE: u16 = VIXDISKLIB_HWVERSION_CURRENT as u16;

/// What disk to create; see [`Connection::create_disk`].
///
/// The default is a disk for an LSI Logic adapter and hardware version 13, with sectors of 512 bytes.
#[derive(Clone, Debug)]
#[must_use]
pub struct CreateOptions {
    kind: DiskKind,
    capacity: SectorCount,
    adapter: Adapter,
    hardware_version: u16,
    /// Logical and physical, where they were asked for.
    sector_sizes: Option<(u32, u32)>,
}

impl CreateOptions {
    /// A disk of a kind, with so many sectors of 512 bytes, at least one.
    pub fn new(kind: DiskKind, capacity: SectorCount) -> Self {
        Self {
            kind,
            capacity,
            adapter: Adapter::LsiLogic,
            hardware_version: USUAL_HARDWARE,
            sector_sizes: None,
        }
    }

    /// The adapter that the disk is for.
    pub fn adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = adapter;
        self
    }

    /// The version of the virtual hardware that the disk is for: 4 for Workstation 5, 13 for ESXi 6.5; libraries take
    /// later ones too.
    pub fn hardware_version(mut self, version: u16) -> Self {
        self.hardware_version = version;
        self
    }

    /// The bytes of a sector as the guest sees it, and of one of the device behind: 512 or 4096. The capacity counts
    /// sectors of 512 bytes all the same. VDDK 7.0 and later.
    pub fn sector_sizes(mut self, logical: u32, physical: u32) -> Self {
        self.sector_sizes = Some((logical, physical));
        self
    }

    /// The whole structure, with zeroes where a library has defaults: one before 7.0 knows the head of it only, and a
    /// later one would read past the end of that.
    fn params(&self, api: &Api) -> Result<VixDiskLibCreateParams> {
        if self.capacity == SectorCount::ZERO {
            let text = "a disk has at least one sector";
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                Operation::Create,
                text,
            ));
        }
        let mut params = params(
            self.kind,
            self.adapter,
            self.hardware_version,
            self.capacity,
        );
        if let Some((logical, physical)) = self.sector_sizes {
            if api.major.is_none_or(|major| major < 7) {
                let text = "the library knows no sector sizes, VDDK 7.0 does";
                return Err(Error::new(ErrorKind::Unsupported, Operation::Create, text));
            }
            (params.logicalSectorSize, params.physicalSectorSize) = (logical, physical);
        }
        Ok(params)
    }
}

/// The parameters that every library reads; the rest is zero.
pub(super) fn params(
    kind: DiskKind,
    adapter: Adapter,
    hardware_version: u16,
    capacity: SectorCount,
) -> VixDiskLibCreateParams {
    VixDiskLibCreateParams {
        diskType: kind.to_c(),
        adapterType: adapter.to_c(),
        hwVersion: hardware_version,
        capacity: capacity.get(),
        ..VixDiskLibCreateParams::default()
    }
}

impl Connection {
    /// Creates a local disk where nothing is (`VixDiskLib_Create`); it reads as zeroes.
    ///
    /// A relative path is made absolute, as VDDK wants it. Blocks, for flat kinds as long as it takes to fill the file
    /// system, on the control thread: no other disk is opened or closed meanwhile. `progress` hears on this thread how
    /// far it is; VDDK ignores what it is told, so nothing can be cancelled. A panic in it goes on after the creation.
    ///
    /// Disks on a server are not created so: create a local one, and [clone](Self::clone_disk) it there.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("disk.vmdk");
    /// use vixdisklib::{CreateOptions, DiskKind, Library, OpenFlags, SectorCount};
    ///
    /// let connection = Library::embedded()?.connect_local()?;
    /// let options = CreateOptions::new(DiskKind::MONOLITHIC_SPARSE, SectorCount::new(2048));
    /// connection.create_disk(&path, &options, |progress| eprintln!("{} %", progress.percent))?;
    ///
    /// let disk = connection.open_disk(&path, OpenFlags::empty())?;
    /// assert_eq!(disk.capacity(), SectorCount::new(2048));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::InvalidArgument`] for an empty disk, [`ErrorKind::Unsupported`] for
    /// a kind that the library does not create, and for sector sizes before VDDK 7.0, [`ErrorKind::ReadOnly`] on a
    /// connection for reading, [`ErrorKind::StorageFull`], or what the library reports.
    #[doc(alias = "VixDiskLib_Create")]
    pub fn create_disk(
        &self,
        path: impl AsRef<OsStr>,
        options: &CreateOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        let operation = Operation::Create;
        let api = self.library().api();
        let (path, name) = self.writable_name(operation, path.as_ref())?;
        let refused = |error: Error| self.locate(error, &path);
        let params = options.params(api).map_err(refused)?;
        let connection = self.clone();
        let total = options.capacity.bytes();
        let created = self
            .library()
            .control_watched(total, &mut progress, move |reporter| {
                api.call(operation, |table| {
                    // SAFETY: the connection is live, the name a C string, the parameters whole; the reporter belongs
                    // to the function and outlives the call.
                    unsafe {
                        (table.create)(
                            connection.handle(),
                            name.as_ptr(),
                            &raw const params,
                            Reporter::FUNCTION,
                            reporter.data(),
                        )
                    }
                })
            });
        created.map_err(refused)
    }
}
