//! The threads that run asynchronous requests.
//!
//! They start with the first request, never at load or init, so a process that makes only synchronous calls has no
//! thread of ours. The queue is bounded: a caller that submits faster than the disk works is made to wait. Requests for
//! a disk that something else has to itself stay in the queue, and others pass them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::progress;
use crate::requests::{Requests, Ticket};

/// Requests that may wait for a thread. The sample program of the Virtual Disk Programming Guide bounds itself with a
/// pool of this many buffers.
const QUEUE_LIMIT: usize = 256;

/// Disk I/O waits more than it computes, so a small machine gets more threads than it has processors; more than the
/// upper bound only adds contention.
const THREADS: std::ops::RangeInclusive<usize> = 4..=16;

/// A request: it is out when its work is done.
struct Job {
    ticket: Ticket,
    work: Box<dyn FnOnce() + Send>,
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is one of ours, which means that a callback of the caller made the call.
pub(crate) fn on_worker() -> bool {
    IS_WORKER.get()
}

/// Why a job was not accepted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The pool has been stopped.
    Stopped,
    /// The system gave us no thread.
    NoThread(io::Error),
}

/// A pool of threads with one queue.
#[derive(Default)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Workers")
            .field("threads", &self.threads.lock().len())
            .field("queued", &self.shared.queue.lock().jobs.len())
            .finish()
    }
}

impl Workers {
    /// Queues a job, first starting the threads if there are none. An accepted job runs exactly once, a refused one
    /// never.
    ///
    /// Waits while the queue is full, except inside a callback: if all threads of the pool waited, or waited for the disk
    /// that is busy until a progress function returns, none would make room.
    pub(crate) fn submit(
        &self,
        ticket: Ticket,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), Refusal> {
        self.ensure_threads().map_err(Refusal::NoThread)?;
        let may_wait = !on_worker() && !progress::is_telling();
        let mut queue = self.shared.queue.lock();
        while queue.jobs.len() >= QUEUE_LIMIT && !queue.stopped && may_wait {
            self.shared.room.wait(&mut queue);
        }
        if queue.stopped {
            return Err(Refusal::Stopped);
        }
        queue.jobs.push_back(Job {
            ticket,
            work: Box::new(work),
        });
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }

    /// A way to queue jobs from threads that must not wait, first starting the threads that run them.
    pub(crate) fn completions(&self) -> Result<Completions, Refusal> {
        self.ensure_threads().map_err(Refusal::NoThread)?;
        if self.shared.queue.lock().stopped {
            return Err(Refusal::Stopped);
        }
        Ok(Completions(Arc::clone(&self.shared)))
    }

    /// Keeps the requests of one disk that come from now on in the queue, until the guard is dropped: on a thread they
    /// would wait for the disk too, and other disks for the thread.
    pub(crate) fn hold<'a>(&'a self, requests: &'a Requests) -> Hold<'a> {
        Hold {
            shared: &self.shared,
            first: requests.hold(),
            requests,
        }
    }

    /// Runs what is queued, then ends the threads and waits for them. Not to be called from one of them.
    pub(crate) fn stop(&self) {
        self.shared.queue.lock().stopped = true;
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A worker cannot panic: a job catches what it runs. If one did, its panic was printed and nothing is
            // left to do about it here.
            let _ = thread.join();
        }
    }

    fn ensure_threads(&self) -> io::Result<()> {
        let mut threads = self.threads.lock();
        if !threads.is_empty() || self.shared.queue.lock().stopped {
            return Ok(());
        }
        let wanted = thread::available_parallelism()
            .map_or(*THREADS.start(), usize::from)
            .clamp(*THREADS.start(), *THREADS.end());
        for number in 0..wanted {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new()
                .name(format!("vixdisklib-{number}"))
                .spawn(move || shared.work());
            match started {
                Ok(thread) => threads.push(thread),
                // Fewer threads than wanted do the same work.
                Err(_) if !threads.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        IS_WORKER.set(true);
        while let Some(job) = self.next_job() {
            self.room.notify_one();
            let Job { ticket, work } = job;
            work();
            drop(ticket);
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            let ready = queue.jobs.iter().position(|job| !job.ticket.is_held());
            if let Some(job) = ready.and_then(|index| queue.jobs.remove(index)) {
                return Some(job);
            }
            if queue.stopped && queue.jobs.is_empty() {
                return None;
            }
            self.work.wait(&mut queue);
        }
    }
}

/// Queues jobs without ever waiting. Callers' buffers bound how many there can be.
pub(crate) struct Completions(Arc<Shared>);

impl Completions {
    /// Runs `work` exactly once, on a thread of the pool.
    pub(crate) fn push(&self, ticket: Ticket, work: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.queue.lock();
        if queue.stopped {
            // A disk that is being closed while the pool is stopped. Whoever closes it waits for this.
            drop(queue);
            let outer = IS_WORKER.replace(true);
            work();
            IS_WORKER.set(outer);
            return;
        }
        queue.jobs.push_back(Job {
            ticket,
            work: Box::new(work),
        });
        drop(queue);
        self.0.work.notify_one();
    }
}

/// While it lives, later requests of one disk are not begun.
pub(crate) struct Hold<'a> {
    shared: &'a Shared,
    requests: &'a Requests,
    first: u64,
}

