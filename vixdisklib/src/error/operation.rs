//! What was being done when an error happened.

/// What was being done when an [`Error`](super::Error) happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Finding and opening the library.
    Load,
    /// `VixDiskLib_InitEx`.
    Initialize,
    /// Having the library's control thread make a call, whichever it is.
    Control,
    /// Building [`ConnectParams`](crate::ConnectParams) and other arguments.
    Configure,
    /// `VixDiskLib_ConnectEx`.
    Connect,
    /// `VixDiskLib_Disconnect`.
    Disconnect,
    /// `VixDiskLib_GetConnectParams`.
    ConnectParams,
    /// `VixDiskLib_PrepareForAccess`.
    PrepareForAccess,
    /// `VixDiskLib_EndAccess`.
    EndAccess,
    /// `VixDiskLib_Cleanup`.
    Cleanup,
    /// `VixDiskLib_Open`.
    Open,
    /// `VixDiskLib_Close`.
    Close,
    /// `VixDiskLib_GetInfo`.
    Info,
    /// `VixDiskLib_Read` and `VixDiskLib_ReadAsync`.
    Read,
    /// `VixDiskLib_Write` and `VixDiskLib_WriteAsync`.
    Write,
    /// Zeroing sectors.
    WriteZeroes,
    /// Giving sectors back.
    Trim,
    /// `VixDiskLib_Wait` and `VixDiskLib_Flush`.
    Flush,
    /// `VixDiskLib_QueryAllocatedBlocks` and exact extents.
    Extents,
    /// Reading metadata.
    Metadata,
    /// `VixDiskLib_Create`.
    Create,
    /// `VixDiskLib_CreateChild`.
    CreateChild,
    /// `VixDiskLib_Unlink`.
    Unlink,
    /// `VixDiskLib_Grow`.
    Grow,
    /// `VixDiskLib_Shrink`.
    Shrink,
    /// `VixDiskLib_Defragment`.
    Defragment,
    /// `VixDiskLib_Rename`.
    Rename,
    /// `VixDiskLib_Clone`.
    Clone,
    /// `VixDiskLib_SpaceNeededForClone`.
    SpaceNeeded,
    /// `VixDiskLib_CheckRepair` that changes nothing.
    Check,
    /// `VixDiskLib_CheckRepair` that repairs.
    Repair,
    /// `VixDiskLib_IsAttachPossible` and `VixDiskLib_Attach`.
    Attach,
    /// `VixDiskLib_WriteMetadata`.
    WriteMetadata,
    /// Copying a disk.
    Copy,
    /// Serving a disk.
    Serve,
}

impl Operation {
    /// The operation as the start of a sentence: "opening disk".
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Load => "loading library",
            Self::Initialize => "initialising the library",
            Self::Control => "calling the library",
            Self::Configure => "checking arguments",
            Self::Connect => "connecting",
            Self::Disconnect => "disconnecting",
            Self::ConnectParams => "reading the parameters of a connection",
            Self::PrepareForAccess => "preparing for access",
            Self::EndAccess => "ending access",
            Self::Cleanup => "cleaning up",
            Self::Open => "opening disk",
            Self::Close => "closing disk",
            Self::Info => "reading the properties of disk",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::WriteZeroes => "zeroing",
            Self::Trim => "trimming",
            Self::Flush => "flushing disk",
            Self::Extents => "querying the allocation of disk",
            Self::Metadata => "reading metadata of disk",
            Self::Create => "creating disk",
            Self::CreateChild => "creating child disk",
            Self::Unlink => "removing disk",
            Self::Grow => "growing disk",
            Self::Shrink => "shrinking disk",
            Self::Defragment => "defragmenting disk",
            Self::Rename => "renaming disk",
            Self::Clone => "cloning disk",
            Self::SpaceNeeded => "sizing a clone of disk",
            Self::Check => "checking disk",
            Self::Repair => "repairing disk",
            Self::Attach => "attaching disk",
            Self::WriteMetadata => "writing metadata of disk",
            Self::Copy => "copying",
            Self::Serve => "serving",
        }
    }
}
