//! The names of known metadata.

use std::fmt;

/// The key of a known piece of metadata, as the disk records it behind `ddb.`.
///
/// Wherever a key is wanted, any string will do as well: products write more keys than these. Which of them a disk has
/// depends on who made it (Virtual Disk Programming Guide; descriptors of VMware products).
///
/// ```
/// use vixdisklib::MetadataKey;
///
/// assert_eq!(MetadataKey::UUID.as_str(), "uuid");
/// assert_eq!(MetadataKey::UUID.to_string(), "uuid");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataKey(&'static str);

macro_rules! keys {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        impl MetadataKey {
            $($(#[$doc])* pub const $constant: Self = Self($name);)*

            /// All of them.
            pub const KNOWN: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

keys! {
    /// The adapter that the disk was made for: `ide`, `buslogic`, `lsilogic`, `legacyESX`.
    ADAPTER_TYPE = "adapterType";
    /// The cylinders of the disk.
    CYLINDERS = "geometry.cylinders";
    /// The heads of the disk.
    HEADS = "geometry.heads";
    /// The sectors per track of the disk.
    SECTORS = "geometry.sectors";
    /// The cylinders that the BIOS presents.
    BIOS_CYLINDERS = "geometry.biosCylinders";
    /// The heads that the BIOS presents.
    BIOS_HEADS = "geometry.biosHeads";
    /// The sectors per track that the BIOS presents.
    BIOS_SECTORS = "geometry.biosSectors";
    /// The id of the disk, see [`DiskUuid`](crate::DiskUuid).
    UUID = "uuid";
    /// 32 hexadecimal digits that change with the content.
    LONG_CONTENT_ID = "longContentID";
    /// The version of the virtual hardware that the disk was made for.
    HARDWARE_VERSION = "virtualHWVersion";
    /// The version of the guest's VMware Tools.
    TOOLS_VERSION = "toolsVersion";
    /// How VMware Tools came into the guest.
    TOOLS_INSTALL_TYPE = "toolsInstallType";
    /// `1` for a thin disk on a datastore.
    THIN_PROVISIONED = "thinProvisioned";
    /// `true` if the disk may be deleted with its virtual machine.
    DELETABLE = "deletable";
    /// The character encoding of the descriptor.
    ENCODING = "encoding";
    /// The grain size of a delta.
    GRAIN = "grain";
    /// Free text.
    COMMENT = "comment";
}

impl MetadataKey {
    /// The name of the key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl AsRef<str> for MetadataKey {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for MetadataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.0)
    }
}
