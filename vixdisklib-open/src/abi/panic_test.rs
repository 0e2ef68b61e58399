//! No panic gets out of any C function, nor out of a request on a thread of the library.

use std::ptr::{null, null_mut};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use vixdisklib_sys::{FnTable, VixDiskLibDiskType, VixDiskLibExtProperty, VixError};

use super::boundary::{complete, injected};
use crate::TABLE;
use crate::log::Log;
use crate::requests::Requests;
use crate::workers::Workers;

/// What a function returned.
trait Answer {
    fn tells_of_failure(self) -> bool;
}

impl Answer for VixError {
    fn tells_of_failure(self) -> bool {
        self == VixError::FAIL
    }
}

impl<T> Answer for *const T {
    fn tells_of_failure(self) -> bool {
        self.is_null()
    }
}

impl<T> Answer for *mut T {
    fn tells_of_failure(self) -> bool {
        self.is_null()
    }
}

impl Answer for () {
    fn tells_of_failure(self) -> bool {
        true
    }
}

/// Calls each function with a panic waiting for it, after which the arguments do not matter.
macro_rules! panic_in_each {
    (
        required { $($required:ident($($required_argument:expr),*);)* }
        optional { $($optional:ident($($optional_argument:expr),*);)* }
    ) => {
        // Without `..`: a function that the table gains must get its line here.
        let FnTable { $($required,)* $($optional,)* } = TABLE;
        $(let $optional = $optional.expect("our table lacks nothing");)*
        $(panic_in_each!($required($($required_argument),*));)*
        $(panic_in_each!($optional($($optional_argument),*));)*
    };
    ($function:ident($($argument:expr),*)) => {
        injected::arm();
        // SAFETY: null and zero are allowed everywhere, and the panic comes before anything is looked at.
        let answer = unsafe { $function($($argument),*) };
        assert!(!injected::is_armed(), "{} has no boundary", stringify!($function));
        assert!(answer.tells_of_failure(), "{} hid the panic", stringify!($function));
    };
}

#[test]
fn every_function_turns_a_panic_into_a_failure() {
    panic_in_each! {
        required {
            init_ex(8, 0, None, None, None, null(), null());
            exit();
            get_error_text(VixError::FAIL, null());
            free_error_text(null_mut());
            free_connect_params(null_mut());
            connect_ex(null(), 0, null(), null(), null_mut());
            disconnect(null_mut());
            open(null_mut(), null(), 0, null_mut());
            close(null_mut());
            get_info(null_mut(), null_mut());
            free_info(null_mut());
            get_transport_mode(null_mut());
            read(null_mut(), 0, 0, null_mut());
            write(null_mut(), 0, 0, null());
            create(null_mut(), null(), null(), None, null_mut());
            flush(null_mut());
            wait(null_mut());
        }
        optional {
            init(8, 0, None, None, None, null());
            list_transport_modes();
            cleanup(null(), null_mut(), null_mut());
            allocate_connect_params();
            get_connect_params(null_mut(), null_mut());
            connect(null(), null_mut());
            prepare_for_access(null(), null());
            end_access(null(), null());
            read_async(null_mut(), 0, 0, null_mut(), None, null_mut());
            write_async(null_mut(), 0, 0, null(), None, null_mut());
            query_allocated_blocks(null_mut(), 0, 0, 0, null_mut());
            free_block_list(null_mut());
            read_metadata(null_mut(), null(), null_mut(), 0, null_mut());
            write_metadata(null_mut(), null(), null());
            get_metadata_keys(null_mut(), null_mut(), 0, null_mut());
            create_child(
                null_mut(), null(), VixDiskLibDiskType::VIXDISKLIB_DISK_UNKNOWN, None, null_mut()
            );
            unlink(null_mut(), null());
            grow(null_mut(), null(), 0, 0, None, null_mut());
            shrink(null_mut(), None, null_mut());
            defragment(null_mut(), None, null_mut());
            rename(null(), null());
            clone(null_mut(), null(), null_mut(), null(), null(), None, null_mut(), 0);
            space_needed_for_clone(
                null_mut(), VixDiskLibDiskType::VIXDISKLIB_DISK_UNKNOWN, null_mut()
            );
            check_repair(null_mut(), null(), 0);
            is_attach_possible(null_mut(), null_mut());
            attach(null_mut(), null_mut());
            ext_write_zeroes(null_mut(), 0, 0, 0);
            ext_trim(null_mut(), 0, 0);
            ext_query_extents(null_mut(), 0, 0, null_mut(), 0, null_mut());
            ext_get_file_range(null_mut(), 0, 0, null_mut());
            ext_get_property(
                null_mut(), VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO, null_mut()
            );
        }
    }
}

#[test]
fn a_panic_in_a_request_becomes_its_code_and_a_log_line() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Log {
        warn: Some(Arc::new({
            let lines = Arc::clone(&lines);
            move |line: &str| lines.lock().push(line.to_owned())
        })),
        ..Log::default()
    };
    let workers = Workers::default();
    let (send, receive) = mpsc::channel();
    workers
        .submit(Arc::new(Requests::default()).begin(), move || {
            injected::arm();
            let code = complete("VixDiskLib_ReadAsync", &log, || Ok(()));
            send.send(code).expect("receiver lives");
        })
        .expect("accepted");
    assert_eq!(receive.recv(), Ok(VixError::FAIL));
    workers.stop();
    assert_eq!(
        *lines.lock(),
        ["VixDiskLib_ReadAsync: internal error, please report: injected by a test"]
    );
}
