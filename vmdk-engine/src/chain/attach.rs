//! Putting an open child on top of the open disk that it was made from.
//!
//! The child says by content id and size which disk that is; where its hint leads does not matter. Each of the two
//! keeps the table cache that it was opened with, so that the numbers of their extents cannot meet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::open::{ChainError, MAX_PARENTS, check_pair};
use super::{Chain, Parents};
use crate::error::Error;
use crate::gate::FileIdentity;

impl Chain {
    /// Whether `parent` can be what the only open link of this chain is a child of.
    pub(crate) fn check_attach(&self, parent: &Self) -> Result<(), Error> {
        let reference = self.leaf.parent().ok_or(ChainError::Base)?;
        if !self.parents.links.is_empty() {
            return Err(ChainError::HasParent.into());
        }
        if parent.leaf.mark() != Some(reference.mark) {
            self.check_apart(parent)?;
            return Err(ChainError::other_content(&parent.leaf, reference.mark).into());
        }
        self.check_fit(parent)
    }

    /// The same but for the content id.
    pub(crate) fn check_fit(&self, parent: &Self) -> Result<(), Error> {
        self.check_apart(parent)?;
        check_pair(&self.leaf, &parent.leaf)?;
        if parent.links().count() > MAX_PARENTS {
            return Err(ChainError::TooDeep.into());
        }
        Ok(())
    }

    fn check_apart(&self, parent: &Self) -> Result<(), ChainError> {
        let own: BTreeSet<FileIdentity> = self.leaf.files().collect();
        if let Some(shared) = parent
            .links()
            .find(|link| link.files().any(|file| own.contains(&file)))
        {
            return Err(ChainError::Loop(shared.path().to_owned()));
        }
        Ok(())
    }

    /// Shows all links of `parent` below this one, which has been checked.
    pub(crate) fn attach(&mut self, parent: &Self) {
        let links: Vec<_> = std::iter::once(&parent.leaf)
            .chain(&parent.parents.links)
            .map(Arc::clone)
            .collect();
        // Links may have been left out below: what they hold must not be invented as zeros.
        let is_child = links.last().is_some_and(|base| base.parent().is_some());
        self.parents = Parents {
            links,
            is_cut: is_child,
            is_left_out: false,
        };
    }
}
