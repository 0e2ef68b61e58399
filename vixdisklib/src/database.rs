//! The disk database: what the metadata of a disk says, as types.

mod key;
mod uuid;

pub use key::MetadataKey;
pub use uuid::DiskUuid;

use std::str::FromStr;

use crate::disk::Disk;
use crate::error::{Context, Error, ErrorKind, Operation, Result};
use crate::info::{Adapter, Geometry};

/// The known metadata of a disk as types; from [`Disk::database`].
///
/// Each call reads from the library and blocks. `None` means that the disk does not record it, which is no error: which
/// keys a disk has depends on the product that made it. A value that makes no sense is
/// [`ErrorKind::InvalidDisk`], and [`Disk::metadata`] has its text.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.vmdk");
/// # std::fs::write(folder.path().join("disk-flat.vmdk"), vec![0; 64 * 512])?;
/// # std::fs::write(&path, "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
/// #     createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n\n#DDB\n\n\
/// #     ddb.virtualHWVersion = \"13\"\n")?;
/// use vixdisklib::{Library, OpenFlags};
///
/// let connection = Library::embedded()?.connect_local()?;
/// let disk = connection.open_disk(&path, OpenFlags::READ_ONLY)?;
/// assert_eq!(disk.database().hardware_version()?, Some(13));
/// assert_eq!(disk.database().tools_version()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Database<'disk> {
    disk: &'disk Disk,
}

impl<'disk> Database<'disk> {
    pub(crate) fn new(disk: &'disk Disk) -> Self {
        Self { disk }
    }

    /// The adapter that the disk was made for ([`MetadataKey::ADAPTER_TYPE`]); one that VixDiskLib has no number for is
    /// [`Adapter::Unknown`].
    ///
    /// # Errors
    /// As [`Disk::metadata`]; so in all of them.
    pub fn adapter(self) -> Result<Option<Adapter>> {
        let name = self.disk.metadata(MetadataKey::ADAPTER_TYPE)?;
        Ok(name.map(|name| match name.to_ascii_lowercase().as_str() {
            "ide" => Adapter::Ide,
            "buslogic" => Adapter::BusLogic,
            "lsilogic" => Adapter::LsiLogic,
            _ => Adapter::Unknown,
        }))
    }

    /// The geometry of the disk ([`MetadataKey::CYLINDERS`] and its two neighbours).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidDisk`] for what is no number; else as [`Disk::metadata`].
    pub fn geometry(self) -> Result<Option<Geometry>> {
        self.geometry_of([
            MetadataKey::CYLINDERS,
            MetadataKey::HEADS,
            MetadataKey::SECTORS,
        ])
    }

    /// The geometry that the BIOS presents ([`MetadataKey::BIOS_CYLINDERS`] and its two neighbours).
    ///
    /// # Errors
    /// As [`geometry`](Self::geometry).
    pub fn bios_geometry(self) -> Result<Option<Geometry>> {
        self.geometry_of([
            MetadataKey::BIOS_CYLINDERS,
            MetadataKey::BIOS_HEADS,
            MetadataKey::BIOS_SECTORS,
        ])
    }

    /// The id of the disk ([`MetadataKey::UUID`]).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidDisk`] for what is no id; else as [`Disk::metadata`].
    pub fn uuid(self) -> Result<Option<DiskUuid>> {
        self.parsed(MetadataKey::UUID, "disk id")
    }

    /// The 128 bits that change with the content of the disk ([`MetadataKey::LONG_CONTENT_ID`]).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidDisk`] for what are no hexadecimal digits; else as [`Disk::metadata`].
    pub fn content_id(self) -> Result<Option<u128>> {
        let id = |text: &str| u128::from_str_radix(text, 16).ok();
        self.read(MetadataKey::LONG_CONTENT_ID, "content id", id)
    }

    /// The version of the virtual hardware that the disk was made for ([`MetadataKey::HARDWARE_VERSION`]).
    ///
    /// # Errors
    /// As [`geometry`](Self::geometry).
    pub fn hardware_version(self) -> Result<Option<u32>> {
        self.parsed(MetadataKey::HARDWARE_VERSION, "number")
    }

    /// The version of the guest's VMware Tools as one number ([`MetadataKey::TOOLS_VERSION`]).
    ///
    /// # Errors
    /// As [`geometry`](Self::geometry).
    pub fn tools_version(self) -> Result<Option<u32>> {
        self.parsed(MetadataKey::TOOLS_VERSION, "number")
    }

    /// How VMware Tools came into the guest ([`MetadataKey::TOOLS_INSTALL_TYPE`]).
    ///
    /// # Errors
    /// As [`geometry`](Self::geometry).
    pub fn tools_install_type(self) -> Result<Option<u32>> {
        self.parsed(MetadataKey::TOOLS_INSTALL_TYPE, "number")
    }

    /// Whether the disk is a thin one on a datastore ([`MetadataKey::THIN_PROVISIONED`]).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidDisk`] for what is neither true nor false; else as [`Disk::metadata`].
    pub fn thin_provisioned(self) -> Result<Option<bool>> {
        self.read(MetadataKey::THIN_PROVISIONED, "truth value", truth)
    }

    /// Whether the product may delete the disk along with its virtual machine ([`MetadataKey::DELETABLE`]).
    ///
    /// # Errors
    /// As [`thin_provisioned`](Self::thin_provisioned).
    pub fn deletable(self) -> Result<Option<bool>> {
        self.read(MetadataKey::DELETABLE, "truth value", truth)
    }

    fn geometry_of(
        self,
        [cylinders, heads, sectors]: [MetadataKey; 3],
    ) -> Result<Option<Geometry>> {
        let number = |key| self.parsed(key, "number");
        let (Some(cylinders), Some(heads), Some(sectors)) =
            (number(cylinders)?, number(heads)?, number(sectors)?)
        else {
            return Ok(None);
        };
        Ok(Some(Geometry {
            cylinders,
            heads,
            sectors,
        }))
    }

    fn parsed<T: FromStr>(self, key: MetadataKey, what: &str) -> Result<Option<T>> {
        self.read(key, what, |text| text.parse().ok())
    }

    /// The value of a key as what it stands for. An emptied key is as good as none.
    fn read<T>(
        self,
        key: MetadataKey,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.disk.metadata(key)? else {
            return Ok(None);
        };
        if value.trim().is_empty() {
            return Ok(None);
        }
        parse(value.trim()).map(Some).ok_or_else(|| {
            let text = format!("its value {value:?} is no {what}");
            let error = Error::new(ErrorKind::InvalidDisk, Operation::Metadata, text);
            let facts = self.disk.facts();
            facts
                .locate(error)
                .with_context(Context::Key(key.as_str().to_owned()))
        })
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}
