//! Panics of the caller's code on threads of the library, where none may unwind.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often what came of a panic is dropped: what it panicked with may panic too, and so on.
const DROPS: usize = 4;

/// Runs the caller's code; what it panics with ends here.
pub(crate) fn contain(code: impl FnOnce()) {
    let mut outcome = catch_unwind(AssertUnwindSafe(code));
    for _ in 0..DROPS {
        match outcome {
            Ok(()) => return,
            Err(panic) => outcome = catch_unwind(AssertUnwindSafe(|| drop(panic))),
        }
    }
    // Better kept for ever than dropped without an end.
    mem::forget(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;
    use std::sync::Arc;

    #[test]
    fn what_was_panicked_with_is_freed() {
        let payload = Arc::new(());
        let panicked = Box::new(Arc::clone(&payload));
        contain(|| resume_unwind(panicked));
        assert_eq!(Arc::strong_count(&payload), 1);
    }

    #[test]
    fn panics_without_end_stay_inside() {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                resume_unwind(Box::new(Again));
            }
        }
        contain(|| resume_unwind(Box::new(Again)));
    }
}
