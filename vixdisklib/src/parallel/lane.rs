//! What reads pieces side by side: threads with a handle each, or asynchronous requests on one.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Scope};

use disk_units::SectorRange;
use parking_lot::Mutex;

use crate::aio::IoFuture;
use crate::buffer::AlignedBuf;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Operation, Result};

/// A piece to read, and where to.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) range: SectorRange,
    /// As long as the range.
    pub(super) buf: AlignedBuf,
}

/// Reads pieces, several at a time.
pub(super) trait Lanes {
    fn start(&mut self, job: Job);

    /// Waits for a job that was started. There must be one.
    fn next(&mut self) -> (Job, Result<()>);
}

type Answer = Result<(Job, Result<()>), Box<dyn Any + Send>>;

/// Threads of a scope, each with a disk. When this is dropped they end, each behind the job that it is at.
pub(super) struct Workers {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
}

impl Workers {
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        disks: &'scope mut [Disk],
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let (answer, answers) = mpsc::channel();
        for disk in disks {
            let name = disk.name().to_owned();
            let (queue, answer) = (Arc::clone(&queue), answer.clone());
            thread::Builder::new()
                .name("vixdisklib-read".to_owned())
                .spawn_scoped(scope, move || work(disk, &queue, &answer))
                .map_err(|cause| {
                    let text = "no thread to read with";
                    Error::new(ErrorKind::OutOfMemory, Operation::Read, text)
                        .with_path(name)
                        .with_cause(cause)
                })?;
        }
        Ok(Self { jobs, answers })
    }
}

fn work(disk: &mut Disk, queue: &Mutex<Receiver<Job>>, answer: &Sender<Answer>) {
    loop {
        let Ok(mut job) = queue.lock().recv() else {
            return;
        };
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let done = disk.read_at(job.range.start(), &mut job.buf);
            (job, done)
        }));
        if answer.send(answered).is_err() {
            return;
        }
    }
}

impl Lanes for Workers {
    fn start(&mut self, job: Job) {
        self.jobs
            .send(job)
            .expect("workers take jobs as long as answers are taken");
    }

    fn next(&mut self) -> (Job, Result<()>) {
        let answer = self.answers.recv().expect("every job is answered");
        answer.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Asynchronous requests on one disk. What is in flight when this is dropped is given up.
pub(super) struct Requests<'a> {
    disk: &'a Disk,
    running: HashMap<usize, (SectorRange, IoFuture)>,
    wake: Sender<usize>,
    /// Which of them to poll.
    woken: Receiver<usize>,
}

struct WakeUp {
    index: usize,
    wake: Sender<usize>,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the reading has ended early.
        let _ = self.wake.send(self.index);
    }
}

impl<'a> Requests<'a> {
    pub(super) fn new(disk: &'a Disk) -> Self {
        let (wake, woken) = mpsc::channel();
        Self {
            disk,
            running: HashMap::new(),
            wake,
            woken,
        }
    }
}

impl Lanes for Requests<'_> {
    fn start(&mut self, job: Job) {
        let Job { index, range, buf } = job;
        let future = self.disk.read_async(range.start(), buf);
        self.running.insert(index, (range, future));
        self.wake.send(index).expect("the receiver is here");
    }

    fn next(&mut self) -> (Job, Result<()>) {
        loop {
            let index = self.woken.recv().expect("a sender is here");
            let Some((range, future)) = self.running.get_mut(&index) else {
                continue;
            };
            let wake = self.wake.clone();
            let waker = Waker::from(Arc::new(WakeUp { index, wake }));
            if let Poll::Ready((done, buf)) =
                Pin::new(future).poll(&mut Context::from_waker(&waker))
            {
                let range = *range;
                self.running.remove(&index);
                return (Job { index, range, buf }, done);
            }
        }
    }
}
