//! Memory that callers borrow: results of ours that they read in C and give back through a matching Free call.
//!
//! The owner stays here, found by the address that the caller holds. A Free call with an address that is not (or no
//! longer) on loan is therefore noticed and does nothing, where a plain `free` would corrupt the heap.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What is on loan to callers, of one kind.
#[derive(Debug)]
pub(crate) struct Lent<T>(Mutex<BTreeMap<usize, T>>);

impl<T> Lent<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Keeps `owner` until the address comes back. `address` must point into heap memory that `owner` owns and that
    /// does not move with it.
    pub(crate) fn lend<P>(&self, address: *mut P, owner: T) -> *mut P {
        self.0.lock().insert(address.addr(), owner);
        address
    }

    /// The owner of what lies at this address, or `None` if it is not on loan.
    pub(crate) fn take_back<P>(&self, address: *const P) -> Option<T> {
        let mut owners = self.0.lock();
        let owner = owners.remove(&address.addr());
        if owners.is_empty() {
            // An emptied tree keeps a node, which leak checkers would show after everything was freed.
            *owners = BTreeMap::new();
        }
        owner
    }

    /// Whether what lies at this address is on loan.
    pub(crate) fn contains<P>(&self, address: *const P) -> bool {
        self.0.lock().contains_key(&address.addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loan_ends_once() {
        let lent: Lent<Vec<u8>> = Lent::new();
        let mut owner = vec![1, 2, 3];
        let address = lent.lend(owner.as_mut_ptr(), owner);
        assert!(lent.contains(address));
        assert_eq!(lent.take_back(address), Some(vec![1, 2, 3]));
        assert_eq!(lent.take_back(address), None);
        assert!(!lent.contains(address));
        assert_eq!(lent.take_back(std::ptr::null::<u8>()), None);
    }
}
