//! Results, and giving them back.

use std::ffi::c_char;
use std::ptr;

use vixdisklib_sys::{VixDiskLibBlockList, VixDiskLibConnectParams, VixDiskLibInfo, VixError};

use super::caller::{Caller, Disk};
use super::rule;
use crate::rule::Rule;
use crate::table::TABLE;

fn info(disk: Disk) -> *mut VixDiskLibInfo {
    let mut info = ptr::null_mut();
    // SAFETY: an output of ours.
    assert!(unsafe { (TABLE.get_info)(disk.raw(), &raw mut info) }.is_ok());
    info
}

fn free_info(info: *mut VixDiskLibInfo) {
    // SAFETY: our engine leaves alone what is not on loan.
    unsafe { (TABLE.free_info)(info) };
}

fn blocks(disk: Disk) -> *mut VixDiskLibBlockList {
    let query = TABLE.query_allocated_blocks.expect("there");
    let mut blocks = ptr::null_mut();
    // SAFETY: an output of ours.
    assert!(unsafe { query(disk.raw(), 0, 128, 128, &raw mut blocks) }.is_ok());
    blocks
}

fn free_blocks(blocks: *mut VixDiskLibBlockList) {
    let free = TABLE.free_block_list.expect("there");
    // SAFETY: as in `free_info`.
    unsafe { free(blocks) };
}

fn error_text(locale: *const c_char) -> *mut c_char {
    // SAFETY: null, or a string.
    unsafe { (TABLE.get_error_text)(VixError::FAIL, locale) }
}

fn free_text(text: *mut c_char) {
    // SAFETY: as in `free_info`.
    unsafe { (TABLE.free_error_text)(text) };
}

fn params() -> *mut VixDiskLibConnectParams {
    let allocate = TABLE.allocate_connect_params.expect("there");
    // SAFETY: needs nothing.
    unsafe { allocate() }
}

fn free_params(params: *mut VixDiskLibConnectParams) {
    // SAFETY: as in `free_info`.
    unsafe { (TABLE.free_connect_params)(params) };
}

rule! { LeakedInfo leaked_info
    broken |caller| {
        caller.with_disk(|disk| {
            info(disk);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| free_info(info(disk)));
    }
}

rule! { LeakedBlocks leaked_blocks
    broken |caller| {
        caller.with_disk(|disk| {
            blocks(disk);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| free_blocks(blocks(disk)));
    }
}

rule! { LeakedErrorText leaked_error_text
    broken |caller| {
        caller.init();
        error_text(ptr::null());
        caller.exit();
    }
    kept |caller| {
        caller.init();
        free_text(error_text(ptr::null()));
        caller.exit();
    }
}

rule! { LeakedParams leaked_params
    broken |caller| {
        caller.init();
        let connection = caller.connect();
        let get = TABLE.get_connect_params.expect("there");
        let mut copy = ptr::null_mut();
        // SAFETY: an output of ours.
        assert!(unsafe { get(connection.raw(), &raw mut copy) }.is_ok());
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let connection = caller.connect();
        let get = TABLE.get_connect_params.expect("there");
        let mut copy = ptr::null_mut();
        // SAFETY: an output of ours.
        assert!(unsafe { get(connection.raw(), &raw mut copy) }.is_ok());
        free_params(copy);
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { DoubleFree double_free
    broken |caller| {
        caller.with_disk(|disk| {
            let info = info(disk);
            free_info(info);
            free_info(info);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            // An address may be given out again.
            for _ in 0..3 {
                free_info(info(disk));
            }
        });
    }
}

rule! { WrongFree wrong_free
    broken |caller| {
        caller.with_disk(|disk| {
            let info = info(disk);
            free_blocks(info.cast());
            free_info(info);
        });
    }
    kept |caller| {
        caller.with_disk(|disk| {
            let (info, blocks) = (info(disk), blocks(disk));
            free_blocks(blocks);
            free_info(info);
        });
    }
}

rule! { ForeignFree foreign_free
    broken |caller| {
        caller.init();
        let mut own = *b"own text\0";
        free_text(own.as_mut_ptr().cast());
        caller.exit();
    }
    kept |caller| {
        caller.init();
        free_text(error_text(ptr::null()));
        free_text(ptr::null_mut());
        caller.exit();
    }
}

rule! { FreeCallerParams free_caller_params
    broken |caller| {
        caller.init();
        let mut own = VixDiskLibConnectParams::default();
        let connection = caller.connect_with(&raw const own);
        caller.disconnect(connection);
        free_params(&raw mut own);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let own = VixDiskLibConnectParams::default();
        let connection = caller.connect_with(&raw const own);
        caller.disconnect(connection);
        caller.exit();
    }
}

rule! { ParamsFreedEarly params_freed_early
    broken |caller| {
        caller.init();
        let params = params();
        let connection = caller.connect_with(params);
        free_params(params);
        caller.disconnect(connection);
        caller.exit();
    }
    kept |caller| {
        caller.init();
        let params = params();
        let connection = caller.connect_with(params);
        caller.disconnect(connection);
        free_params(params);
        caller.exit();
    }
}

rule! { ErrorTextLocale error_text_locale
    broken |caller| {
        free_text(error_text(c"de".as_ptr()));
    }
    kept |caller| {
        free_text(error_text(ptr::null()));
    }
}
