//! `VaList` against the C compiler and the C library, in both directions.

#![cfg(unix)]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::process::Command;

use tempfile::TempDir;
use vixdisklib_sys::VixDiskLibGenericLogFunc;
use vixdisklib_sys::va_list::{self, VaList};

/// `emit` calls a log function as C code does; `collect` is a log function that reads its list twice.
const SHIM: &str = r#"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "vixDiskLib.h"

static void emit_list(VixDiskLibGenericLogFunc *log, const char *fmt, ...)
{
   va_list args;
   va_start(args, fmt);
   log(fmt, args);
   va_end(args);
}

void emit(VixDiskLibGenericLogFunc *log, int which)
{
   if (which == 0) {
      emit_list(log, "plain");
   } else if (which == 1) {
      emit_list(log, "%s/%d/%lu/%c/%x/%s/%d/%s", "one", -2, 3UL, 'c', 255, "six", 7, "eight");
   } else if (which == 2) {
      emit_list(log, "%.1f %d %.1f %s %.1f %.1f %.1f %.1f %.1f %.1f %.1f %d", 1.5, 2, 3.5, "four", 5.5, 6.5, 7.5,
                8.5, 9.5, 10.5, 11.5, 12);
   } else {
      emit_list(log, "%*d|%-5s|%%", 4, 7, "ab");
   }
}

static char collected[512];

void collect(const char *fmt, va_list args)
{
   va_list copy;
   int length;
   va_copy(copy, args);
   length = vsnprintf(NULL, 0, fmt, copy);
   va_end(copy);
   snprintf(collected, sizeof collected, "%d:", length);
   vsnprintf(collected + strlen(collected), sizeof collected - strlen(collected), fmt, args);
}

const char *collected_text(void)
{
   return collected;
}
"#;

struct Shim {
    library: libloading::Library,
    _folder: TempDir,
}

impl Shim {
    fn compile() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let source = folder.path().join("shim.c");
        let output = folder.path().join("shim.so");
        std::fs::write(&source, SHIM).expect("source");
        let status = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
            .arg(concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include"))
            .arg("-o")
            .arg(&output)
            .arg(&source)
            .status();
        assert!(status.expect("a C compiler").success());
        // SAFETY: the shim has no initialisers.
        let library = unsafe { libloading::Library::new(&output) }.expect("loads");
        Self {
            library,
            _folder: folder,
        }
    }
}

thread_local! {
    static LINE: RefCell<(String, usize)> = const { RefCell::new((String::new(), 0)) };
    static SPACE: RefCell<usize> = const { RefCell::new(256) };
}

unsafe extern "C" fn record(format: *const c_char, arguments: VaList) {
    let mut buffer = vec![0xFF; SPACE.with(|space| *space.borrow())];
    // SAFETY: called by the shim with a format and its unused list.
    let length = unsafe { va_list::format(format, arguments, &mut buffer) };
    let text = buffer.split(|byte| *byte == 0).next().expect("one part");
    let text = String::from_utf8(text.to_vec()).expect("ASCII");
    LINE.with(|line| *line.borrow_mut() = (text, length));
}

fn emitted(shim: &Shim, which: c_int, space: usize) -> (String, usize) {
    SPACE.with(|cell| *cell.borrow_mut() = space);
    // SAFETY: the signature of the shim.
    let emit = unsafe {
        shim.library
            .get::<unsafe extern "C" fn(VixDiskLibGenericLogFunc, c_int)>(c"emit")
    }
    .expect("in the shim");
    // SAFETY: `record` is a log function.
    unsafe { emit(Some(record), which) };
    LINE.with(|line| line.borrow().clone())
}

#[test]
fn lists_of_c_code_are_formatted() {
    let shim = Shim::compile();
    let expect = [
        "plain",
        "one/-2/3/c/ff/six/7/eight",
        "1.5 2 3.5 four 5.5 6.5 7.5 8.5 9.5 10.5 11.5 12",
        "   7|ab   |%",
    ];
    for (which, text) in (0..).zip(expect) {
        assert_eq!(emitted(&shim, which, 256), (text.to_owned(), text.len()));
    }
}

#[test]
fn a_short_buffer_cuts_the_text_and_tells_its_length() {
    let shim = Shim::compile();
    assert_eq!(emitted(&shim, 0, 6), ("plain".into(), 5));
    assert_eq!(emitted(&shim, 0, 5), ("plai".into(), 5));
    assert_eq!(emitted(&shim, 0, 1), (String::new(), 5));
    assert_eq!(emitted(&shim, 0, 0), (String::new(), 5));
}

#[test]
fn c_code_reads_a_list_of_one_string() {
    let shim = Shim::compile();
    // SAFETY: the signature of the shim.
    let collect = unsafe {
        shim.library
            .get::<unsafe extern "C" fn(*const c_char, VaList)>(c"collect")
    }
    .expect("in the shim");
    // SAFETY: the signature of the shim.
    let collected = unsafe {
        shim.library
            .get::<unsafe extern "C" fn() -> *const c_char>(c"collected_text")
    }
    .expect("in the shim");
    for text in ["", "one line", "100% %s %n of \u{e9}"] {
        let line = CString::new(text).expect("no zero byte");
        // SAFETY: `collect` is a log function of this thread.
        unsafe { va_list::call_with_text(*collect, &line) };
        // SAFETY: returns a static buffer.
        let result = unsafe { collected() };
        // SAFETY: the buffer ends in a zero byte.
        let result = unsafe { std::ffi::CStr::from_ptr(result) };
        let result = result.to_str().expect("UTF-8");
        assert_eq!(result, format!("{}:{text}", text.len()));
    }
}

#[test]
fn a_list_made_here_is_formatted_here() {
    let line = CString::new("no shim between").expect("no zero byte");
    SPACE.with(|cell| *cell.borrow_mut() = 256);
    // SAFETY: `record` is a log function.
    unsafe { va_list::call_with_text(record, &line) };
    LINE.with(|line| assert_eq!(line.borrow().0, "no shim between"));
}
