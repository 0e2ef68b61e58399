//! Work on all cores: tasks that are done once, by whoever comes first.
//!
//! A [`Task`] is done by one of the [`Workers`] or by the thread that needs its result, so that nothing ever waits for
//! a thread that could not be started or that is busy elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
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
    tasks: VecDeque<Arc<dyn Run>>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn work(&self) {
        let mut queue = self.queue.lock();
        while !queue.is_closed {
            match queue.tasks.pop_front() {
                Some(task) => {
                    drop(queue);
                    // Whoever needs the result does the work again, and meets the panic there.
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| task.run()));
                    drop(task);
                    queue = self.queue.lock();
                }
                None => self.changed.wait(&mut queue),
            }
        }
    }
}

/// As many threads as there are cores, started at the first task and ended when the workers are dropped.
///
/// Where there is one core only, or no thread can be started, there are none.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: OnceLock<Vec<JoinHandle<()>>>,
    count: usize,
}

impl Workers {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::of(if cores > 1 { cores.min(MAX_WORKERS) } else { 0 })
    }

    fn of(count: usize) -> Self {
        Self {
            shared: Arc::default(),
            threads: OnceLock::new(),
            count,
        }
    }

    /// How many tasks should be unfinished at a time; at least one.
    pub(crate) fn depth(&self) -> usize {
        self.count.saturating_mul(TASKS_PER_WORKER).max(1)
    }

    /// Lets a worker do the task, if there are any workers.
    pub(crate) fn submit<T: Send + Sync + 'static>(&self, task: &Arc<Task<T>>) {
        let threads = self.threads.get_or_init(|| self.start());
        if !threads.is_empty() {
            let task: Arc<dyn Run> = Arc::<Task<T>>::clone(task);
            self.shared.queue.lock().tasks.push_back(task);
            self.shared.changed.notify_one();
        }
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

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        queue.tasks.clear();
        drop(queue);
        self.shared.changed.notify_all();
        for thread in self.threads.take().unwrap_or_default() {
            // A worker catches the panics of its tasks, so that there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Workers")
            .field("count", &self.count)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        let workers = Workers::of(0);
        let here = thread::current().id();
        let task = Task::new(|| thread::current().id());
        workers.submit(&task);
        assert_eq!(*task.result(), here);
        assert_eq!(workers.depth(), 1);
    }

    #[test]
    fn a_panic_comes_up_where_the_result_is_needed_and_workers_go_on() {
        let workers = Workers::of(1);
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
}
