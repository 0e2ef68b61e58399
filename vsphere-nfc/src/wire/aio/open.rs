//! What opens and closes a disk.

use crate::wire::WireError;
use crate::wire::error::bounded;
use crate::wire::fields::{Builder, Fields};

/// The file type of a virtual disk; it serves snapshots too.
pub const FILE_TYPE_DISK: u32 = 2;

/// The longest accepted path in bytes.
pub const MAX_PATH: usize = 4096;

/// How a disk is opened: bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Opens the parents of the disk too.
    pub const PARENTS: Self = Self(0x02);
    /// Refuses to write.
    pub const READ_ONLY: Self = Self(0x04);
    /// Locks the disk.
    pub const LOCK: Self = Self(0x08);
    /// Always set by known clients; probably the host's buffers are used.
    pub const BUFFERED: Self = Self(0x10);

    /// For reading the disk and its parents.
    pub const FOR_READING: Self = Self(0x1e);
    /// For reading and writing.
    pub const FOR_WRITING: Self = Self(0x1a);

    /// Whether all bits of `flags` are set.
    #[must_use]
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These bits without those of `flags`.
    #[must_use]
    pub fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

/// Opens a disk. Its path follows, in UTF-8 and without a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// Length of the path in bytes.
    pub path: u32,
    /// [`FILE_TYPE_DISK`] for disks.
    pub file_type: u32,
    /// How it is opened.
    pub flags: OpenFlags,
}

impl OpenFile {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u32(self.path)
            .zeroes(12)
            .u32(self.file_type)
            .u32(self.flags.0)
            .zeroes(36)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("OPEN_FILE", payload);
        let path = bounded("a path", fields.u32()?, MAX_PATH)?;
        fields.skip(12)?;
        let message = Self {
            path,
            file_type: fields.u32()?,
            flags: OpenFlags(fields.u32()?),
        };
        fields.skip(36)?;
        fields.end()?;
        Ok(message)
    }
}

/// Cylinders, heads and sectors of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u32,
    /// Heads.
    pub heads: u32,
    /// Sectors of a track.
    pub sectors: u32,
}

/// What a host says of a disk that it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOpened {
    /// 0 for success.
    pub status: u64,
    /// Names the open disk in later requests; its bits have no meaning to the client. Never 0.
    pub handle: u64,
    /// The type that was asked for.
    pub file_type: u32,
    /// The flags that were asked for.
    pub flags: u32,
    /// Capacity in bytes.
    pub capacity: u64,
    /// Bytes of a sector; 0 stands for 512.
    pub sector_size: u32,
    /// The physical geometry, which may cover less than the capacity.
    pub geometry: Geometry,
}

impl FileOpened {
    pub(super) fn encode(self) -> Vec<u8> {
        Builder::default()
            .u64(self.status)
            .u64(self.handle)
            .u32(self.file_type)
            .u32(self.flags)
            .u32(0)
            .u64(self.capacity)
            .u32(self.sector_size)
            .u32(self.geometry.cylinders)
            .u32(self.geometry.heads)
            .u32(self.geometry.sectors)
            .zeroes(8)
            .finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("the reply to OPEN_FILE", payload);
        let status = fields.u64()?;
        let handle = fields.u64()?;
        let file_type = fields.u32()?;
        let flags = fields.u32()?;
        fields.skip(4)?;
        let message = Self {
            status,
            handle,
            file_type,
            flags,
            capacity: fields.u64()?,
            sector_size: fields.u32()?,
            geometry: Geometry {
                cylinders: fields.u32()?,
                heads: fields.u32()?,
                sectors: fields.u32()?,
            },
        };
        fields.skip(8)?;
        fields.end()?;
        Ok(message)
    }
}

/// Closes a disk, or says that it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFile {
    /// The open disk.
    pub handle: u64,
    /// Whether 8 zero bytes follow the handle, as one of two clients that work with ESXi sends them.
    pub long: bool,
}

impl CloseFile {
    pub(super) fn encode(self) -> Vec<u8> {
        let padding = if self.long { 8 } else { 0 };
        Builder::default().u64(self.handle).zeroes(padding).finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new("CLOSE_FILE", payload);
        let handle = fields.u64()?;
        let long = payload.len() > 8;
        if long {
            fields.skip(8)?;
        }
        fields.end()?;
        Ok(Self { handle, long })
    }
}
