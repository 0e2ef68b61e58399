//! Opening a chain: each child names its parent, and the parent must be the disk that the child was made from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Chain, Parents, hint};
use crate::descriptor::{ContentMark, ParentReference};
use crate::disk::OpenOptions;
use crate::error::{Cause, Error, ErrorKind};
use crate::gate::{FileIdentity, GateError};
use crate::link::{Link, SharedCaches};

/// More parents than this are refused; VMware documents 32 snapshots.
pub(super) const MAX_PARENTS: usize = 64;

/// Why links do not make a chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChainError {
    #[error("it is a child disk, but does not say where its parent is")]
    NoHint,
    #[error("its parent \"{0}\" is missing")]
    Missing(String),
    #[error(
        "its parent {} has {found}, not {expected}: it was changed since, or is another disk",
        .path.display()
    )]
    Cid {
        path: PathBuf,
        expected: ContentMark,
        found: String,
    },
    #[error("it has {child} sectors, its parent {} {parent}", .path.display())]
    Capacity {
        path: PathBuf,
        child: u64,
        parent: u64,
    },
    #[error("the chain of its parents leads back to {}", .0.display())]
    Loop(PathBuf),
    #[error("it is not a child disk")]
    Base,
    #[error("it has a parent already")]
    HasParent,
    #[error("its parent {} uses a file that is to be written", .0.display())]
    SharedFile(PathBuf),
    #[error("the disk has more than {MAX_PARENTS} parents")]
    TooDeep,
}

impl ChainError {
    /// `parent` does not have the content id that its child expects.
    pub(super) fn other_content(parent: &Link, expected: ContentMark) -> Self {
        Self::Cid {
            path: parent.path().to_owned(),
            expected,
            found: parent
                .mark()
                .map_or("no content id".to_owned(), |found| found.to_string()),
        }
    }
}

impl Cause for ChainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHint | Self::Missing(_) => ErrorKind::ParentNotFound,
            Self::Cid { .. } => ErrorKind::CidMismatch,
            Self::Capacity { .. } => ErrorKind::CapacityMismatch,
            Self::Loop(_) | Self::SharedFile(_) => ErrorKind::InvalidChain,
            Self::TooDeep => ErrorKind::TooManyLinks,
            Self::Base => ErrorKind::NotAChild,
            Self::HasParent => ErrorKind::HasParent,
        }
    }
}

impl Chain {
    /// Opens the link at `path`, and all below it unless it is wanted alone.
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let mut caches = SharedCaches::new();
        let leaf = Arc::new(Link::open(path, options, &mut caches)?);
        let mut parents = Parents::default();
        if options.is_single_link() {
            parents.is_left_out = leaf.parent().is_some();
            return Ok(Self { leaf, parents });
        }
        let mut search = Search {
            options: options.for_parents(leaf.files()),
            caches,
            seen: BTreeSet::from([leaf.identity()]),
            accepts: &has_mark,
        };
        loop {
            let child = parents.links.last().unwrap_or(&leaf);
            let Some(reference) = child.parent() else {
                break;
            };
            if parents.links.len() >= MAX_PARENTS {
                return Err(Error::from(ChainError::TooDeep).at(leaf.path()));
            }
            match search.parent(child.path(), &reference) {
                Ok(parent) => {
                    let error = check_capacity(child, &parent, options)
                        .and_then(|()| check_apart(&leaf, &parent, options));
                    error.map_err(|error| Error::from(error).at(child.path()))?;
                    parents.links.push(Arc::new(parent));
                }
                Err(Failed::Missing(error)) if options.tolerates_missing_parent() => {
                    tracing::warn!(child = %child.path().display(), %error, "going on without a parent");
                    parents.is_cut = true;
                    break;
                }
                Err(Failed::Missing(error)) => return Err(Error::from(error).at(child.path())),
                Err(Failed::Unusable(error)) => return Err(error.at(child.path())),
            }
        }
        Ok(Self { leaf, parents })
    }
}

/// VMware products have children as large as their parents only.
fn check_capacity(child: &Link, parent: &Link, options: &OpenOptions) -> Result<(), ChainError> {
    let is_smaller = parent.capacity() < child.capacity();
    if is_smaller && options.tolerates_smaller_parent() {
        tracing::warn!(child = %child.path().display(), "the parent is smaller: what it lacks reads as zeros");
        return Ok(());
    }
    check_pair(child, parent)
}

