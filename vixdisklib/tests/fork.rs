//! What a forked child does with what it inherited: clear errors, and neither a call of the library nor a hang.
//!
//! One test function: the child has only the thread that forked.

#![cfg(all(unix, feature = "embedded", feature = "loader"))]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::fs;
use std::future::Future as _;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use support::{backends, flat_disk, pattern};
use vixdisklib::{
    AlignedBuf, Backend, ConnectOptions, ConnectParams, Connection, Disk, Error, ErrorKind,
    IoFuture, IoLimits, Library, OpenFlags, RequestSize, Sector, SectorCount, SectorRange,
    SharedDisk, ZeroMode,
};

/// Runs `child` in a forked process; whether it got to its end in time.
fn forked(child: impl FnOnce()) -> bool {
    // SAFETY: the child runs `child` and leaves at once. It allocates, which the C library allows after a fork, and
    // needs no thread and no lock of the test harness.
    match unsafe { fork() }.expect("forked") {
        ForkResult::Child => {
            let done = catch_unwind(AssertUnwindSafe(child)).is_ok();
            // SAFETY: leaves without the destructors of the parent's test harness.
            unsafe { nix::libc::_exit(if done { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                match waitpid(child, Some(WaitPidFlag::WNOHANG)).expect("it is our child") {
                    WaitStatus::StillAlive if Instant::now() < deadline => {
                        thread::sleep(Duration::from_millis(5));
                    }
                    WaitStatus::StillAlive => {
                        kill(child, Signal::SIGKILL).expect("it hangs");
                        waitpid(child, None).expect("it is gone");
                        return false;
                    }
                    status => return status == WaitStatus::Exited(child, 0),
                }
            }
        }
    }
}

fn refused<T>(result: Result<T, Error>) {
    let Err(error) = result else {
        panic!("a forked child got through");
    };
    assert_eq!(error.kind(), ErrorKind::Forked, "{error}");
    assert_eq!(error.code(), None);
    assert!(error.to_string().contains("forked"), "{error}");
}

fn use_everything(library: &Library, connection: &Connection, disk: &Disk, shared: &SharedDisk) {
    let whole = SectorRange::whole(disk.capacity());
    let mut sector = [0; 512];
    let buf = || AlignedBuf::new(SectorCount::new(1));

    refused(disk.read_at(Sector::ZERO, &mut sector));
    refused(disk.write_at(Sector::ZERO, &sector));
    refused(disk.write_zeroes(whole, ZeroMode::MayFree));
    refused(disk.trim(whole));
    refused(disk.read_async(Sector::ZERO, buf()).wait().0);
    refused(disk.write_async(Sector::ZERO, buf()).wait().0);
    refused(disk.settle());
    refused(disk.flush());
    refused(disk.metadata("adapterType"));
    refused(disk.metadata_keys());
    refused(disk.extents(whole));

    refused(shared.read_at(Sector::ZERO, &mut sector));
    refused(shared.write_at(Sector::ZERO, &sector));
    refused(shared.flush());

    let path = disk.name().to_owned();
    refused(connection.open_disk(path, OpenFlags::READ_ONLY));
    refused(library.connect_local());
    refused(library.connect(ConnectParams::local(), &ConnectOptions::default()));
    refused(Library::builder(library.backend().clone()).open());
    assert!(library.transport_modes().is_empty());
}

/// Requests that the child inherits, most of them in flight: the threads of a library may hold any lock meanwhile.
fn fork_with_requests_in_flight(library: &Library, shared: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = pattern(4096);
    let path = flat_disk(folder.path(), &model);
    let connection = library.connect_local().expect("local");
    let mut disk = connection
        .open_disk(path, OpenFlags::READ_ONLY)
        .expect("opens");
    let mut limits = IoLimits::default();
    limits.depth = NonZeroUsize::MIN;
    limits.request = RequestSize::MIN;
    disk.set_io_limits(limits);
    let whole = AlignedBuf::new(disk.capacity());
    if shared {
        let disk = disk.into_shared().expect("shared");
        inherit(disk.read_async(Sector::ZERO, whole), &model);
    } else {
        inherit(disk.read_async(Sector::ZERO, whole), &model);
    }
}

/// The child polls, waits for, or drops what the parent waits for afterwards.
fn inherit(request: IoFuture, model: &[u8]) {
    let mut request = Some(request);
    let polled = forked(|| {
        let mut request = request.take().expect("a copy of its own");
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready((done, _)) = Pin::new(&mut request).poll(&mut context) else {
            panic!("nobody will ever wake the child");
        };
        refused(done);
    });
    assert!(polled, "a child that polls");
    let waited = forked(|| refused(request.take().expect("a copy of its own").wait().0));
    assert!(waited, "a child that waits");
    assert!(forked(|| drop(request.take())), "a child that drops");
    let (done, bytes) = request.expect("the children had copies").wait();
    done.expect("reads");
    assert!(bytes[..] == *model);
}

#[test]
fn a_forked_child_is_refused_and_does_no_harm() {
    backends().into_iter().for_each(fork_with);
}

fn fork_with(backend: Backend) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = pattern(64);
    let path = flat_disk(folder.path(), &model);
    let start = || Library::builder(backend.clone()).open();
    let library = start().expect("starts");
    let connection = library.connect_local().expect("local");
    let disk = connection
        .open_disk(&path, OpenFlags::empty())
        .expect("opens");
    let other = tempfile::tempdir().expect("a folder");
    let shared = connection
        .open_disk(flat_disk(other.path(), &model), OpenFlags::empty())
        .expect("opens")
        .into_shared()
        .expect("shared");

    assert!(
        forked(|| use_everything(&library, &connection, &disk, &shared)),
        "a child that uses what it inherited"
    );

    for shared in [false, true] {
        fork_with_requests_in_flight(&library, shared);
    }

    // The child owns all that it inherited: moved into the closure, it is dropped or closed there, and nowhere else.
    let (library, connection, disk, shared) = {
        let mut owned = Some((library, connection, disk, shared));
        let dropped = forked(|| drop(owned.take()));
        assert!(dropped, "a child that drops everything");
        let closed = forked(|| {
            let (_library, _connection, disk, shared) = owned.take().expect("a copy of its own");
            refused(disk.close());
            refused(shared.close());
        });
        assert!(closed, "a child that closes everything");
        owned.take().expect("the children had copies")
    };

    // Nothing of this reached the library here: the disks are open, held, and as they were.
    let mut whole = vec![0; model.len()];
    disk.read_at(Sector::ZERO, &mut whole).expect("reads");
    assert!(whole == model);
    disk.write_at(Sector::ZERO, &[9; 512]).expect("writes");
    disk.close().expect("closes");
    shared.close().expect("closes");
    let again = connection.open_disk(&path, OpenFlags::empty());
    again.expect("opens again").close().expect("closes");
    drop((connection, library));
    let contents = fs::read(folder.path().join("disk-flat.vmdk")).expect("the extent");
    assert!(contents[..512] == [9; 512] && contents[512..] == model[512..]);

    // With nothing started, a child starts a library of its own.
    let own = forked(|| {
        let disk = start()
            .and_then(|library| library.connect_local())
            .and_then(|connection| connection.open_disk(&path, OpenFlags::READ_ONLY))
            .expect("a library of the child's own");
        let mut sector = [0; 512];
        disk.read_at(Sector::new(1), &mut sector).expect("reads");
        assert!(sector[..] == model[512..1024]);
        disk.close().expect("closes");
    });
    assert!(own, "a child with a library of its own");
}
