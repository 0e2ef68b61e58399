//! Initialising and ending.

use std::ptr;

use super::caller::{Caller, quiet};
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

rule! { InitTwice init_twice
    broken |caller| {
        caller.init();
        caller.init();
        caller.exit();
        caller.exit();
    }
    kept |caller| {
        caller.init();
        caller.exit();
    }
}

rule! { InitAfterExit init_after_exit
    broken |caller| {
        caller.init();
        caller.exit();
        caller.init();
        caller.exit();
    }
    kept |caller| {
        // A failed `InitEx` may be tried again.
        // SAFETY: the functions live as long as the process; directories may be null.
        let refused = unsafe {
            (TABLE.init_ex)(1, 0, Some(quiet), Some(quiet), Some(quiet), ptr::null(), ptr::null())
        };
        assert!(!refused.is_ok());
        caller.init();
        caller.exit();
    }
}

rule! { InitNullLog init_null_log
    broken |caller| {
        assert!(caller.init_with([Some(quiet), None, Some(quiet)]).is_ok());
        caller.exit();
    }
    kept |caller| {
        assert!(caller.init_with([Some(quiet); 3]).is_ok());
        caller.exit();
    }
}

rule! { InitMainThread init_main_thread
    broken |caller| {
        caller.elsewhere(|| {
            caller.init();
            caller.exit();
        });
    }
    kept |caller| {
        // The one thread of a forked process is its main thread.
        assert!(caller.forked(|| {
            caller.init();
            caller.exit();
            caller.seen().is_empty()
        }));
    }
}

rule! { CallBeforeInit call_before_init
    broken |caller| {
        let list = TABLE.list_transport_modes.expect("there");
        // SAFETY: needs nothing.
        unsafe { list() };
    }
    kept |caller| {
        // These may come before.
        let allocate = TABLE.allocate_connect_params.expect("there");
        // SAFETY: needs nothing.
        let params = unsafe { allocate() };
        // SAFETY: needs nothing.
        let text = unsafe { (TABLE.get_error_text)(vixdisklib_sys::VixError::FAIL, ptr::null()) };
        // SAFETY: from the partner of this call.
        unsafe { (TABLE.free_error_text)(text) };
        // SAFETY: from the partner of this call.
        unsafe { (TABLE.free_connect_params)(params) };
    }
}

rule! { CallAfterExit call_after_exit
    broken |caller| {
        caller.init();
        caller.exit();
        caller.exit();
    }
    kept |caller| {
        caller.with_disk(|_| {});
        // SAFETY: needs nothing.
        let text = unsafe { (TABLE.get_error_text)(vixdisklib_sys::VixError::FAIL, ptr::null()) };
        // SAFETY: from the partner of this call.
        unsafe { (TABLE.free_error_text)(text) };
    }
}

mod fork_after_init {
    use super::*;

    /// What a child finds stays in the child, so it is looked at there.
    fn found_in_child(caller: &Caller, expected: &[&str]) -> bool {
        caller.forked(|| {
            let list = TABLE.list_transport_modes.expect("there");
            // SAFETY: needs nothing.
            unsafe { list() };
            caller.seen() == expected
        })
    }

    #[test]
    fn broken() {
        let caller = Caller::checking(Rule::ForkAfterInit, &[]);
        caller.init();
        assert!(found_in_child(&caller, &[Rule::ForkAfterInit.name()]));
        caller.exit();
        assert_eq!(caller.seen(), [""; 0], "the parent did nothing wrong");
    }

    #[test]
    fn kept() {
        let caller = Caller::checking(Rule::ForkAfterInit, &[]);
        assert!(caller.forked(|| {
            caller.init();
            caller.exit();
            caller.seen().is_empty()
        }));
        // After `Exit` the child only comes too late.
        caller.init();
        caller.exit();
        assert!(found_in_child(&caller, &[Rule::CallAfterExit.name()]));
    }
}

rule! { ExitLiveConnections exit_live_connections
    broken |caller| {
        caller.init();
        caller.connect();
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        caller.disconnect(connection);
        caller.exit();
    }
}
