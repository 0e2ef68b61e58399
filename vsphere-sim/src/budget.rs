//! Something that there is only so much of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So much of it, of which some is taken.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// A part that was taken; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    amount: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
        })
    }

    /// Takes a part unless there is too little left.
    pub(crate) fn take(self: &Arc<Self>, amount: u64) -> Option<Share> {
        let add = |used: u64| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add)
            .ok()?;
        Some(Share {
            budget: Arc::clone(self),
            amount,
        })
    }

    /// Whether so much is left for the moment.
    pub(crate) fn has(&self, amount: u64) -> bool {
        self.used()
            .checked_add(amount)
            .is_some_and(|sum| sum <= self.limit)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let budget = Budget::new(100);
        let first = budget.take(60).expect("there is enough");
        let second = budget.take(40).expect("there is enough");
        assert!(budget.take(1).is_none() && budget.take(u64::MAX).is_none());
        assert!(!budget.has(1));
        drop(first);
        assert!(budget.has(60) && !budget.has(61));
        assert_eq!(budget.used(), 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
