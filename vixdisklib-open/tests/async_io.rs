//! ReadAsync, WriteAsync and Wait.

mod common;

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use common::*;
use tempfile::TempDir;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibCompletionCB, VixDiskLibHandle, VixError};

fn read_async(
    disk: VixDiskLibHandle,
    start: u64,
    buffer: &mut [u8],
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let count = u64::try_from(buffer.len() / SECTOR).expect("fits");
    // SAFETY: the tests keep buffer and data until the callback, or get no callback.
    unsafe {
        TABLE.read_async.expect("there")(disk, start, count, buffer.as_mut_ptr(), callback, data)
    }
}

fn write_async(
    disk: VixDiskLibHandle,
    start: u64,
    buffer: &[u8],
    callback: VixDiskLibCompletionCB,
    data: *mut c_void,
) -> VixError {
    let count = u64::try_from(buffer.len() / SECTOR).expect("fits");
    // SAFETY: the tests keep buffer and data until the callback, or get no callback.
    unsafe {
        TABLE.write_async.expect("there")(disk, start, count, buffer.as_ptr(), callback, data)
    }
}

fn sample(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("writable");
    let path = flat_disk(folder.path(), name, content);
    (folder, path)
}

#[test]
fn each_accepted_request_calls_back_once() {
    let _session = Session::start();
    let content = pattern(4096, 1);
    let (_folder, path) = sample("many", &content);
    let connection = connect();
    let disk = open(connection, &path, READ_WRITE).expect("opened");

    let callbacks = Callbacks::default();
    let mut data = vec![0; content.len()];
    // More than the queue holds, from a buffer that is not aligned.
    for (number, part) in data.chunks_exact_mut(4 * SECTOR).enumerate() {
        let start = u64::try_from(number).expect("fits") * 4;
        let code = read_async(
            disk,
            start,
            part,
            Some(Callbacks::on_done),
            callbacks.data(),
        );
        assert_eq!(code, VixError::ASYNC);
    }
    assert_eq!(wait(disk), VixError::OK);
    assert_eq!(callbacks.codes(), vec![VixError::OK; 1024]);
    assert_eq!(sha256(&data), sha256(&content));

    let callbacks = Callbacks::default();
    let new = pattern(4096, 99);
    for (number, part) in new.chunks_exact(8 * SECTOR).enumerate() {
        let start = u64::try_from(number).expect("fits") * 8;
        let code = write_async(
            disk,
            start,
            part,
            Some(Callbacks::on_done),
            callbacks.data(),
        );
        assert_eq!(code, VixError::ASYNC);
    }
    // Flush alone makes them durable.
    assert_eq!(flush(disk), VixError::OK);
    assert_eq!(callbacks.codes(), vec![VixError::OK; 512]);
    assert_eq!(
        read(disk, 0, 4096).map(|data| sha256(&data)),
        Ok(sha256(&new))
    );
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_refused_request_never_calls_back() {
    let _session = Session::start();
    let (_folder, path) = sample("refused", &pattern(16, 2));
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    let callbacks = Callbacks::default();
    let (done, data) = (
        Some(Callbacks::on_done as unsafe extern "C" fn(_, _)),
        callbacks.data(),
    );
    let mut buffer = vec![0; 2 * SECTOR];

    assert_eq!(
        read_async(disk, 15, &mut buffer, done, data),
        VixError::DISK_OUTOFRANGE
    );
    assert_eq!(
        read_async(disk, 0, &mut [], done, data),
        VixError::INVALID_ARG
    );
    assert_eq!(
        read_async(disk, 0, &mut buffer, None, data),
        VixError::INVALID_ARG
    );
    assert_eq!(
        write_async(disk, 0, &buffer, done, data),
        VixError::FILE_READ_ONLY
    );
    assert_eq!(
        read_async(invented(3), 0, &mut buffer, done, data),
        VixError::INVALID_HANDLE
    );
    // SAFETY: null is answered with a code.
    let code = unsafe { TABLE.read_async.expect("there")(disk, 0, 1, ptr::null_mut(), done, data) };
    assert_eq!(code, VixError::INVALID_ARG);
    assert_eq!(wait(disk), VixError::OK);
    assert_eq!(callbacks.codes(), []);
    assert_eq!(wait(invented(3)), VixError::INVALID_HANDLE);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn closing_waits_for_requests_in_flight() {
    let _session = Session::start();
    let content = pattern(2048, 3);
    let (_folder, path) = sample("closing", &content);
    let connection = connect();
    for end in [close, |_| VixError::OK] {
        let disk = open(connection, &path, READ_ONLY).expect("opened");
        let callbacks = Callbacks::default();
        let mut data = vec![0; content.len()];
        for (number, part) in data.chunks_exact_mut(16 * SECTOR).enumerate() {
            let start = u64::try_from(number).expect("fits") * 16;
            let code = read_async(
                disk,
                start,
                part,
                Some(Callbacks::on_done),
                callbacks.data(),
            );
            assert_eq!(code, VixError::ASYNC);
        }
        if end(disk) == VixError::OK && read(disk, 0, 1).is_ok() {
            assert_eq!(disconnect(connection), VixError::OK);
        }
        assert_eq!(callbacks.codes(), vec![VixError::OK; 128]);
        assert_eq!(sha256(&data), sha256(&content));
    }
}

/// What a callback found when it called the library.
struct Inside {
    disk: usize,
    connection: usize,
    buffer: Mutex<Vec<u8>>,
    codes: Sender<Vec<VixError>>,
}

impl Inside {
    fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    unsafe extern "C" fn first(data: *mut c_void, code: VixError) {
        // SAFETY: the test keeps it until the second callback.
        let inside = unsafe { &*data.cast_const().cast::<Self>() };
        let disk = invented(inside.disk);
        let mut codes = vec![code, wait(disk), flush(disk), close(disk)];
        codes.push(disconnect(invented(inside.connection)));
        for function in [TABLE.shrink, TABLE.defragment] {
            // SAFETY: handles are looked up; a null function hears nothing.
            codes.push(unsafe { function.expect("there")(disk, None, ptr::null_mut()) });
        }
        // SAFETY: handles are looked up.
        codes.push(unsafe { TABLE.attach.expect("there")(disk, disk) });
        exit();
        let mut buffer = inside.buffer.lock().expect("no panic under it");
        codes.push(read_async(disk, 1, &mut buffer, Some(Self::second), data));
        drop(buffer);
        inside.codes.send(codes).expect("receiver lives");
    }

    unsafe extern "C" fn second(data: *mut c_void, code: VixError) {
        // SAFETY: the test keeps it until this callback.
        let inside = unsafe { &*data.cast_const().cast::<Self>() };
        inside.codes.send(vec![code]).expect("receiver lives");
    }
}

#[test]
fn a_callback_may_submit_but_not_wait() {
    let _session = Session::start();
    let content = pattern(4, 4);
    let (_folder, path) = sample("inside", &content);
    let connection = connect();
    let disk = open(connection, &path, READ_ONLY).expect("opened");
    let (send, receive) = channel();
    let inside = Inside {
        disk: disk.addr(),
        connection: connection.addr(),
        buffer: Mutex::new(vec![0; SECTOR]),
        codes: send,
    };
    let mut buffer = vec![0; SECTOR];
    let code = read_async(disk, 0, &mut buffer, Some(Inside::first), inside.data());
    assert_eq!(code, VixError::ASYNC);
    let busy = VixError::OBJECT_IS_BUSY;
    let mut answers = [
        receive.recv().expect("first"),
        receive.recv().expect("second"),
    ];
    answers.sort_by_key(Vec::len);
    let mut expected = vec![VixError::OK];
    expected.extend([busy; 7]);
    expected.push(VixError::ASYNC);
    assert_eq!(answers[1], expected);
    assert_eq!(answers[0], [VixError::OK]);
    assert_eq!(wait(disk), VixError::OK);
    assert_eq!(
        *inside.buffer.lock().expect("no panic under it"),
        content[SECTOR..2 * SECTOR]
    );
    assert_eq!(
        read(disk, 0, 1).as_deref(),
        Ok(&content[..SECTOR]),
        "all still open"
    );
    assert_eq!(disconnect(connection), VixError::OK);
}
