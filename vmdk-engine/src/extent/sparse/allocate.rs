//! Space in the file for new grains and tables, and who is changing which grains.

use std::ops::Range;
use std::sync::Arc;

use disk_units::{Sector, SectorCount, SectorRange};
use parking_lot::{Condvar, Mutex};

use super::grains_around;
use crate::error::{Error, IoFault, Refusal};
use crate::storage::Storage;
use crate::units::{GrainSize, byte_position};

/// Grain table entries are 32-bit sector numbers.
const FILE_LIMIT: u64 = 1 << 32;

/// The end of the file, and the claims on grains.
#[derive(Debug)]
pub(super) struct Space {
    storage: Arc<dyn Storage>,
    grain: GrainSize,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug)]
struct State {
    /// The sector at which the next grain goes; everything from here on reads as zeros once the file reaches it.
    tail: u64,
    /// One entry for each thread that is changing grains.
    claimed: Vec<Range<u64>>,
}

impl Space {
    /// `tail` is a multiple of the grain size, at or behind the end of the file.
    pub(super) fn new(storage: Arc<dyn Storage>, grain: GrainSize, tail: u64) -> Self {
        Self {
            storage,
            grain,
            state: Mutex::new(State {
                tail,
                claimed: Vec::new(),
            }),
            released: Condvar::new(),
        }
    }

    /// Waits until nobody else is changing the grains of `range`, and keeps others out until dropped.
    ///
    /// A thread holds one claim at a time, so that claims cannot wait for each other in a circle.
    pub(super) fn claim(&self, grain: GrainSize, range: SectorRange) -> Claim<'_> {
        let grains = grains_around(grain, range);
        let mut state = self.state.lock();
        while state.claimed.iter().any(|other| overlap(other, &grains)) {
            self.released.wait(&mut state);
        }
        state.claimed.push(grains.clone());
        Claim {
            space: self,
            grains,
        }
    }

    /// Extends the file by space for `grains` grains, which reads as zeros.
    pub(super) fn reserve(&self, grains: u64) -> Result<Sector, Error> {
        let mut state = self.state.lock();
        let start = state.tail;
        let end = grains
            .checked_mul(self.grain.sectors())
            .and_then(|sectors| start.checked_add(sectors))
            .filter(|end| *end <= FILE_LIMIT)
            .ok_or(Refusal::FileTooBig)?;
        self.storage
            .set_len(byte_position(Sector::new(end)))
            .map_err(|error| IoFault::new("extending the file", error))?;
        state.tail = end;
        Ok(Sector::new(start))
    }

    /// Extends the file so that it reaches at least up to `end`; what is new reads as zeros.
    pub(super) fn reach(&self, end: Sector) -> Result<(), Error> {
        let missing = end.checked_since(self.tail()).unwrap_or_default();
        if !missing.is_zero() {
            self.reserve(self.grain.grains_in(missing))?;
        }
        Ok(())
    }

    /// Cuts off everything from `end` on, durably. Nobody reads, writes or reserves there meanwhile.
    pub(super) fn cut(&self, end: Sector) -> Result<(), Error> {
        let fault = |error| IoFault::new("cutting the file", error);
        let mut state = self.state.lock();
        let end = self.grain.round_up(end.get());
        let length = byte_position(Sector::new(end));
        if self.storage.len().map_err(fault)? > length {
            self.storage.set_len(length).map_err(fault)?;
            self.storage.sync_data().map_err(fault)?;
        }
        state.tail = end;
        Ok(())
    }

    /// The sector behind everything that was ever reserved.
    pub(super) fn tail(&self) -> Sector {
        Sector::new(self.state.lock().tail)
    }

    /// Takes back a reservation that could not be filled, if nothing was reserved behind it; otherwise it is lost.
    pub(super) fn give_back(&self, start: Sector, grains: u64) {
        let sectors = grains.saturating_mul(self.grain.sectors());
        let end = start.checked_add(SectorCount::new(sectors));
        let mut state = self.state.lock();
        if end == Some(Sector::new(state.tail))
            && self.storage.set_len(byte_position(start)).is_ok()
        {
            state.tail = start.get();
        } else {
            tracing::debug!(%start, sectors, "space in a sparse file is lost after a failed write");
        }
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Grains that one thread is changing; see [`Space::claim`].
#[derive(Debug)]
pub(super) struct Claim<'a> {
    space: &'a Space,
    grains: Range<u64>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.space.state.lock();
        let own = state
            .claimed
            .iter()
            .position(|claimed| *claimed == self.grains);
        if let Some(index) = own {
            state.claimed.swap_remove(index);
        }
        drop(state);
        self.space.released.notify_all();
    }
}
