//! Work on all cores: tasks that are done once, by whoever comes first.
//!
//! A [`Task`] is done by one of the [`Workers`] or by the thread that needs its result, so that nothing ever waits for
//! a thread that could not be started or that is busy elsewhere. All disks of a process share the threads, however many
//! are open.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

/// More threads than this are not started, however many cores there are.
const MAX_WORKERS: usize = 64;

/// Tasks per worker that may be unfinished: enough to keep it busy while finished ones are taken away.
const TASKS_PER_WORKER: usize = 4;

/// Something to compute, and its result once it is there.
pub(crate) struct Task<T> {
    work: Box<dyn Fn() -> T + Send + Sync>,
    result: OnceLock<T>,
}

impl<T> Task<T> {
    pub(crate) fn new(work: impl Fn() -> T + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            work: Box::new(work),
            result: OnceLock::new(),
        })
    }

    /// The result: computed here, unless another thread has begun to, which is then waited for.
    pub(crate) fn result(&self) -> &T {
        self.result.get_or_init(&self.work)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.result.get().is_some()
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Task")
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// A task whose result does not matter to the one who runs it.
trait Run: Send + Sync {
    fn run(&self);
}

impl<T: Send + Sync> Run for Task<T> {
    fn run(&self) {
        self.result();
    }
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<(OwnerId, Arc<dyn Run>)>,
    /// Whose tasks are being done, once for each.
    running: Vec<OwnerId>,
    is_closed: bool,
}

/// Which [`Workers`] a task belongs to.
type OwnerId = u64;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is a task, or the end.
    changed: Condvar,
    /// A task is done.
    finished: Condvar,
}

impl Shared {
    fn work(&self) {
        let mut queue = self.queue.lock();
        while !queue.is_closed {
            match queue.tasks.pop_front() {
                Some((owner, task)) => {
                    queue.running.push(owner);
                    drop(queue);
                    // Whoever needs the result does the work again, and meets the panic there.
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| task.run()));
                    drop(task);
                    queue = self.queue.lock();
                    let place = queue.running.iter().position(|running| *running == owner);
                    place.map(|place| queue.running.swap_remove(place));
                    self.finished.notify_all();
                }
                None => self.changed.wait(&mut queue),
            }
        }
    }
}

/// Threads, started at the first task and ended with the last who use them.
struct Pool {
    shared: Arc<Shared>,
    threads: OnceLock<Vec<JoinHandle<()>>>,
    count: usize,
    /// The process that has the threads. One that is forked off has none, and would wait for them in vain.
    process: u32,
}

/// The pool of the process, as long as anybody has workers.
static POOL: Mutex<Weak<Pool>> = Mutex::new(Weak::new());

impl Pool {
    fn of_process() -> Arc<Self> {
        let mut pool = POOL.lock();
        if let Some(pool) = pool.upgrade()
            && pool.is_here()
        {
            return pool;
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let new = Self::of(if cores > 1 { cores.min(MAX_WORKERS) } else { 0 });
        *pool = Arc::downgrade(&new);
        new
    }

    fn of(count: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::default(),
            threads: OnceLock::new(),
            count,
            process: process::id(),
        })
    }

    fn is_here(&self) -> bool {
        self.process == process::id()
    }

    fn start(&self) -> Vec<JoinHandle<()>> {
        let start_one = |_| {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("vmdk-worker".to_owned());
            thread.spawn(move || shared.work())
        };
        let threads = (0..self.count).map_while(|number| start_one(number).ok());
        threads.collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let threads = self.threads.take().unwrap_or_default();
        if !self.is_here() {
            mem::forget(threads);
            return;
        }
        self.shared.queue.lock().is_closed = true;
        self.shared.changed.notify_all();
        for thread in threads {
            // A worker catches the panics of its tasks, so that there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

/// As many threads as there are cores, for all who have workers in this process together.
///
/// Where there is one core only, or no thread can be started, there are none. Dropping the workers forgets what they
/// have not begun, and waits for what they have.
pub(crate) struct Workers {
    pool: Arc<Pool>,
    owner: OwnerId,
}

impl Workers {
    pub(crate) fn new() -> Self {
        Self::among(Pool::of_process())
    }

    fn among(pool: Arc<Pool>) -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        Self { pool, owner }
    }

    /// How many threads there are: as many as cores, or none.
    pub(crate) fn count(&self) -> usize {
        self.pool.count
    }

    /// How many tasks should be unfinished at a time; at least one.
    pub(crate) fn depth(&self) -> usize {
        self.pool.count.saturating_mul(TASKS_PER_WORKER).max(1)
    }

    /// Lets a worker do the task, if there are any workers.
    pub(crate) fn submit<T: Send + Sync + 'static>(&self, task: &Arc<Task<T>>) {
        let pool = &self.pool;
        if !pool.is_here() || pool.threads.get_or_init(|| pool.start()).is_empty() {
            return;
        }
        let task: Arc<dyn Run> = Arc::<Task<T>>::clone(task);
        pool.shared.queue.lock().tasks.push_back((self.owner, task));
        pool.shared.changed.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if !self.pool.is_here() {
            return;
        }
        let mut queue = self.pool.shared.queue.lock();
        let (own, others) = mem::take(&mut queue.tasks)
            .into_iter()
            .partition(|(owner, _)| *owner == self.owner);
        queue.tasks = others;
        while queue.running.contains(&self.owner) {
            self.pool.shared.finished.wait(&mut queue);
        }
        drop(queue);
        // What they hold may take its time to go.
        drop::<VecDeque<_>>(own);
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Workers")
            .field("count", &self.pool.count)
            .finish_non_exhaustive()
    }
}

