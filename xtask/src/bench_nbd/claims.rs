//! What is claimed of a contest: a row of the table of targets.

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Seconds of the client's work.
    Time,
    /// Seconds of processor time that the server took.
    Processor,
}

/// A row of the table of targets, against one peer.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) row: u32,
    pub(super) quantity: Quantity,
    /// The index of the peer among those of the contest, ours not counted.
    pub(super) peer: usize,
    /// The ratio of theirs to ours that is required, and the one that is hoped for.
    pub(super) must: f64,
    pub(super) stretch: f64,
}

impl Claim {
    pub(super) const fn time(row: u32, peer: usize, must: f64, stretch: f64) -> Self {
        let quantity = Quantity::Time;
        Self {
            row,
            quantity,
            peer,
            must,
            stretch,
        }
    }

    /// The shares are ours of theirs, so less is better.
    pub(super) const fn processor(row: u32, peer: usize, must: f64, stretch: f64) -> Self {
        let quantity = Quantity::Processor;
        Self {
            row,
            quantity,
            peer,
            must: 1.0 / must,
            stretch: 1.0 / stretch,
        }
    }

    pub(super) fn verdict(&self, ratio: f64) -> &'static str {
        if ratio >= self.stretch {
            "stretch met"
        } else if ratio >= self.must {
            "met"
        } else {
            "MISSED"
        }
    }
}
