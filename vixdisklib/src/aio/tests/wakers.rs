//! Wakers run the caller's code on the library's threads.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{self, Wake, Waker};
use std::time::Duration;

use disk_units::{Sector, SectorRange};
use parking_lot::Mutex;
use vixdisklib_sys::VixError;

use super::fake::{Fake, Fate};
use super::{buffer, is_ready, limits, read};
use crate::aio::IoFuture;
use crate::disk::Disk;
use crate::error::ErrorKind;

/// Runs a job where it is woken.
struct Act(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Act {
    fn wake(self: Arc<Self>) {
        let job = self.0.lock().take();
        if let Some(job) = job {
            job();
        }
    }
}

fn when_done(future: &mut IoFuture, job: impl FnOnce() + Send + 'static) {
    let waker = Waker::from(Arc::new(Act(Mutex::new(Some(Box::new(job))))));
    let poll = Pin::new(future).poll(&mut task::Context::from_waker(&waker));
    assert!(poll.is_pending());
}

/// What `job` gives that runs in the waker of the first of two reads; the second is in flight meanwhile.
fn in_a_waker<R: Send + 'static>(job: impl FnOnce(Disk, IoFuture) -> R + Send + 'static) -> R {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(4, 8));
    let mut first = read(&disk, 0, 8);
    let second = read(&disk, 8, 8);
    let (send, receive) = mpsc::channel();
    when_done(&mut first, move || {
        send.send(job(disk, second)).expect("received below");
    });
    fake.complete(0);
    let result = receive
        .recv_timeout(Duration::from_secs(20))
        .expect("no deadlock");
    fake.complete_all();
    first.wait().0.expect("read");
    result
}

#[test]
fn what_would_wait_for_itself_fails_instead() {
    let kinds = in_a_waker(|disk, second| {
        let whole = SectorRange::whole(disk.capacity());
        let extent = disk.extents(whole).expect("in range").next();
        let mut sector = [0; 512];
        let results = [
            disk.settle(),
            disk.flush(),
            disk.read_at(Sector::ZERO, &mut sector),
            disk.write_at(Sector::ZERO, &sector),
            extent.expect("an answer").map(drop),
            disk.metadata("uuid").map(drop),
            second.wait().0,
            disk.close(),
        ];
        results.map(|result| result.expect_err("refused").kind())
    });
    assert_eq!(kinds, [ErrorKind::Deadlock; 8]);
}

#[test]
fn what_is_done_can_be_waited_for_in_a_waker() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(4, 8));
    let mut first = read(&disk, 0, 8);
    let second = read(&disk, 8, 8);
    fake.complete(1);
    let (send, receive) = mpsc::channel();
    when_done(&mut first, move || {
        send.send(second.wait().0.is_ok()).expect("received below");
    });
    fake.complete(0);
    assert_eq!(receive.recv_timeout(Duration::from_secs(20)), Ok(true));
    assert!(is_ready(&mut first));
    disk.close().expect("closes");
}

#[test]
fn a_waker_learns_of_a_failure_without_asking_the_library() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(4, 8));
    fake.plan([Fate::Late, Fate::FailLate(VixError::DISK_NOIO)]);
    let mut first = read(&disk, 0, 8);
    let second = read(&disk, 8, 8);
    fake.complete(1);
    let (send, receive) = mpsc::channel();
    when_done(&mut first, move || {
        send.send(second.wait().0).expect("received below");
    });
    fake.complete(0);
    let done = receive.recv_timeout(Duration::from_secs(20));
    let error = done.expect("no deadlock").expect_err("failed");
    assert_eq!(error.code(), Some(VixError::DISK_NOIO));
    let meaning = VixError::DISK_NOIO.meaning().expect("known");
    assert!(error.to_string().contains(meaning), "{error}");
    first.wait().0.expect("read");
    disk.close().expect("closes");
}

#[test]
fn a_waker_may_start_requests_which_another_thread_submits() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(4, 8));
    let mut first = read(&disk, 0, 8);
    let (send, receive) = mpsc::channel();
    when_done(&mut first, move || {
        let third = disk.write_async(Sector::new(16), buffer(8, 4));
        send.send((disk, third)).expect("received below");
    });
    fake.complete_all();
    let (disk, third) = receive
        .recv_timeout(Duration::from_secs(20))
        .expect("no deadlock");
    third.wait().0.expect("written");
    disk.close().expect("closes");
}

#[test]
fn a_waker_may_panic() {
    let fake = Fake::start(Fate::Late);
    let disk = fake.disk(limits(1, 8));
    let mut first = read(&disk, 0, 8);
    let second = read(&disk, 8, 8);
    when_done(&mut first, || {
        std::panic::resume_unwind(Box::new("a waker"))
    });
    fake.complete_all();
    second
        .wait()
        .0
        .expect("the queue goes on, and so does the library's thread");
    first.wait().0.expect("read all the same");
    disk.close().expect("closes");
}

#[test]
fn a_waker_may_drop_a_shared_disk_that_is_busy() {
    let fake = Fake::start(Fate::Late);
    let shared = fake
        .disk(limits(4, 8))
        .into_shared()
        .expect("a submit thread");
    let mut first = shared.read_async(Sector::ZERO, buffer(8, 0));
    let second = shared.read_async(Sector::new(8), buffer(8, 0));
    fake.wait_for_submitted(2);
    let (send, receive) = mpsc::channel();
    when_done(&mut first, move || {
        let flushed = shared.flush().expect_err("refused").kind();
        drop(shared);
        send.send(flushed).expect("received below");
    });
    fake.complete(0);
    let kind = receive.recv_timeout(Duration::from_secs(20));
    assert_eq!(kind, Ok(ErrorKind::Deadlock));
    fake.complete_all();
    second.wait().0.expect("read before the disk is closed");
    first.wait().0.expect("read");
}
