//! `va_list`, which Rust has no stable type for: taken apart by the C library, put together by hand.

use std::ffi::{CStr, c_char, c_int, c_void};

/// A C `va_list` as a function receives it: one word on both ABIs that we support.
///
/// On System V x86-64 it points to the record of 24 bytes which the ABI describes, on Windows x64 to the first
/// argument on the stack. Hand it to a `v`-function of the C library at most once; it lives no longer than the call
/// that brought it.
///
/// Sources: System V ABI, AMD64 supplement, section 3.5.7; Microsoft's x64 calling convention.
#[derive(Debug)]
#[repr(transparent)]
pub struct VaList(*mut c_void);

/// Takes one log line in the form of `vprintf`. Any thread may call it. It must not unwind, block for long, or call
/// the library. Source: Virtual Disk Programming Guide.
pub type VixDiskLibGenericLogFunc =
    Option<unsafe extern "C" fn(format: *const c_char, arguments: VaList)>;

/// As [`VixDiskLibGenericLogFunc`], with a routing number. The header declares it, no public function takes it.
pub type VixDiskLibGenericLogVFunc =
    Option<unsafe extern "C" fn(routing: c_int, format: *const c_char, arguments: VaList)>;

// The MSVC runtime has `vsnprintf` only as an inline function; this import library holds a copy to link against.
#[cfg_attr(
    all(windows, target_env = "msvc"),
    link(name = "legacy_stdio_definitions")
)]
unsafe extern "C" {
    fn vsnprintf(
        buffer: *mut c_char,
        size: usize,
        format: *const c_char,
        arguments: VaList,
    ) -> c_int;
}

/// Formats a log line into `buffer`, through `vsnprintf`.
///
/// Returns the length in bytes of the whole text, without its final zero byte. Where that is `buffer.len()` or more,
/// the text was cut off, maybe inside a UTF-8 character, and `buffer.len() - 1` bytes of it are there. A zero byte
/// follows the text unless `buffer` is empty. Returns 0, with an empty text, if the C library cannot format it.
///
/// # Safety
/// `format` points to a string with a final zero byte, and `arguments` is the unused list which came with it.
pub unsafe fn format(format: *const c_char, arguments: VaList, buffer: &mut [u8]) -> usize {
    let space = buffer.as_mut_ptr().cast::<c_char>();
    // SAFETY: `space` is writable for the given length; the caller vouches for the other two.
    let length = unsafe { vsnprintf(space, buffer.len(), format, arguments) };
    usize::try_from(length).unwrap_or_else(|_| {
        if let Some(first) = buffer.first_mut() {
            *first = 0;
        }
        0
    })
}

/// The record behind a `va_list` of System V x86-64.
#[cfg(not(windows))]
#[repr(C)]
struct Record {
    gp_offset: u32,
    fp_offset: u32,
    overflow_arg_area: *mut c_void,
    reg_save_area: *mut c_void,
}

/// Calls a C log function with `text` as its one line: format `"%s"` and a list of one argument.
///
/// # Safety
/// `function` is a C function which takes its list as `vprintf` does and is sound to call from this thread.
pub unsafe fn call_with_text(
    function: unsafe extern "C" fn(format: *const c_char, arguments: VaList),
    text: &CStr,
) {
    let mut stack: [*const c_char; 1] = [text.as_ptr()];
    let stack = stack.as_mut_ptr().cast::<c_void>();

    #[cfg(windows)]
    let list = VaList(stack);

    // With both offsets at their ends no argument is left in registers, and all come from the stack area.
    #[cfg(not(windows))]
    let mut record = Record {
        gp_offset: 6 * 8,
        fp_offset: 6 * 8 + 8 * 16,
        overflow_arg_area: stack,
        reg_save_area: std::ptr::null_mut(),
    };
    #[cfg(not(windows))]
    let list = VaList((&raw mut record).cast());

    // SAFETY: the list holds the one string that the format asks for, and both outlive the call; the caller vouches
    // for the function.
    unsafe { function(c"%s".as_ptr(), list) }
}
