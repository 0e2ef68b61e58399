//! Access to a virtual machine, and clearing up.

use std::ffi::{CStr, c_char};

use vixdisklib_sys::{VixDiskLibConnectParams, VixError};

use super::caller::Caller;
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

type Access = unsafe extern "C" fn(*const VixDiskLibConnectParams, *const c_char) -> VixError;

fn prepare() -> Access {
    TABLE.prepare_for_access.expect("there")
}

fn end() -> Access {
    TABLE.end_access.expect("there")
}

fn call(access: Access, machine: &CStr, identity: &CStr) {
    let params = VixDiskLibConnectParams {
        vmxSpec: machine.as_ptr().cast_mut(),
        ..VixDiskLibConnectParams::default()
    };
    // SAFETY: whole parameters and strings of ours. Our engine may refuse; the rules hold all the same.
    unsafe { access(&raw const params, identity.as_ptr()) };
}

fn clean_up(machine: Option<&CStr>) {
    let params = VixDiskLibConnectParams {
        vmxSpec: machine.map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut()),
        ..VixDiskLibConnectParams::default()
    };
    let cleanup = TABLE.cleanup.expect("there");
    // SAFETY: whole parameters; the numbers may be null.
    unsafe {
        cleanup(
            &raw const params,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
}

rule! { AccessNotEnded access_not_ended
    broken |caller| {
        caller.init();
        call(prepare(), c"moref=vm-16", c"backup");
        call(prepare(), c"moref=vm-17", c"backup");
        call(end(), c"moref=vm-17", c"backup");
        caller.exit();
    }
    kept |caller| {
        caller.init();
        call(prepare(), c"moref=vm-16", c"backup");
        call(end(), c"moref=vm-16", c"backup");
        // After a process that died, it comes alone.
        call(end(), c"moref=vm-18", c"backup");
        caller.exit();
    }
}

rule! { EndAccessOpenDisks end_access_open_disks
    broken |caller| {
        caller.with_disk(|_| {
            let local = VixDiskLibConnectParams::default();
            // SAFETY: whole parameters and a string of ours.
            unsafe { end()(&raw const local, c"backup".as_ptr()) };
        });
    }
    kept |caller| {
        caller.with_disk(|_| call(end(), c"moref=vm-16", c"backup"));
    }
}

rule! { IdentityTooLong identity_too_long
    broken |caller| {
        caller.init();
        call(end(), c"moref=vm-16", c"012345678901234567890123456789012345678901234567890");
        caller.exit();
    }
    kept |caller| {
        caller.init();
        call(end(), c"moref=vm-16", c"01234567890123456789012345678901234567890123456789");
        caller.exit();
    }
}

rule! { AccessThread access_thread
    broken |caller| {
        caller.init();
        caller.elsewhere(|| call(end(), c"moref=vm-16", c"backup"));
        caller.exit();
    }
    kept |caller| {
        caller.init();
        call(end(), c"moref=vm-16", c"backup");
        caller.exit();
    }
}

rule! { CleanupVmxSpec cleanup_vmx_spec
    broken |caller| {
        caller.init();
        clean_up(Some(c"moref=vm-16"));
        caller.exit();
    }
    kept |caller| {
        caller.init();
        clean_up(None);
        caller.exit();
    }
}