/// Tasks that are begun in any order and taken away in the order in which they came; bounded.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    workers: Workers,
    tasks: VecDeque<Arc<Task<T>>>,
    depth: usize,
}

impl<T: Send + Sync + 'static> Pipeline<T> {
    pub(crate) fn new() -> Self {
        let workers = Workers::new();
        Self {
            depth: workers.depth(),
            workers,
            tasks: VecDeque::new(),
        }
    }

    /// The same for at most `tasks` at a time, but at least one.
    pub(crate) fn at_most(mut self, tasks: usize) -> Self {
        self.depth = self.depth.min(tasks).max(1);
        self
    }

    /// Whether a task should be taken away before another is added.
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.len() >= self.depth
    }

    /// Adds a task.
    pub(crate) fn push(&mut self, work: impl Fn() -> T + Send + Sync + 'static) {
        let task = Task::new(work);
        self.workers.submit(&task);
        self.tasks.push_back(task);
    }

    /// Takes the oldest task away, done.
    pub(crate) fn pop(&mut self) -> Option<Arc<Task<T>>> {
        let task = self.tasks.pop_front()?;
        task.result();
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    #[test]
    fn results_come_in_order_and_each_once() {
        let mut pipeline = Pipeline::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let mut results = Vec::new();
        for number in 0..1000_u64 {
            if pipeline.is_full() {
                results.push(*pipeline.pop().expect("full").result());
            }
            let runs = Arc::clone(&runs);
            pipeline.push(move || {
                runs.fetch_add(1, Ordering::Relaxed);
                number * 3
            });
        }
        while let Some(task) = pipeline.pop() {
            results.push(*task.result());
        }
        assert!(results.into_iter().eq((0..1000).map(|number| number * 3)));
        assert_eq!(runs.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn without_workers_the_caller_does_the_work() {
        let workers = Workers::among(Pool::of(0));
        let here = thread::current().id();
        let task = Task::new(|| thread::current().id());
        workers.submit(&task);
        assert_eq!(*task.result(), here);
        assert_eq!(workers.depth(), 1);
    }

    #[test]
    fn a_panic_comes_up_where_the_result_is_needed_and_workers_go_on() {
        let workers = Workers::among(Pool::of(1));
        let bad: Arc<Task<u32>> = Task::new(|| panic!("on purpose"));
        workers.submit(&bad);
        let good = Task::new(|| 5);
        workers.submit(&good);
        assert_eq!(*good.result(), 5);
        assert!(panic::catch_unwind(AssertUnwindSafe(|| *bad.result())).is_err());
    }

    #[test]
    fn dropping_workers_forgets_what_is_queued() {
        let workers = Workers::new();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..10_000 {
            let ran = Arc::clone(&ran);
            workers.submit(&Task::new(move || ran.fetch_add(1, Ordering::Relaxed)));
        }
        drop(workers);
        let after = ran.load(Ordering::Relaxed);
        thread::yield_now();
        assert_eq!(ran.load(Ordering::Relaxed), after);
    }

    #[test]
    fn hundreds_share_the_threads() {
        let everyone: Vec<Workers> = (0..300).map(|_| Workers::new()).collect();
        let tasks: Vec<_> = everyone
            .iter()
            .map(|workers| {
                let task = Task::new(|| thread::current().id());
                workers.submit(&task);
                task
            })
            .collect();
        let threads: HashSet<_> = tasks.iter().map(|task| *task.result()).collect();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // And the one that asks.
        assert!(threads.len() <= cores + 1, "{} threads", threads.len());
    }

    #[test]
    fn dropping_workers_waits_for_their_own_tasks_only() {
        let pool = Pool::of(2);
        let [slow, quick] = [(), ()].map(|()| Workers::among(Arc::clone(&pool)));
        let (begun, has_begun) = mpsc::sync_channel(0);
        let (release, released) = mpsc::sync_channel::<()>(0);
        let released = Mutex::new(released);
        slow.submit(&Task::new(move || {
            begun.send(()).expect("somebody waits");
            released.lock().recv().expect("it is released");
        }));
        has_begun.recv().expect("it begins");
        let task = Task::new(|| 7);
        quick.submit(&task);
        drop(quick);
        assert_eq!(*task.result(), 7);
        let done = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            let waiting = scope.spawn({
                let done = Arc::clone(&done);
                move || {
                    drop(slow);
                    done.load(Ordering::SeqCst)
                }
            });
            thread::sleep(std::time::Duration::from_millis(20));
            done.store(1, Ordering::SeqCst);
            release.send(()).expect("it waits");
            assert_eq!(waiting.join().expect("no panic"), 1);
        });
    }

    #[test]
    fn a_forked_process_does_the_work_itself_and_waits_for_no_thread() {
        let mut pool = Arc::into_inner(Pool::of(1)).expect("nobody else has it");
        let threads = pool.start();
        pool.threads.set(threads).expect("not started yet");
        pool.process ^= 1;
        let workers = Workers::among(Arc::new(pool));
        let shared = Arc::clone(&workers.pool.shared);
        shared.queue.lock().running.push(workers.owner);
        let task = Task::new(|| thread::current().id());
        workers.submit(&task);
        assert_eq!(*task.result(), thread::current().id());
        drop(workers);
        shared.queue.lock().is_closed = true;
        shared.changed.notify_all();
    }
}
