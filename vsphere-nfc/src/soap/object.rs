//! References to objects of a server.

use std::fmt;

/// A reference to a managed object: its kind, such as `VirtualMachine`, and the id that the server gave it, such as
/// `vm-42`.
///
/// Ids are opaque, and mean nothing to another server. On an ESXi host the id of a virtual machine is a plain number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ManagedObject {
    kind: String,
    id: String,
}

impl ManagedObject {
    /// A reference to an object of any kind.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
        }
    }

    /// A reference to a virtual machine.
    #[must_use]
    pub fn vm(id: impl Into<String>) -> Self {
        Self::new("VirtualMachine", id)
    }

    /// A reference to a snapshot of a virtual machine.
    #[must_use]
    pub fn snapshot(id: impl Into<String>) -> Self {
        Self::new("VirtualMachineSnapshot", id)
    }

    /// A reference to a datastore.
    #[must_use]
    pub fn datastore(id: impl Into<String>) -> Self {
        Self::new("Datastore", id)
    }

    /// The kind of the object, such as `VirtualMachine`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The id of the object, such as `vm-42`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ManagedObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind, self.id)
    }
}
