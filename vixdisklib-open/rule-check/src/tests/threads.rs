//! Which thread calls, and what runs at the same time.

use std::ptr;
use std::sync::mpsc;

use super::caller::{Caller, Closure, on_progress};
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

rule! { ThreadBeforeInit thread_before_init
    broken |caller| {
        let (go, wait) = mpsc::channel();
        std::thread::scope(|scope| {
            let caller = &caller;
            let worker = scope.spawn(move || {
                let disk = wait.recv().expect("a disk");
                caller.read(disk, 0, 1)
            });
            // The thread is there before the library.
            caller.with_disk(|disk| {
                go.send(disk).expect("it waits");
                assert!(worker.join().expect("no panic").is_ok());
            });
        });
    }
    kept |caller| {
        caller.with_disk(|disk| caller.elsewhere(|| {
            assert!(caller.read(disk, 0, 1).is_ok());
        }));
    }
}

rule! { OpenThread open_thread
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let disk = caller.open(connection);
        caller.elsewhere(|| {
            caller.close(disk);
        });
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        // Reading may happen anywhere.
        caller.with_disk(|disk| caller.elsewhere(|| {
            assert!(caller.read(disk, 0, 1).is_ok());
        }));
    }
}

rule! { ConnectThread connect_thread
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        caller.elsewhere(|| {
            caller.disconnect(connection);
        });
        caller.exit();
    }
    kept |caller| {
        // Any thread may be the one, if it is always the same.
        caller.elsewhere(|| caller.with_disk(|_| {}));
    }
}

rule! { ExitThread exit_thread
    broken |caller| {
        caller.init();
        caller.elsewhere(|| caller.exit());
    }
    kept |caller| {
        caller.elsewhere(|| {
            caller.init();
            caller.exit();
        });
    }
}

rule! { OpenCloseOverlap open_close_overlap
    without OpenThread;
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let disk = caller.open(connection);
        caller.while_it_waits(|| caller.open_nothing(connection), || {
            caller.close(disk);
        });
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        let disk = caller.open(connection);
        caller.open_nothing(connection);
        caller.close(disk);
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { HandleOverlap handle_overlap
    broken |caller| {
        caller.with_disk(|disk| {
            caller.while_it_waits(|| caller.ask_for_nothing(disk), || {
                assert!(caller.read(disk, 0, 1).is_ok());
            });
        });
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        let path = caller.make("disk");
        let flags = vixdisklib_sys::VIXDISKLIB_FLAG_OPEN_READ_ONLY;
        let (one, other) = (
            caller.open_path(connection, &path, flags),
            caller.open_path(connection, &path, flags),
        );
        // Two handles of one disk may be used at once.
        caller.while_it_waits(|| caller.ask_for_nothing(one), || {
            assert!(caller.read(other, 0, 1).is_ok());
        });
        caller.close(one);
        caller.close(other);
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { ExitOverlap exit_overlap
    broken |caller| {
        caller.init();
        let repair = TABLE.rename.expect("there");
        let (from, to) = (caller.path("missing.vmdk"), caller.path("other.vmdk"));
        caller.while_it_waits(
            || {
                // SAFETY: two strings.
                let answer = unsafe { repair(from.as_ptr(), to.as_ptr()) };
                assert!(!answer.is_ok());
            },
            || caller.exit(),
        );
    }
    kept |caller| {
        caller.with_disk(|disk| caller.elsewhere(|| {
            assert!(caller.read(disk, 0, 1).is_ok());
        }));
    }
}

rule! { CallInCallback call_in_callback
    broken |caller| {
        caller.with_disk(|disk| {
            let mut buffer = [0; 512];
            let mut closure: Closure = Box::new(move || {
                // SAFETY: handles are looked up.
                unsafe { (TABLE.get_transport_mode)(disk.raw()) };
            });
            // SAFETY: both outlive the wait.
            unsafe { caller.submit(disk, buffer.as_mut_ptr(), &mut closure) };
            caller.wait(disk);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            let mut buffer = [0; 512];
            let (send, receive) = mpsc::channel();
            let mut closure: Closure = Box::new(move || send.send(()).expect("received"));
            // SAFETY: both outlive the wait.
            unsafe { caller.submit(disk, buffer.as_mut_ptr(), &mut closure) };
            receive.recv().expect("called back");
            caller.wait(disk);
            assert!(caller.transport_mode(disk));
        });
    }
}

#[test]
fn a_progress_function_is_a_callback_too() {
    let caller = Caller::checking(Rule::CallInCallback, &[]);
    caller.init();
    let connection = caller.connect();
    let mut closure: Closure = Box::new(|| {
        let list = TABLE.list_transport_modes.expect("there");
        // SAFETY: needs nothing.
        unsafe { list() };
    });
    let call = std::sync::Arc::new(crate::call::Call {
        number: 1,
        function: "_Create",
        arguments: String::new(),
        thread: crate::call::Thread::current(),
    });
    let data = ptr::from_mut(&mut closure).cast();
    let mut progress = crate::callback::Progress::new(Some(on_progress), data, &call);
    let (function, data) = crate::callback::Progress::pass_on(&mut progress);
    // SAFETY: as the engine does in a long call.
    let answer = unsafe { function.expect("there")(data, 50) };
    assert_eq!(answer, 1);
    caller.disconnect(connection);
    caller.exit();
    assert_eq!(caller.seen(), ["call-in-callback"]);
}
