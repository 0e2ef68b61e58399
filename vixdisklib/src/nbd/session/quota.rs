//! An amount that some take from and give back to, first come, first served.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left.
#[derive(Debug)]
pub(super) struct Quota(AtomicUsize);

impl Quota {
    pub(super) fn new(amount: usize) -> Self {
        Self(AtomicUsize::new(amount))
    }

    /// Takes all of `amount`, or nothing.
    pub(super) fn take(&self, amount: usize) -> bool {
        let less = |left: usize| left.checked_sub(amount);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    pub(super) fn give_back(&self, amount: usize) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_is_taken_than_there_is() {
        let quota = Quota::new(3);
        assert!(quota.take(2));
        assert!(!quota.take(2));
        assert!(quota.take(1));
        quota.give_back(2);
        assert_eq!(quota.left(), 2);
        assert!(quota.take(2));
    }
}
