//! Memory that is given back with a secret in it, for tests: an allocator looks at what a thread frees.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::slice;

/// What is looked for.
pub(super) const MARK: &str = "Tr0ub4dor&3";

thread_local! {
    /// How many blocks with the mark this thread has freed; `None` where nobody looks.
    static FREED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How many blocks `work` frees, on this thread, with the mark in them.
pub(super) fn with_the_mark(work: impl FnOnce()) -> usize {
    FREED.set(Some(0));
    work();
    FREED.take().expect("set above")
}

/// The system's allocator. A block that grows is a new one, and the old one is freed, as the default of `realloc` has it.
struct Inspector;

// SAFETY: passes on to the system's allocator, and only reads a block before it is freed.
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that it may be read whole.
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(freed) = FREED.get() {
            // SAFETY: a block of this allocator, initialised by `alloc`, which nobody else refers to any more.
            let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
            let found = bytes
                .windows(MARK.len())
                .any(|window| window == MARK.as_bytes());
            FREED.set(Some(freed + usize::from(found)));
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Inspector = Inspector;

#[test]
fn what_is_freed_with_the_mark_is_counted() {
    let mut text = MARK.to_owned();
    assert_eq!(with_the_mark(|| text.reserve(4096)), 1, "left behind");
    assert_eq!(with_the_mark(|| drop(text)), 1);
}
