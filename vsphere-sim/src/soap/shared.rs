//! What clients made for themselves: views and filters.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::collector::Filter;
use crate::vim::{Moref, Value};

/// There are at most so many of each; the oldest goes.
const MAX: usize = 1000;

/// A container view.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) container: Moref,
    /// The types of what it shows; all, if there are none.
    pub(super) kinds: Vec<String>,
    pub(super) recursive: bool,
}

/// A filter, and what its owner saw last.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) filter: Filter,
    /// The login that made it.
    pub(super) owner: String,
    pub(super) seen: Option<Vec<(Moref, String, Value)>>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    views: Mutex<Numbered<View>>,
    pub(super) filters: Mutex<Numbered<Watched>>,
}

/// Things with ids.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    last: u64,
    pub(super) all: BTreeMap<u64, T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            last: 0,
            all: BTreeMap::new(),
        }
    }
}

impl<T> Numbered<T> {
    pub(super) fn add(&mut self, thing: T) -> u64 {
        self.last += 1;
        self.all.insert(self.last, thing);
        if self.all.len() > MAX {
            self.all.pop_first();
        }
        self.last
    }
}

impl Shared {
    pub(super) fn add_view(&self, view: View) -> String {
        format!("session[1]view-{}", self.views.lock().add(view))
    }

    pub(super) fn view(&self, id: &str) -> Option<View> {
        let number = id.strip_prefix("session[1]view-")?.parse().ok()?;
        self.views.lock().all.get(&number).cloned()
    }

    pub(super) fn remove_view(&self, id: &str) -> bool {
        let number = id
            .strip_prefix("session[1]view-")
            .and_then(|number| number.parse().ok());
        number.is_some_and(|number: u64| self.views.lock().all.remove(&number).is_some())
    }
}
