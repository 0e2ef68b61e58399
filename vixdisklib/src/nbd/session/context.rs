//! Metadata contexts: what a client may ask block status about.

/// A kind of block status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaContext {
    /// Which ranges are allocated and which read as zeroes.
    Allocation,
}

/// A query that has no colon, so that no namespace can answer it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoNamespace;

const ALL: [MetaContext; 1] = [MetaContext::Allocation];

impl MetaContext {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allocation => "base:allocation",
        }
    }

    /// What stands for the context in block status replies.
    pub(super) fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
        }
    }

    /// The contexts that exist and match a query of `LIST_META_CONTEXT`: all if there is no query, and all of a
    /// namespace if a query is nothing but its name and the colon.
    pub(super) fn list(queries: &[&str]) -> Result<Vec<Self>, NoNamespace> {
        if queries.is_empty() {
            return Ok(ALL.to_vec());
        }
        matching(queries, |context, query| {
            context.name() == query || (query.ends_with(':') && context.name().starts_with(query))
        })
    }

    /// The contexts that `SET_META_CONTEXT` selects: only those named in full.
    pub(super) fn select(queries: &[&str]) -> Result<Vec<Self>, NoNamespace> {
        matching(queries, |context, query| context.name() == query)
    }
}

/// Each context at most once, however many queries match it. What matches nothing is ignored, as the protocol asks.
fn matching(
    queries: &[&str],
    matches: impl Fn(MetaContext, &str) -> bool,
) -> Result<Vec<MetaContext>, NoNamespace> {
    if queries.iter().any(|query| !query.contains(':')) {
        return Err(NoNamespace);
    }
    Ok(ALL
        .into_iter()
        .filter(|context| queries.iter().any(|query| matches(*context, query)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_names_select() {
        let all = Ok(ALL.to_vec());
        let none = Ok(Vec::new());
        assert_eq!(MetaContext::select(&["base:allocation"]), all);
        assert_eq!(
            MetaContext::select(&["base:allocation", "base:allocation"]),
            all
        );
        assert_eq!(
            MetaContext::select(&["base:", "base:allocationx", "qemu:x"]),
            none
        );
        assert_eq!(MetaContext::select(&[]), none);
        assert_eq!(
            MetaContext::select(&["base:allocation", "x"]),
            Err(NoNamespace)
        );
    }

    #[test]
    fn listing_takes_namespaces() {
        let all = Ok(ALL.to_vec());
        let none = Ok(Vec::new());
        assert_eq!(MetaContext::list(&[]), all);
        assert_eq!(MetaContext::list(&["base:", "base:allocation"]), all);
        assert_eq!(MetaContext::list(&["qemu:", ":", "base:a:"]), none);
        assert_eq!(MetaContext::list(&[""]), Err(NoNamespace));
    }
}
