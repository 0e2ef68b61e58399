//! A table whose functions tell somebody of every call, generated from the same list as the table.

use super::FnTable;
use crate::VixError;

/// Who is told of the calls through [`FnTable::observed`]. It is a type without a value, as C functions have no room
/// for one.
///
/// Nothing here may panic: the functions are called from C.
pub trait Observer<T = FnTable>: 'static {
    /// The table that does the work. The same one each time, once `observed` was called.
    fn table() -> &'static T;

    /// Makes `call`, the function at `index` of [`FnTable::SYMBOLS`], and returns what it gave. `sectors` is how many a
    /// read or write is about, 0 for every other function. Runs on whatever thread calls.
    fn observe<R: Outcome>(index: usize, sectors: u64, call: impl FnOnce() -> R) -> R;
}

/// What a C function gave.
pub trait Outcome {
    /// Whether that is a failure: a code other than [`VixError::OK`] and [`VixError::ASYNC`], or null.
    fn has_failed(&self) -> bool;
}

impl Outcome for () {
    fn has_failed(&self) -> bool {
        false
    }
}

impl Outcome for VixError {
    fn has_failed(&self) -> bool {
        !self.is_ok() && self.without_detail() != Self::ASYNC
    }
}

impl<T> Outcome for *mut T {
    fn has_failed(&self) -> bool {
        self.is_null()
    }
}

impl<T> Outcome for *const T {
    fn has_failed(&self) -> bool {
        self.is_null()
    }
}

/// The parameter of a read or write that says how many sectors it moves; zero for the parameters of all others.
#[doc(hidden)]
#[macro_export]
macro_rules! sectors_moved {
    (handle start $count:ident buffer $($rest:ident)*) => {
        $count
    };
    ($($other:ident)*) => {
        0
    };
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ffi::{CStr, c_void};
    use std::ptr;
    use std::sync::OnceLock;

    use super::*;
    use crate::{
        VixDiskLibBlockList, VixDiskLibCompletionCB, VixDiskLibExtProperty, VixDiskLibHandle,
    };

    thread_local! {
        static SEEN: RefCell<Vec<(&'static str, u64, bool)>> = const { RefCell::new(Vec::new()) };
    }

    unsafe extern "C" fn never() {}

    /// A table whose functions are not called, and without `VixDiskLib_Unlink`.
    fn uncalled() -> FnTable {
        let address = never as unsafe extern "C" fn() as *const c_void;
        let find = |name: &CStr| {
            if name == c"VixDiskLib_Unlink" {
                ptr::null()
            } else {
                address
            }
        };
        // SAFETY: the signatures are wrong, and nobody calls what is not replaced by a function of the right one.
        unsafe { FnTable::resolve(find) }.expect("all that is required is there")
    }

    macro_rules! refusing {
        ($name:ident($($type:ty),*)) => {
            unsafe extern "C" fn $name($(_: $type),*) -> VixError {
                VixError::NOT_SUPPORTED
            }
        };
    }
    refusing!(read(VixDiskLibHandle, u64, u64, *mut u8));
    refusing!(flush(VixDiskLibHandle));
    refusing!(
        write_async(VixDiskLibHandle, u64, u64, *const u8, VixDiskLibCompletionCB, *mut c_void)
    );
    refusing!(query(VixDiskLibHandle, u64, u64, u64, *mut *mut VixDiskLibBlockList));
    refusing!(property(VixDiskLibHandle, VixDiskLibExtProperty, *mut u64));

    struct Recorder;

    impl Observer for Recorder {
        fn table() -> &'static FnTable {
            static TABLE: OnceLock<FnTable> = OnceLock::new();
            TABLE.get_or_init(|| FnTable {
                read,
                flush,
                write_async: Some(write_async),
                query_allocated_blocks: Some(query),
                ext_get_property: Some(property),
                ..uncalled()
            })
        }

        fn observe<R: Outcome>(index: usize, sectors: u64, call: impl FnOnce() -> R) -> R {
            let result = call();
            let name = FnTable::SYMBOLS[index].name;
            SEEN.with_borrow_mut(|seen| seen.push((name, sectors, result.has_failed())));
            result
        }
    }

    #[test]
    fn calls_are_told_by_name_with_what_they_move() {
        let table = FnTable::observed::<Recorder>();
        assert!(table.unlink.is_none(), "what is missing stays missing");
        let handle = ptr::null_mut();
        // SAFETY: the function above uses none of its arguments.
        unsafe { (table.read)(handle, 5, 7, ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { (table.flush)(handle) };
        let write = table.write_async.expect("there");
        // SAFETY: as above.
        unsafe { write(handle, 5, 9, ptr::null(), None, ptr::null_mut()) };
        let query = table.query_allocated_blocks.expect("there");
        // SAFETY: as above.
        unsafe { query(handle, 0, 128, 128, ptr::null_mut()) };
        let property = table.ext_get_property.expect("there");
        // SAFETY: as above.
        let code = unsafe {
            property(
                handle,
                VixDiskLibExtProperty::VIXDISKLIBEXT_PROPERTY_PARALLEL_IO,
                ptr::null_mut(),
            )
        };
        assert_eq!(code, VixError::NOT_SUPPORTED);
        let seen = SEEN.take();
        assert_eq!(
            seen,
            [
                ("VixDiskLib_Read", 7, true),
                ("VixDiskLib_Flush", 0, true),
                ("VixDiskLib_WriteAsync", 9, true),
                ("VixDiskLib_QueryAllocatedBlocks", 0, true),
                ("VixDiskLibExt_GetProperty", 0, true),
            ]
        );
    }

    #[test]
    fn acceptance_is_no_failure() {
        assert!(!VixError(VixError::ASYNC.0 | 1 << 40).has_failed());
        assert!(!VixError::OK.has_failed());
        assert!(VixError::FAIL.has_failed());
        assert!(ptr::null::<u8>().has_failed());
    }
}
