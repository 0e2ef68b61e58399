//! What kind of file a disk begins with, and where in it the descriptor is.

use disk_units::ByteLen;

use super::error::LinkError;
use crate::descriptor::{Descriptor, MAX_TEXT};
use crate::error::{Error, IoFault};
use crate::extent::cowd;
use crate::extent::header::{Signature, SparseShape};
use crate::storage::Storage;
use crate::units::byte_position;

/// A descriptor and where it was found.
pub(crate) struct Text {
    pub(crate) descriptor: Descriptor,
    pub(crate) start: ByteLen,
    pub(crate) embedded_in: Option<SparseShape>,
}

impl Text {
    pub(crate) fn read(storage: &dyn Storage) -> Result<Self, Error> {
        let fault = |error| IoFault::new("reading the descriptor", error);
        let length = storage.len().map_err(fault)?;
        let mut first = vec![0; usize::try_from(length.get().min(8)).unwrap_or(0)];
        storage
            .read_exact_at(&mut first, ByteLen::ZERO)
            .map_err(fault)?;
        let (range, embedded_in) = match Signature::of(&first)? {
            Signature::HostedSparse => {
                let shape = SparseShape::load(storage)?;
                let range = shape.descriptor.ok_or(LinkError::BareExtent)?;
                let bytes = range.bytes().unwrap_or_default();
                ((byte_position(range.start()), bytes), Some(shape))
            }
            Signature::Cowd => return Self::of_cowd(storage),
            Signature::SeSparse => return Err(LinkError::BareExtent.into()),
            Signature::Text => ((ByteLen::ZERO, length), None),
        };
        let (start, length) = range;
        // One byte more than may be, so that the parser sees that it is too much.
        let most = u64::try_from(MAX_TEXT)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut bytes = vec![0; usize::try_from(length.get().min(most)).unwrap_or(0)];
        storage.read_exact_at(&mut bytes, start).map_err(fault)?;
        if embedded_in.is_some() && bytes.first() == Some(&0) {
            return Err(LinkError::BareExtent.into());
        }
        Ok(Self {
            descriptor: Descriptor::parse(&bytes)?,
            start,
            embedded_in,
        })
    }

    /// Whether the file really holds a text, which makes it a disk whoever else names it.
    pub(crate) fn is_written(&self) -> bool {
        self.embedded_in.is_none() || !self.start.is_zero()
    }

    /// What stands for the text in a file that has none.
    fn of_cowd(storage: &dyn Storage) -> Result<Self, Error> {
        let (shape, identity) = cowd::load_with_identity(storage)?;
        Ok(Self {
            descriptor: Descriptor::of_cowd(identity, shape.capacity)?,
            start: ByteLen::ZERO,
            embedded_in: Some(shape),
        })
    }
}
