//! How far a long call is, told to the caller's closure.
//!
//! The library reports from inside the call, on the thread that makes it, and nothing may call the library from there.
//! So a call that reports runs on another thread, and its reports come back to the caller's, which waits anyway. There
//! the closure is outside of the library: it may use it, and it may panic.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;

use disk_units::ByteLen;
use vixdisklib_sys::{Bool, VixDiskLibProgressFunc};

use crate::worker::Worker;

/// How far a long call is, as the library reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Progress {
    /// The percentage of the work that is done, 0 to 100.
    pub percent: u8,
    /// The bytes that are worked through in all, where that is known: the capacity of a disk that is created or cloned.
    pub total: Option<ByteLen>,
}

impl Progress {
    /// The bytes that are done, as exact as a whole percentage can say it; `None` where the total is not known.
    ///
    /// VixDiskLib reports nothing finer.
    #[must_use]
    pub fn done(self) -> Option<ByteLen> {
        let total = u128::from(self.total?.get());
        let done = total * u128::from(self.percent) / 100;
        u64::try_from(done).ok().map(ByteLen::new)
    }
}

/// What the library reports to: lives as long as its call.
#[derive(Debug)]
pub(crate) struct Reporter {
    reports: mpsc::Sender<Progress>,
    total: Option<ByteLen>,
    /// The percentage reported last, which the library may repeat; above 100 before the first.
    last: AtomicU8,
}

impl Reporter {
    /// The function to give to the library; [`data`](Self::data) goes with it.
    pub(crate) const FUNCTION: VixDiskLibProgressFunc = Some(on_progress);

    pub(crate) fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    fn report(&self, percent: c_int) {
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(100);
        if self.last.swap(percent, Ordering::Relaxed) != percent {
            let total = self.total;
            // Nobody listens any more where the closure has panicked.
            let _ = self.reports.send(Progress { percent, total });
        }
    }
}

/// The library's report. It ignores the answer.
unsafe extern "C" fn on_progress(data: *mut c_void, percent: c_int) -> Bool {
    // SAFETY: the data that was given along with this function: a reporter, shared, which lives until the call returns.
    let reporter = unsafe { &*data.cast_const().cast::<Reporter>() };
    reporter.report(percent);
    1
}

/// Makes a call on `worker`, has `observer` hear its reports on this thread, and returns what the call returned.
///
/// A panic of `observer` goes on here, once the call has returned.
pub(crate) fn watch<T: Send + 'static, R: Send + 'static>(
    worker: &Worker<T>,
    total: Option<ByteLen>,
    observer: &mut dyn FnMut(Progress),
    call: impl FnOnce(&Reporter) -> R + Send + 'static,
) -> R {
    let (reports, received) = mpsc::channel();
    let reporter = Reporter {
        reports,
        total,
        last: AtomicU8::new(u8::MAX),
    };
    // The reporter goes with the call, and then the reports end.
    let call = move |_: &mut T| call(&{ reporter });
    worker.run_beside(call, || received.into_iter().for_each(observer))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    /// Reports these numbers as the library would.
    fn report_all(reporter: &Reporter, percents: &[c_int]) {
        let function = Reporter::FUNCTION.expect("there is one");
        for percent in percents {
            // SAFETY: the data belongs to the function, and the reporter lives.
            let answer = unsafe { function(reporter.data(), *percent) };
            assert_eq!(answer, 1);
        }
    }

    fn worker() -> Worker<()> {
        Worker::start("test-worker", ()).expect("started")
    }

    #[test]
    fn reports_reach_the_callers_thread_in_order_without_repetition() {
        let caller = thread::current().id();
        let mut heard = Vec::new();
        let mut observer = |progress: Progress| {
            assert_eq!(thread::current().id(), caller);
            heard.push(progress.percent);
        };
        let answer = watch(&worker(), None, &mut observer, move |reporter| {
            assert_ne!(thread::current().id(), caller);
            report_all(reporter, &[-3, 0, 0, 1, 50, 50, 49, 100, 200]);
            42
        });
        assert_eq!(answer, 42);
        assert_eq!(heard, [0, 1, 50, 49, 100]);
    }

    #[test]
    fn bytes_follow_from_the_percentage() {
        let progress = |percent, total| Progress { percent, total };
        assert_eq!(progress(50, None).done(), None);
        let most = Some(ByteLen::new(u64::MAX));
        assert_eq!(progress(100, most).done(), most);
        assert_eq!(
            progress(33, Some(ByteLen::new(1000))).done(),
            Some(ByteLen::new(330))
        );
    }

    #[test]
    fn a_panic_goes_on_at_the_caller_after_the_call_is_over() {
        let over = Arc::new(AtomicBool::new(false));
        let worker = worker();
        let mut heard = 0;
        let call = {
            let over = Arc::clone(&over);
            move |reporter: &Reporter| {
                report_all(reporter, &[1, 2, 3]);
                thread::sleep(std::time::Duration::from_millis(20));
                over.store(true, Ordering::SeqCst);
            }
        };
        let mut observer = |_: Progress| {
            heard += 1;
            panic!("enough");
        };
        let watched = || watch(&worker, None, &mut observer, call);
        let panic = catch_unwind(AssertUnwindSafe(watched)).expect_err("went on");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"enough"));
        assert!(over.load(Ordering::SeqCst), "the call was left alone");
        assert_eq!(heard, 1, "a closure that panicked hears no more");
        assert_eq!(worker.run(|()| 7), 7, "the thread goes on");
    }
}
