//! Metadata contexts: what a client may ask block status about.

use crate::nbd::export::Export;

/// Contexts that one client may select.
pub(super) const MAX_SELECTED: usize = 16;

/// A kind of block status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaContext {
    /// Which ranges are allocated and which read as zeroes.
    Allocation,
    /// What the export has at this index besides.
    OfExport(u16),
}

/// Why queries select nothing; the text goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQueries {
    #[error("a query names no namespace")]
    NoNamespace,
    #[error("more than {MAX_SELECTED} contexts")]
    ManyContexts,
}

impl MetaContext {
    pub(super) fn name(self, export: &dyn Export) -> &str {
        match self {
            Self::Allocation => "base:allocation",
            Self::OfExport(index) => &export.contexts()[usize::from(index)],
        }
    }

    /// What stands for the context in block status replies.
    pub(super) fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
            Self::OfExport(index) => 2 + u32::from(index),
        }
    }

    fn all(export: &dyn Export) -> impl Iterator<Item = Self> {
        let others = (0..).zip(export.contexts());
        std::iter::once(Self::Allocation).chain(others.map(|(index, _)| Self::OfExport(index)))
    }

    /// The contexts that exist and match a query of `LIST_META_CONTEXT`: all if there is no query, and all whose names
    /// begin with a query that ends with a colon.
    pub(super) fn list(export: &dyn Export, queries: &[&str]) -> Result<Vec<Self>, BadQueries> {
        if queries.is_empty() {
            return Ok(Self::all(export).collect());
        }
        matching(export, queries, |name, query| {
            name == query || (query.ends_with(':') && name.starts_with(query))
        })
    }

    /// The contexts that `SET_META_CONTEXT` selects: only those named in full.
    pub(super) fn select(export: &dyn Export, queries: &[&str]) -> Result<Vec<Self>, BadQueries> {
        let selected = matching(export, queries, |name, query| name == query)?;
        match selected.len() {
            0..=MAX_SELECTED => Ok(selected),
            _ => Err(BadQueries::ManyContexts),
        }
    }
}

/// Each context at most once, however many queries match it. What matches nothing is ignored, as the protocol asks.
fn matching(
    export: &dyn Export,
    queries: &[&str],
    matches: impl Fn(&str, &str) -> bool,
) -> Result<Vec<MetaContext>, BadQueries> {
    if queries.iter().any(|query| !query.contains(':')) {
        return Err(BadQueries::NoNamespace);
    }
    Ok(MetaContext::all(export)
        .filter(|context| {
            let name = context.name(export);
            queries.iter().any(|query| matches(name, query))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::session::testing::Ram;
    use std::sync::Arc;

    fn export() -> Arc<Ram> {
        let names = ["qemu:allocation-depth", "qemu:dirty-bitmap:a", "x-own:b"];
        Arc::new(Ram {
            contexts: names.map(str::to_owned).to_vec(),
            ..Ram::new(512)
        })
    }

    const BASE: MetaContext = MetaContext::Allocation;
    const DEPTH: MetaContext = MetaContext::OfExport(0);
    const DIRTY: MetaContext = MetaContext::OfExport(1);
    const OWN: MetaContext = MetaContext::OfExport(2);

    #[test]
    fn only_full_names_select() {
        let export = export();
        let select = |queries: &[&str]| MetaContext::select(&export, queries);
        assert_eq!(select(&["base:allocation"]), Ok(vec![BASE]));
        assert_eq!(select(&["base:allocation"; 2]), Ok(vec![BASE]));
        assert_eq!(
            select(&["x-own:b", "qemu:dirty-bitmap:a"]),
            Ok(vec![DIRTY, OWN])
        );
        let incomplete = ["base:", "base:allocationx", "qemu:", "qemu:dirty-bitmap:"];
        assert_eq!(select(&incomplete), Ok(vec![]));
        assert_eq!(select(&[]), Ok(vec![]));
        assert_eq!(
            select(&["base:allocation", "x"]),
            Err(BadQueries::NoNamespace)
        );
    }

    #[test]
    fn listing_takes_namespaces() {
        let export = export();
        let list = |queries: &[&str]| MetaContext::list(&export, queries);
        assert_eq!(list(&[]), Ok(vec![BASE, DEPTH, DIRTY, OWN]));
        assert_eq!(list(&["base:", "base:allocation"]), Ok(vec![BASE]));
        assert_eq!(list(&["qemu:"]), Ok(vec![DEPTH, DIRTY]));
        assert_eq!(list(&["qemu:dirty-bitmap:"]), Ok(vec![DIRTY]));
        assert_eq!(list(&["nobody:", ":", "base:a:"]), Ok(vec![]));
        assert_eq!(list(&[""]), Err(BadQueries::NoNamespace));
    }

    #[test]
    fn ids_and_names_are_unique() {
        let export = export();
        let all = MetaContext::list(&export, &[]).unwrap();
        for (index, context) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(context.id(), other.id());
                assert_ne!(context.name(&export), other.name(&export));
            }
        }
    }

    #[test]
    fn sixteen_are_enough() {
        let names: Vec<String> = (0..16).map(|number| format!("x-n:{number}")).collect();
        let export = Arc::new(Ram {
            contexts: names.clone(),
            ..Ram::new(512)
        });
        let mut queries: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            MetaContext::select(&export, &queries).map(|c| c.len()),
            Ok(16)
        );
        queries.push("base:allocation");
        assert_eq!(
            MetaContext::select(&export, &queries),
            Err(BadQueries::ManyContexts)
        );
        assert_eq!(
            MetaContext::list(&export, &queries).map(|c| c.len()),
            Ok(17)
        );
    }
}
