//! The bar, and signals.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vixdisklib::CopyProgress;

use crate::common::Result;

/// Knows whether somebody wants an end.
pub(crate) struct Watch {
    /// 0, or the number of the signal.
    signal: Arc<AtomicUsize>,
}

impl Watch {
    pub(crate) fn start() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGTERM] {
            let value = usize::try_from(number)?;
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)?;
        }
        Ok(Self { signal })
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<u8> {
        let signal = u8::try_from(self.signal.load(Ordering::Relaxed)).ok()?;
        (signal != 0).then_some(signal)
    }

    /// A bar on standard error, if that is a terminal.
    pub(crate) fn bar(&self, doing: &'static str) -> Result<Bar<'_>> {
        let style = "{msg} {bar:40} {percent:>3} % of {total_bytes}, {bytes_per_sec}, {eta} left";
        let bar = ProgressBar::new(0)
            .with_style(ProgressStyle::with_template(style)?)
            .with_message(doing);
        Ok(Bar { watch: self, bar })
    }
}

/// How far it is.
pub(crate) struct Bar<'watch> {
    watch: &'watch Watch,
    bar: ProgressBar,
}

impl Bar<'_> {
    /// Shows it, and says whether to go on.
    pub(crate) fn step(&self, progress: &CopyProgress) -> ControlFlow<()> {
        self.bar.set_length(progress.total.get());
        self.bar.set_position(progress.done().get());
        match self.watch.signal() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
