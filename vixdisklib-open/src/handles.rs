//! The handles that callers hold, and what they stand for.
//!
//! A handle is a number dressed as a pointer. It is never followed: it is looked up, so a closed, foreign or
//! invented one is found missing instead of being read. Numbers are not used twice while the process lives, not
//! even across `Exit` and a new `InitEx`, so a stale handle can never mean a younger object.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a caller holds in place of a connection or a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle(usize);

/// Marks every handle, in the bits that no address of a user process has on the 64-bit systems of today: a caller
/// that follows one faults at once, and no live object can have the same value by chance.
const MARK: usize = 0x5644_0000_0000_0000;

static NEXT: AtomicUsize = AtomicUsize::new(MARK + 1);

impl Handle {
    fn fresh() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The handle in an address that a caller passes, whether it was ever given out or not.
    pub(crate) fn from_address(address: usize) -> Self {
        Self(address)
    }

    /// The number as the address that goes to the caller; never zero.
    pub(crate) fn address(self) -> usize {
        self.0
    }
}

/// The live connections, and the live disks with the connection that each was opened through.
#[derive(Debug)]
pub(crate) struct Handles<C, D> {
    connections: HashMap<Handle, Arc<C>>,
    disks: HashMap<Handle, (Handle, Arc<D>)>,
}

impl<C, D> Default for Handles<C, D> {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            disks: HashMap::new(),
        }
    }
}

impl<C, D> Handles<C, D> {
    pub(crate) fn add_connection(&mut self, connection: C) -> Handle {
        let handle = Handle::fresh();
        self.connections.insert(handle, Arc::new(connection));
        handle
    }

    pub(crate) fn connection(&self, handle: Handle) -> Option<Arc<C>> {
        self.connections.get(&handle).map(Arc::clone)
    }

    /// Enters a disk that was opened through `connection`; gives it back if that connection has gone meanwhile.
    pub(crate) fn add_disk(&mut self, connection: Handle, disk: D) -> Result<Handle, D> {
        if !self.connections.contains_key(&connection) {
            return Err(disk);
        }
        let handle = Handle::fresh();
        self.disks.insert(handle, (connection, Arc::new(disk)));
        Ok(handle)
    }

    pub(crate) fn disk(&self, handle: Handle) -> Option<Arc<D>> {
        self.disks.get(&handle).map(|(_, disk)| Arc::clone(disk))
    }

    pub(crate) fn remove_disk(&mut self, handle: Handle) -> Option<Arc<D>> {
        self.disks.remove(&handle).map(|(_, disk)| disk)
    }

    /// Forgets a connection together with the disks that were left open on it, and returns all that; `None` if there
    /// is no such connection.
    pub(crate) fn remove_connection(&mut self, handle: Handle) -> Option<(Arc<C>, Vec<Arc<D>>)> {
        let gone = self.connections.remove(&handle)?;
        let orphans = self
            .disks
            .extract_if(|_, (connection, _)| *connection == handle)
            .map(|(_, (_, disk))| disk)
            .collect();
        Some((gone, orphans))
    }

    /// Forgets everything and returns it.
    pub(crate) fn clear(&mut self) -> (Vec<Arc<C>>, Vec<Arc<D>>) {
        let connections = self.connections.drain().map(|(_, connection)| connection);
        let disks = self.disks.drain().map(|(_, (_, disk))| disk);
        (connections.collect(), disks.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_dies_with_its_object_and_never_comes_back() {
        let mut handles: Handles<&str, &str> = Handles::default();
        let connection = handles.add_connection("local");
        let first = handles.add_disk(connection, "a").expect("connected");
        assert_eq!(handles.remove_disk(first).as_deref(), Some(&"a"));
        assert_eq!(handles.remove_disk(first), None);
        let second = handles.add_disk(connection, "b").expect("connected");
        assert_ne!(first, second);
        assert_eq!(handles.disk(first), None);
        assert_eq!(handles.disk(second).as_deref(), Some(&"b"));
    }

    #[test]
    fn a_handle_of_one_kind_is_none_of_the_other() {
        let mut handles: Handles<&str, &str> = Handles::default();
        let connection = handles.add_connection("local");
        let disk = handles.add_disk(connection, "a").expect("connected");
        assert_eq!(handles.disk(connection), None);
        assert_eq!(handles.connection(disk), None);
        assert_eq!(handles.remove_connection(disk), None);
        assert_eq!(handles.connection(Handle::from_address(0)), None);
    }

    #[test]
    fn a_connection_takes_its_disks_along() {
        let mut handles: Handles<(), u32> = Handles::default();
        let one = handles.add_connection(());
        let two = handles.add_connection(());
        handles.add_disk(one, 1).expect("connected");
        let kept = handles.add_disk(two, 2).expect("connected");
        let (_, orphans) = handles.remove_connection(one).expect("there");
        assert_eq!(orphans, [Arc::new(1)]);
        assert_eq!(handles.add_disk(one, 3), Err(3));
        assert_eq!(handles.disk(kept), Some(Arc::new(2)));
        assert_eq!(handles.clear(), (vec![Arc::new(())], vec![Arc::new(2)]));
        assert_eq!(handles.disk(kept), None);
    }
}
