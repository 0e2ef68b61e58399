//! The descriptor of a disk that has none: ESX 2 and GSX kept what they had to say in the header of their COWD files.

use disk_units::SectorCount;

use super::{ContentMark, Descriptor, DescriptorError, ParentReference};
use crate::extent::cowd::{CowdIdentity, CowdRole};

impl Descriptor {
    /// A descriptor that says what such a header does, and nothing that it does not: there is no content id.
    pub(crate) fn of_cowd(
        identity: CowdIdentity,
        capacity: SectorCount,
    ) -> Result<Self, DescriptorError> {
        let mut text = format!(
            "version=1\ncreateType=\"vmfsSparse\"\nRDONLY {} VMFSSPARSE\n",
            capacity.get()
        );
        if let CowdRole::Base(geometry) = &identity.role {
            for (key, value) in [
                ("cylinders", geometry.cylinders),
                ("heads", geometry.heads),
                ("sectors", geometry.sectors),
            ] {
                text.push_str(&format!("ddb.geometry.{key} = \"{value}\"\n"));
            }
        }
        let mut descriptor = Self::parse(text.as_bytes())?;
        descriptor.cowd = Some(identity);
        Ok(descriptor)
    }
}

impl CowdIdentity {
    pub(super) fn mark(&self) -> ContentMark {
        ContentMark::Generation(self.generation)
    }

    pub(super) fn parent(&self) -> Option<ParentReference> {
        let (hint, generation) = match &self.role {
            CowdRole::Base(_) => return None,
            CowdRole::Child { parent, generation } => (Some(parent.clone()), *generation),
            // What a child alone does not have must not be taken for zeros.
            CowdRole::Unknown => (None, 0),
        };
        Some(ParentReference {
            mark: ContentMark::Generation(generation),
            hint,
            encoding: String::new(),
        })
    }
}
