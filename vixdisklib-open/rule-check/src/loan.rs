//! Results that callers hold and owe a Free call for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::call::Call;
use crate::rule::Rule;

/// What kind of result it is; each has its own Free function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Info,
    Blocks,
    ErrorText,
    Params,
}

impl Kind {
    /// The rule that says that it is given back.
    pub(crate) fn leak(self) -> Rule {
        match self {
            Self::Info => Rule::LeakedInfo,
            Self::Blocks => Rule::LeakedBlocks,
            Self::ErrorText => Rule::LeakedErrorText,
            Self::Params => Rule::LeakedParams,
        }
    }

    /// The function that frees it.
    pub(crate) fn free_function(self) -> &'static str {
        match self {
            Self::Info => "FreeInfo",
            Self::Blocks => "FreeBlockList",
            Self::ErrorText => "FreeErrorText",
            Self::Params => "FreeConnectParams",
        }
    }
}

/// A result that a caller holds.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    pub(crate) kind: Kind,
    /// The call that gave it.
    pub(crate) call: Arc<Call>,
}

/// Things that are gone, found by their address; the oldest are forgotten.
#[derive(Debug)]
pub(crate) struct Graveyard<T> {
    found: HashMap<usize, T>,
    order: VecDeque<usize>,
}

/// How many things that are gone are remembered.
const REMEMBERED: usize = 4096;

impl<T> Default for Graveyard<T> {
    fn default() -> Self {
        Self {
            found: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Graveyard<T> {
    /// Remembers what was at an address.
    pub(crate) fn bury(&mut self, address: usize, what: T) {
        if self.found.insert(address, what).is_none() {
            self.order.push_back(address);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.found.remove(&oldest);
        }
    }

    /// What was at an address.
    pub(crate) fn find(&self, address: usize) -> Option<&T> {
        self.found.get(&address)
    }

    /// Forgets an address, which something new lies at.
    pub(crate) fn forget(&mut self, address: usize) {
        if self.found.remove(&address).is_some() {
            self.order.retain(|known| *known != address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut gone = Graveyard::default();
        for address in 0..REMEMBERED + 2 {
            gone.bury(address, address);
        }
        gone.bury(7, 7);
        assert_eq!(gone.find(0), None);
        assert_eq!(gone.find(1), None);
        assert_eq!(gone.find(2), Some(&2));
        gone.forget(2);
        assert_eq!(gone.find(2), None);
        assert_eq!(gone.order.len(), REMEMBERED - 1);
    }
}