impl Hold<'_> {
    /// Blocks until every request that came before is out.
    pub(crate) fn wait(&self) {
        self.requests.wait_before(self.first);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.requests.release(self.first);
        // Under the lock: a thread that has just looked, and found nothing to do, must not miss it.
        let _queue = self.shared.queue.lock();
        self.shared.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    fn ticket() -> Ticket {
        Arc::new(Requests::default()).begin()
    }

    #[test]
    fn what_is_held_runs_afterwards_and_nothing_waits_for_it() {
        let workers = Workers::default();
        let requests = Arc::new(Requests::default());
        let (send, receive) = mpsc::channel();
        let submit = |ticket, name: &'static str| {
            let send = send.clone();
            let work = move || send.send(name).expect("receiver lives");
            workers.submit(ticket, work).expect("accepted");
        };
        let hold = workers.hold(&requests);
        for _ in 0..2 * THREADS.end() {
            submit(requests.begin(), "held");
        }
        submit(ticket(), "free");
        let first = receive.recv_timeout(Duration::from_secs(10));
        assert_eq!(first, Ok("free"));
        hold.wait();
        drop(hold);
        requests.wait();
        assert_eq!(receive.try_iter().count(), 2 * THREADS.end());
        workers.stop();
    }

    #[test]
    fn stopping_waits_for_what_is_held() {
        let workers = Workers::default();
        let requests = Arc::new(Requests::default());
        let (send, receive) = mpsc::channel();
        let hold = workers.hold(&requests);
        let work = move || send.send(()).expect("receiver lives");
        workers.submit(requests.begin(), work).expect("accepted");
        thread::scope(|scope| {
            scope.spawn(|| workers.stop());
            assert!(receive.recv_timeout(Duration::from_millis(50)).is_err());
            drop(hold);
        });
        assert_eq!(receive.try_recv(), Ok(()));
    }

    #[test]
    fn every_accepted_job_runs_once_even_when_stopped_at_once() {
        let workers = Workers::default();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 * QUEUE_LIMIT {
            let ran = Arc::clone(&ran);
            workers
                .submit(ticket(), move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                })
                .expect("accepted");
        }
        workers.stop();
        assert_eq!(ran.load(Ordering::Relaxed), 4 * QUEUE_LIMIT);
        assert!(matches!(
            workers.submit(ticket(), || ()),
            Err(Refusal::Stopped)
        ));
    }

    #[test]
    fn no_thread_runs_before_the_first_job_or_after_stop() {
        let workers = Workers::default();
        assert!(workers.threads.lock().is_empty());
        workers.submit(ticket(), || ()).expect("accepted");
        assert!(THREADS.contains(&workers.threads.lock().len()));
        workers.stop();
        assert!(workers.threads.lock().is_empty());
    }

    #[test]
    fn jobs_may_submit_jobs_past_the_limit() {
        let workers = Arc::new(Workers::default());
        let (send, receive) = mpsc::channel();
        for _ in 0..*THREADS.end() {
            let send = send.clone();
            let inner = Arc::clone(&workers);
            workers
                .submit(ticket(), move || {
                    assert!(on_worker());
                    for _ in 0..QUEUE_LIMIT {
                        let send = send.clone();
                        inner
                            .submit(ticket(), move || send.send(()).expect("receiver lives"))
                            .expect("accepted");
                    }
                })
                .expect("accepted");
        }
        drop(send);
        assert_eq!(receive.iter().count(), QUEUE_LIMIT * *THREADS.end());
        assert!(!on_worker());
        workers.stop();
    }

    #[test]
    fn a_full_queue_makes_the_submitter_wait() {
        let workers = Arc::new(Workers::default());
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock();
        let (send, receive) = mpsc::channel();
        let submitter = {
            let (workers, gate) = (Arc::clone(&workers), Arc::clone(&gate));
            thread::spawn(move || {
                for number in 0..2 * QUEUE_LIMIT {
                    let gate = Arc::clone(&gate);
                    let work = move || drop(gate.lock());
                    workers.submit(ticket(), work).expect("accepted");
                    send.send(number).expect("receiver lives");
                }
            })
        };
        // As many as the queue holds get in, and one for each thread, which waits at the gate.
        for _ in 0..QUEUE_LIMIT {
            receive.recv().expect("accepted");
        }
        let more = std::iter::from_fn(|| receive.recv_timeout(Duration::from_millis(200)).ok());
        assert!(more.count() <= *THREADS.end());
        drop(closed);
        submitter.join().expect("no panic");
        workers.stop();
    }
}
