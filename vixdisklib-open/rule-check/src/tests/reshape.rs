//! Disks that are changed as a whole.

use std::ptr;
use std::sync::Arc;

use vixdisklib_sys::{Bool, VIXDISKLIB_FLAG_OPEN_READ_ONLY};

use super::caller::{Caller, Closure, on_progress};
use super::rule;
use crate::call::{Call, Thread};
use crate::callback::Progress;
use crate::rule::Rule;
use crate::state;
use crate::table::TABLE;

rule! { DiskIsOpen disk_is_open
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let path = caller.make("disk");
        let disk = caller.open_path(connection, &path, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
        let unlink = TABLE.unlink.expect("there");
        // SAFETY: a string.
        unsafe { unlink(connection.raw(), path.as_ptr()) };
        caller.close(disk);
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        let path = caller.make("disk");
        let disk = caller.open_path(connection, &path, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
        caller.close(disk);
        let unlink = TABLE.unlink.expect("there");
        // SAFETY: a string.
        unsafe { unlink(connection.raw(), path.as_ptr()) };
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { AttachedParent attached_parent
    broken |caller| {
        caller.with_disk(|parent| {
            let attach = TABLE.attach.expect("there");
            // SAFETY: handles are looked up. A disk is no child of itself, and the parent is spoilt all the same.
            assert!(!unsafe { attach(parent.raw(), parent.raw()) }.is_ok());
            caller.read(parent, 0, 1);
        });
    }
    kept |caller| {
        caller.with_disk(|parent| {
            let attach = TABLE.attach.expect("there");
            // SAFETY: as above.
            assert!(!unsafe { attach(parent.raw(), parent.raw()) }.is_ok());
            assert!(caller.transport_mode(parent));
        });
    }
}

/// As after a `CreateChild` that worked.
fn has_child(disk: super::caller::Disk) {
    let mut state = state::lock();
    let call = state.begin("_CreateChild", String::new());
    let disk = state.disks.get_mut(&disk.raw().addr());
    disk.expect("open").has_child = Some(call);
}

rule! { WriteToParent write_to_parent
    broken |caller| {
        caller.with_disk(|disk| {
            has_child(disk);
            caller.write(disk, 0);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            caller.write(disk, 0);
            has_child(disk);
            caller.read(disk, 0, 1);
        });
    }
}

unsafe extern "C" fn no(_: *mut std::ffi::c_void, _: std::ffi::c_int) -> Bool {
    0
}

/// As the engine does in a long call.
fn tell_progress(function: vixdisklib_sys::VixDiskLibProgressFunc, data: *mut std::ffi::c_void) {
    let call = Arc::new(Call {
        number: 1,
        function: "_Shrink",
        arguments: String::new(),
        thread: Thread::current(),
    });
    let mut progress = Progress::new(function, data, &call);
    let (function, data) = Progress::pass_on(&mut progress);
    // SAFETY: the data is what `pass_on` gave with the function.
    unsafe { function.expect("there")(data, 10) };
}

rule! { ProgressReturn progress_return
    broken |caller| {
        tell_progress(Some(no), ptr::null_mut());
    }
    kept |caller| {
        let mut closure: Closure = Box::new(|| {});
        tell_progress(Some(on_progress), ptr::from_mut(&mut closure).cast());
    }
}