/// Where the parent of a child is whose descriptor is the file `child`: the first place that the hint may mean with a
/// disk that is accepted for the content that the child names. Nothing stays open.
pub(crate) fn find_parent(
    child: (&Path, FileIdentity),
    reference: Option<&ParentReference>,
    options: &OpenOptions,
    accepts: &dyn Fn(&Link, ContentMark) -> bool,
) -> Result<PathBuf, Error> {
    let mut search = Search {
        options: options.clone().writable(false),
        caches: SharedCaches::new(),
        seen: BTreeSet::from([child.1]),
        accepts,
    };
    match search.parent(child.0, reference.ok_or(ChainError::Base)?) {
        Ok(parent) => Ok(parent.path().to_owned()),
        Err(Failed::Missing(error)) => Err(error.into()),
        Err(Failed::Unusable(error)) => Err(error),
    }
}

fn has_mark(link: &Link, mark: ContentMark) -> bool {
    link.mark() == Some(mark)
}

/// Parents and children have one size; what a child's surplus should read as is not defined.
pub(super) fn check_pair(child: &Link, parent: &Link) -> Result<(), ChainError> {
    if child.capacity() == parent.capacity() {
        return Ok(());
    }
    Err(ChainError::Capacity {
        path: parent.path().to_owned(),
        child: child.capacity().get(),
        parent: parent.capacity().get(),
    })
}

/// A file cannot be written as part of the leaf while it is read as part of a parent.
fn check_apart(leaf: &Link, parent: &Link, options: &OpenOptions) -> Result<(), ChainError> {
    let written: BTreeSet<FileIdentity> = leaf.files().collect();
    if options.is_writable() && parent.files().any(|file| written.contains(&file)) {
        return Err(ChainError::SharedFile(parent.path().to_owned()));
    }
    Ok(())
}

/// Why there is no parent to go on with.
enum Failed {
    /// There is none.
    Missing(ChainError),
    /// What there is cannot be the parent.
    Unusable(Error),
}

/// What opening parents needs.
struct Search<'a> {
    options: OpenOptions,
    caches: SharedCaches,
    /// The descriptors of the links so far: a link that comes again would come for ever.
    seen: BTreeSet<FileIdentity>,
    /// Whether a link has the content that its child names.
    accepts: &'a dyn Fn(&Link, ContentMark) -> bool,
}

impl Search<'_> {
    /// The parent of `child`: the first candidate that opens and has the right content id.
    ///
    /// If there is none, a wrong content id says most, and then whatever was wrong with the most likely candidate.
    fn parent(&mut self, child: &Path, reference: &ParentReference) -> Result<Link, Failed> {
        let name = reference
            .file_name()
            .map_err(|error| Failed::Unusable(error.into()))?
            .ok_or(Failed::Missing(ChainError::NoHint))?;
        let mut first_error: Option<Error> = None;
        for place in hint::candidates(&name) {
            let file = match self.options.open_gate().open_parent(child, &place) {
                Ok(file) => file,
                Err(GateError::NotFound) => continue,
                Err(error) => {
                    let path = child.parent().unwrap_or(Path::new("")).join(&place);
                    first_error.get_or_insert_with(|| Error::from(error).at(&path));
                    continue;
                }
            };
            let error = if self.seen.contains(&file.identity) {
                ChainError::Loop(file.path).into()
            } else {
                match Link::open_file(file, &self.options, &mut self.caches) {
                    Ok(link) if (self.accepts)(&link, reference.mark) => {
                        self.seen.insert(link.identity());
                        return Ok(link);
                    }
                    Ok(link) => ChainError::other_content(&link, reference.mark).into(),
                    Err(error) => error,
                }
            };
            let says_more = error.kind() == ErrorKind::CidMismatch
                && first_error
                    .as_ref()
                    .is_some_and(|first| first.kind() != ErrorKind::CidMismatch);
            if first_error.is_none() || says_more {
                first_error = Some(error);
            }
        }
        Err(match first_error {
            Some(error) => Failed::Unusable(error),
            None => Failed::Missing(ChainError::Missing(reference.hint().unwrap_or_default())),
        })
    }
}
