//! A thread that owns something and works through jobs on it, in order.

use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use crate::aio::in_callback;
use crate::process::Birth;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A thread with a queue; dropping it finishes what is queued first, but on a thread that the library waits for, where it
/// leaves the thread to finish alone. In a forked child it may only be dropped.
#[derive(Debug)]
pub(crate) struct Worker<T> {
    jobs: Option<mpsc::Sender<Job<T>>>,
    thread: Option<JoinHandle<T>>,
    /// A forked child has no such thread.
    birth: Birth,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn start(name: &str, mut owned: T) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job<T>>();
        let body = move || {
            queue.into_iter().for_each(|job| job(&mut owned));
            owned
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            birth: Birth::here(),
        })
    }

    /// Queues `job`.
    pub(crate) fn post(&self, job: impl FnOnce(&mut T) + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("the queue ends only in drop");
        // The thread ends only when the queue does: no job of this crate panics.
        jobs.send(Box::new(job))
            .expect("the thread outlives the queue");
    }

    /// Queues `job` and waits for its answer.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> R {
        let (answer, result) = mpsc::sync_channel(1);
        self.post(move |owned| {
            // The receiver waits below, so the send cannot fail.
            let _ = answer.send(job(owned));
        });
        result.recv().expect("a job answers")
    }

    /// Queues `job`, does `meanwhile` on this thread, and waits for the job's answer. A panic of `meanwhile` goes on
    /// after that.
    pub(crate) fn run_beside<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
        meanwhile: impl FnOnce(),
    ) -> R {
        let (answer, result) = mpsc::sync_channel(1);
        self.post(move |owned| {
            // As in `run`.
            let _ = answer.send(job(owned));
        });
        let done = panic::catch_unwind(AssertUnwindSafe(meanwhile));
        let answer = result.recv().expect("a job answers");
        match done {
            Ok(()) => answer,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// Finishes what is queued and gives back what the thread owned.
    pub(crate) fn finish(mut self) -> T {
        self.jobs = None;
        let thread = self
            .thread
            .take()
            .expect("the thread is joined only here and in drop");
        thread.join().expect("no job panics")
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let (jobs, thread) = (self.jobs.take(), self.thread.take());
        if !self.birth.is_surely_here() {
            // Joining would wait for ever, and the thread may have held the lock of the queue when the process forked.
            mem::forget((jobs, thread));
            return;
        }
        drop(jobs);
        if let Some(thread) = thread
            && !in_callback()
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_on_one_other_thread() {
        let worker = Worker::start("test-worker", Vec::new()).expect("started");
        for number in 0..100 {
            worker.post(move |seen| seen.push(number));
        }
        let (seen, thread) = worker.run(|seen| (seen.clone(), thread::current().id()));
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_ne!(thread, thread::current().id());
    }

    #[test]
    fn finish_gives_the_owned_value_back() {
        let worker = Worker::start("test-worker", 1).expect("started");
        worker.post(|number| *number += 41);
        assert_eq!(worker.finish(), 42);
    }

    #[test]
    fn drop_finishes_the_queue() {
        let (sender, receiver) = mpsc::channel();
        let worker = Worker::start("test-worker", ()).expect("started");
        (0..10).for_each(|number| {
            let sender = sender.clone();
            worker.post(move |()| sender.send(number).expect("received below"));
        });
        drop((worker, sender));
        assert_eq!(receiver.into_iter().count(), 10);
    }

    #[test]
    fn a_forked_child_leaves_the_thread_of_its_parent_alone() {
        let (sender, receiver) = mpsc::channel::<()>();
        let mut worker = Worker::start("test-worker", ()).expect("started");
        // The thread is as good as none: joining it would wait for the sender below.
        worker.post(move |()| receiver.into_iter().for_each(drop));
        worker.birth = Birth::elsewhere();
        drop(worker);
        drop(sender);
    }
}
