//! Asynchronous requests.

use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use vixdisklib_open::TABLE;
use vixdisklib_sys::{VixDiskLibHandle, VixError};
use vsphere_sim::Profile;

use crate::common::{
    Callbacks, READ_ONLY, READ_WRITE, SECTOR, close, disconnect, pattern, read, sha256, wait,
};
use crate::site::{DB, Site, WEB, open};

/// Sectors of one request.
const COUNT: u64 = 128;

fn read_async(disk: VixDiskLibHandle, start: u64, buffer: &mut [u8], callbacks: &Callbacks) {
    let count = u64::try_from(buffer.len() / SECTOR).expect("fits");
    // SAFETY: the tests keep buffer and callbacks until the callback.
    let code = unsafe {
        TABLE.read_async.expect("there")(
            disk,
            start,
            count,
            buffer.as_mut_ptr(),
            Some(Callbacks::on_done),
            callbacks.data(),
        )
    };
    assert_eq!(code, VixError::ASYNC);
}

#[test]
fn requests_are_under_way_together() {
    const LATENCY: Duration = Duration::from_millis(30);
    let site = Site::with(Profile::Esxi8Vcenter, |builder| builder.latency(LATENCY));
    let content = site.local("web/web.vmdk");
    let connection = site.params("web").connect().expect("connected");
    let disk = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
    let callbacks = Callbacks::default();
    let mut data = vec![0; 64 * 128 * SECTOR];
    let begin = Instant::now();
    for (number, part) in (0_u64..).zip(data.chunks_exact_mut(128 * SECTOR)) {
        read_async(disk, number * COUNT, part, &callbacks);
    }
    assert_eq!(wait(disk), VixError::OK);
    let took = begin.elapsed();
    assert_eq!(callbacks.codes(), [VixError::OK; 64]);
    assert_eq!(sha256(&data), sha256(&content[..data.len()]));
    assert!(took < LATENCY * 32, "64 requests took {took:?}");
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn what_is_written_asynchronously_arrives() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let mut content = site.local("db/db.vmdk");
    let connection = site.params("db").connect().expect("connected");
    let disk = open(connection, DB.as_ptr(), READ_WRITE).expect("opened");
    let callbacks = Callbacks::default();
    let new = pattern(8192, 3);
    for (number, part) in (0_u64..).zip(new.chunks_exact(64 * SECTOR)) {
        // SAFETY: buffer and callbacks outlive the requests, which closing waits for.
        let code = unsafe {
            TABLE.write_async.expect("there")(
                disk,
                1000 + number * 64,
                64,
                part.as_ptr(),
                Some(Callbacks::on_done),
                callbacks.data(),
            )
        };
        assert_eq!(code, VixError::ASYNC);
    }
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(callbacks.codes(), vec![VixError::OK; 128]);
    assert_eq!(disconnect(connection), VixError::OK);
    content[1000 * SECTOR..][..new.len()].copy_from_slice(&new);
    assert_eq!(sha256(&site.local("db/db.vmdk")), sha256(&content));
}

/// The code that it was called with, and those of waiting, reading and closing.
type Found = (VixError, VixError, Result<Vec<u8>, VixError>, VixError);

/// What a callback found when it used the disk.
struct Inside {
    disk: Mutex<VixDiskLibHandle>,
    next: Callbacks,
    buffer: Mutex<Vec<u8>>,
    found: Sender<Found>,
}

impl Inside {
    unsafe extern "C" fn on_done(data: *mut c_void, code: VixError) {
        // SAFETY: the test keeps it until the end.
        let inside = unsafe { &*data.cast_const().cast::<Self>() };
        let disk = *inside.disk.lock().expect("no panic under it");
        let mut buffer = inside.buffer.lock().expect("no panic under it");
        read_async(disk, 0, &mut buffer, &inside.next);
        let read = read(disk, 1, 1);
        let (waited, closed) = (wait(disk), close(disk));
        inside
            .found
            .send((code, waited, read, closed))
            .expect("somebody listens");
    }
}

#[test]
fn a_callback_may_use_the_disk_but_not_wait_for_it() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let content = site.local("web/web.vmdk");
    let connection = site.params("web").connect().expect("connected");
    let disk = open(connection, WEB.as_ptr(), READ_ONLY).expect("opened");
    let (found, results): (_, Receiver<_>) = channel();
    let inside = Inside {
        disk: Mutex::new(disk),
        next: Callbacks::default(),
        buffer: Mutex::new(vec![0; SECTOR]),
        found,
    };
    let mut buffer = vec![0; SECTOR];
    // SAFETY: buffer and data outlive the request, which is waited for.
    let code = unsafe {
        TABLE.read_async.expect("there")(
            disk,
            0,
            1,
            buffer.as_mut_ptr(),
            Some(Inside::on_done),
            (&raw const inside).cast_mut().cast(),
        )
    };
    assert_eq!(code, VixError::ASYNC);
    let (code, waited, read, closed) = results
        .recv_timeout(Duration::from_secs(30))
        .expect("called back");
    assert_eq!(
        (code, waited, closed),
        (
            VixError::OK,
            VixError::OBJECT_IS_BUSY,
            VixError::OBJECT_IS_BUSY
        )
    );
    assert_eq!(read.as_deref(), Ok(&content[SECTOR..2 * SECTOR]));
    assert_eq!(wait(disk), VixError::OK);
    assert_eq!(inside.next.codes(), [VixError::OK]);
    assert_eq!(
        *inside.buffer.lock().expect("no panic under it"),
        content[..SECTOR]
    );
    assert_eq!(close(disk), VixError::OK);
    assert_eq!(disconnect(connection), VixError::OK);
}

#[test]
fn a_lost_connection_ends_every_request() {
    let site = Site::new(Profile::Esxi8Vcenter);
    let connection = site.params("db").connect().expect("connected");
    let disk = open(connection, DB.as_ptr(), READ_WRITE).expect("opened");
    assert_eq!(crate::common::write(disk, 0, &[1; SECTOR]), Ok(()));
    site.simulator.disconnect_all();
    let callbacks = Callbacks::default();
    let mut buffers = vec![vec![0; SECTOR]; 8];
    for buffer in &mut buffers {
        read_async(disk, 0, buffer, &callbacks);
    }
    assert_eq!(wait(disk), VixError::OK);
    assert_eq!(callbacks.codes(), [VixError::HOST_TCP_CONN_LOST; 8]);
    assert_eq!(
        close(disk),
        VixError::HOST_TCP_CONN_LOST,
        "writes may be lost"
    );
    assert_eq!(disconnect(connection), VixError::OK);
}
