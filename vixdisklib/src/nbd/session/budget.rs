//! Bounds what requests hold in memory at one time: those of one connection, and those of all.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// The memory that all connections of a server share.
///
/// Half of it is shared out evenly, so that every connection can go on whatever the others do. The other half is lent
/// to those who need more: to who comes first, but what is too little for one may be enough for another.
///
/// A thread that has to wait is entered in a list with what it lacks, and who makes that possible gives it to the
/// thread there and then: it takes the bytes out of what is free, strikes the thread off the list and wakes it. So no
/// wake-up is lost and none is in vain. Whenever the lock is let go of, everybody on the list lacks more than is free:
/// the list, the needs on it and what is free change only under the lock, and each change that could break this ends
/// with [`Lent::serve`]. And a thread sleeps only as long as it finds itself on the list, which it looks at under the
/// same lock.
///
/// Who waits has nothing yet of what it waits for. So what is lent belongs to requests that run and come to an end by
/// themselves; once all of them have, everything is free, which is enough for anybody.
#[derive(Debug)]
pub(super) struct Memory {
    /// What each connection has for itself.
    own: usize,
    lendable: usize,
    lent: Mutex<Lent>,
}

#[derive(Debug)]
struct Lent {
    free: usize,
    /// In the order in which they came; at most one for each connection.
    waiting: Vec<Waiting>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// What its connection would have to borrow for it on top of what it borrows for others.
    lacks: usize,
    /// That of its [`Budget`].
    granted: Arc<Condvar>,
}

impl Memory {
    /// `bytes` in all, for so many connections.
    pub(super) fn new(bytes: usize, connections: usize) -> Self {
        let lendable = bytes - bytes / 2;
        Self {
            own: bytes / 2 / connections.max(1),
            lendable,
            lent: Mutex::new(Lent {
                free: lendable,
                waiting: Vec::new(),
            }),
        }
    }

    /// What a connection that holds `bytes` has to borrow.
    fn loan(&self, bytes: usize) -> usize {
        // More than there is to lend would never be had; what is that long has to wait for all of it.
        bytes.saturating_sub(self.own).min(self.lendable)
    }
}

impl Lent {
    /// Who waits on `granted`, if anybody does.
    fn waiting(&mut self, granted: &Arc<Condvar>) -> Option<&mut Waiting> {
        let mut waiting = self.waiting.iter_mut();
        waiting.find(|waiting| Arc::ptr_eq(&waiting.granted, granted))
    }

    /// Gives what is free to those that it is enough for.
    fn serve(&mut self) {
        let free = &mut self.free;
        self.waiting.retain(|waiting| {
            let is_enough = waiting.lacks <= *free;
            if is_enough {
                *free -= waiting.lacks;
                waiting.granted.notify_one();
            }
            !is_enough
        });
    }
}

/// Requests and bytes that may be in flight on one connection.
#[derive(Debug)]
pub(super) struct Budget<'m> {
    max_requests: usize,
    max_bytes: usize,
    memory: &'m Memory,
    /// Locked before what is [`Lent`], where both are.
    used: Mutex<Used>,
    freed: Condvar,
    granted: Arc<Condvar>,
}

/// The requests that have a permit, and the one that waits to borrow.
#[derive(Debug, Default)]
struct Used {
    requests: usize,
    bytes: usize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    budget: &'a Budget<'a>,
    bytes: usize,
}

impl<'m> Budget<'m> {
    pub(super) fn new(max_requests: usize, max_bytes: usize, memory: &'m Memory) -> Self {
        Self {
            max_requests,
            max_bytes,
            memory,
            used: Mutex::default(),
            freed: Condvar::new(),
            granted: Arc::default(),
        }
    }

    /// Whether [`acquire`](Self::acquire) would not wait, not even for other connections. That stays so until somebody
    /// calls it, so who has permits in hand may safely ask for one more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let used = self.used.lock();
        let bytes = used.bytes + bytes;
        let own = self.memory.loan(bytes) == 0;
        own && used.requests < self.max_requests && bytes <= self.max_bytes
    }

    /// Waits until one more request with `bytes` fits in: among those of the connection, where a request that is alone
    /// always fits, and into the memory of all. One thread at a time.
    pub(super) fn acquire(&self, bytes: usize) -> Permit<'_> {
        let mut used = self.used.lock();
        while used.requests > 0
            && (used.requests >= self.max_requests || used.bytes + bytes > self.max_bytes)
        {
            self.freed.wait(&mut used);
        }
        let before = self.memory.loan(used.bytes);
        used.requests += 1;
        used.bytes += bytes;
        let lacks = self.memory.loan(used.bytes) - before;
        if lacks > 0 {
            let mut lent = self.memory.lent.lock();
            if lacks <= lent.free {
                lent.free -= lacks;
            } else {
                lent.waiting.push(Waiting {
                    bytes,
                    lacks,
                    granted: Arc::clone(&self.granted),
                });
                drop(used);
                while lent.waiting(&self.granted).is_some() {
                    self.granted.wait(&mut lent);
                }
            }
        }
        Permit {
            budget: self,
            bytes,
        }
    }

    fn give_back(&self, bytes: usize) {
        let mut used = self.used.lock();
        let memory = self.memory;
        let before = used.bytes;
        used.requests -= 1;
        used.bytes -= bytes;
        if memory.loan(before) > 0 {
            let mut lent = memory.lent.lock();
            let waiting = lent.waiting(&self.granted);
            let waits = waiting.as_ref().map_or(0, |waiting| waiting.bytes);
            let left = memory.loan(used.bytes - waits);
            if let Some(waiting) = waiting {
                // What the connection has for itself may do for it now, or for some of it.
                waiting.lacks = memory.loan(used.bytes) - left;
            }
            lent.free += memory.loan(before - waits) - left;
            lent.serve();
        }
        drop(used);
        // Only the one thread that reads requests ever waits.
        self.freed.notify_one();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn lent(memory: &Memory) -> usize {
        memory.lendable - memory.lent.lock().free
    }

    /// Until so many connections wait.
    fn wait_for(count: usize, memory: &Memory) {
        while memory.lent.lock().waiting.len() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn waits_for_requests_and_for_bytes() {
        let memory = Memory::new(1 << 20, 1);
        let budget = Budget::new(2, 100, &memory);
        let big = budget.acquire(1000);
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let budget = &budget;
            scope.spawn(move || {
                let one = budget.acquire(60);
                sender.send("one").unwrap();
                let two = budget.acquire(40);
                sender.send("two").unwrap();
                drop(one);
                let three = budget.acquire(60);
                sender.send("three").unwrap();
                drop((two, three));
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(big);
            let order: Vec<_> = receiver.iter().collect();
            assert_eq!(order, ["one", "two", "three"]);
        });
        assert_eq!(budget.used.lock().bytes, 0);
    }

    /// Connections that take all there is do not keep another one from what is its own.
    #[test]
    fn every_connection_has_something_for_itself() {
        let memory = Memory::new(800, 4);
        let budgets: Vec<_> = (0..4).map(|_| Budget::new(99, 1000, &memory)).collect();
        let hogs = [budgets[0].acquire(300), budgets[1].acquire(300)];
        assert_eq!(lent(&memory), 400);
        // Now nothing is left but what each has.
        for _ in 0..10 {
            drop([budgets[2].acquire(50), budgets[2].acquire(50)]);
            drop(budgets[3].acquire(100));
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let poor = &budgets[2];
            scope.spawn(move || {
                let permit = poor.acquire(150);
                sender.send(()).unwrap();
                drop(permit);
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(hogs);
            receiver.recv_timeout(PATIENCE).unwrap();
        });
        assert_eq!(lent(&memory), 0);
    }

    /// What waits to borrow goes on when its own connection gives back what it had for itself.
    #[test]
    fn giving_back_ones_own_is_enough() {
        let memory = Memory::new(400, 2);
        let (hog, poor) = (Budget::new(9, 1000, &memory), Budget::new(9, 1000, &memory));
        let held = hog.acquire(300);
        let first = poor.acquire(100);
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let poor = &poor;
            scope.spawn(move || {
                drop(poor.acquire(100));
                sender.send(()).unwrap();
            });
            let waiting = receiver.recv_timeout(Duration::from_millis(50));
            assert_eq!(waiting, Err(mpsc::RecvTimeoutError::Timeout));
            drop(first);
            receiver.recv_timeout(PATIENCE).unwrap();
        });
        drop(held);
        assert_eq!(lent(&memory), 0);
    }

    #[test]
    fn a_request_larger_than_everything_comes_alone() {
        let memory = Memory::new(100, 10);
        let budget = Budget::new(9, 10, &memory);
        let permit = budget.acquire(10_000);
        assert_eq!(lent(&memory), 50);
        drop(permit);
        assert_eq!(lent(&memory), 0);
    }

    /// Nothing is taken from who waits when its own connection gives back less than it lacks.
    #[test]
    fn what_is_lacked_shrinks_with_what_ones_own_gives_back() {
        let memory = Memory::new(400, 2);
        let (hog, poor) = (Budget::new(9, 1000, &memory), Budget::new(9, 1000, &memory));
        let held = [hog.acquire(250), hog.acquire(50)];
        let own = [poor.acquire(60), poor.acquire(40)];
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let poor = &poor;
            scope.spawn(move || {
                drop(poor.acquire(100));
                sender.send(()).unwrap();
            });
            wait_for(1, &memory);
            let [more, less] = own;
            drop(more);
            assert_eq!(memory.lent.lock().waiting[0].lacks, 40);
            let [much, little] = held;
            // Now there is enough.
            drop(little);
            receiver.recv_timeout(PATIENCE).unwrap();
            drop((much, less));
        });
        assert_eq!(lent(&memory), 0);
    }

    /// What one does not need any more is for the next, though nobody gives anything back after that.
    #[test]
    fn what_one_does_not_take_is_for_the_next() {
        let memory = Memory::new(400, 2);
        let [hog, first, second] = [(); 3].map(|()| Budget::new(9, 1000, &memory));
        let held = hog.acquire(300);
        let own = first.acquire(100);
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for (number, (budget, bytes)) in [(&first, 100), (&second, 300)].into_iter().enumerate()
            {
                let sender = sender.clone();
                scope.spawn(move || sender.send(budget.acquire(bytes)).unwrap());
                wait_for(number + 1, &memory);
            }
            drop(held);
            drop(receiver.recv_timeout(PATIENCE).unwrap());
            drop(own);
            drop(receiver.recv_timeout(PATIENCE).unwrap());
        });
        assert_eq!(lent(&memory), 0);
    }

    /// Who waits for longest is served first; who needs less than is left need not wait for it.
    #[test]
    fn the_first_that_there_is_enough_for_is_served() {
        let memory = Memory::new(200, 100);
        let budgets = [(); 5].map(|()| Budget::new(9, 1000, &memory));
        let held = [budgets[0].acquire(61), budgets[0].acquire(39)];
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for (number, bytes) in [91, 51, 31, 11].into_iter().enumerate() {
                let (budget, sender) = (&budgets[number + 1], sender.clone());
                scope.spawn(move || sender.send((bytes, budget.acquire(bytes))).unwrap());
                wait_for(number + 1, &memory);
            }
            let [much, little] = held;
            drop(much);
            let next = || receiver.recv_timeout(PATIENCE).unwrap();
            let (one, other) = (next(), next());
            assert_eq!((one.0.min(other.0), one.0.max(other.0)), (11, 51));
            assert_eq!(memory.lent.lock().waiting.len(), 2);
            drop(other);
            drop((one, little));
            // There is not enough for both.
            assert_eq!(next().0, 31);
            assert_eq!(next().0, 91);
        });
        assert_eq!(lent(&memory), 0);
    }

    /// How often threads of this name went to sleep so far.
    #[cfg(target_os = "linux")]
    fn sleeps(name: &str) -> u64 {
        let mut sleeps = 0;
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            // It may have ended meanwhile.
            let status = std::fs::read_to_string(task.unwrap().path().join("status"));
            let status = status.unwrap_or_default();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            if field("Name:\t") == Some(name) {
                let count = field("voluntary_ctxt_switches:\t").unwrap();
                sleeps += count.parse::<u64>().unwrap();
            }
        }
        sleeps
    }

    /// A thousand that lack much sleep on while little comes back again and again.
    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_wakes_in_vain() {
        const WAITING: usize = 1000;
        let memory = Memory::new(2000, 1000);
        let [hog, busy] = [(); 2].map(|()| Budget::new(9999, 9999, &memory));
        let held = hog.acquire(951);
        let budgets: Vec<_> = (0..WAITING)
            .map(|_| Budget::new(9, 1000, &memory))
            .collect();
        std::thread::scope(|scope| {
            for budget in &budgets {
                let thread = std::thread::Builder::new()
                    .name("lacks".to_owned())
                    .stack_size(64 << 10);
                thread
                    .spawn_scoped(scope, || drop(budget.acquire(101)))
                    .unwrap();
            }
            wait_for(WAITING, &memory);
            // The last ones are entered in the list, and soon asleep.
            std::thread::sleep(Duration::from_millis(100));
            let before = sleeps("lacks");
            assert!(before >= u64::try_from(WAITING).unwrap());
            for _ in 0..200 {
                drop(busy.acquire(41));
            }
            let woken = sleeps("lacks") - before;
            assert!(woken < 100, "200 returns woke {woken}");
            drop(held);
        });
        assert_eq!(lent(&memory), 0);
    }

    /// Requests of all sizes on many connections, over much too little memory: if one wake-up were lost, this would not
    /// end.
    #[test]
    fn many_at_once_never_borrow_too_much_and_all_come_to_an_end() {
        let memory = Memory::new(1000, 5);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for number in 0..8_usize {
                let (memory, sender) = (&memory, sender.clone());
                scope.spawn(move || {
                    let budget = Budget::new(4, 600, memory);
                    std::thread::scope(|scope| {
                        let (running, done) = mpsc::channel();
                        // Requests end by themselves, whoever waits.
                        scope.spawn(move || done.into_iter().for_each(drop::<Permit<'_>>));
                        for round in 0..2000 {
                            let bytes = (number * 37 + round * 13) % 650;
                            running.send(budget.acquire(bytes)).unwrap();
                            let lent = memory.lent.lock();
                            assert!(lent.free <= memory.lendable);
                            let could_go_on = |waiting: &Waiting| waiting.lacks <= lent.free;
                            assert!(!lent.waiting.iter().any(could_go_on));
                        }
                    });
                    sender.send(()).unwrap();
                });
            }
            drop(sender);
            for _ in 0..8 {
                if receiver.recv_timeout(PATIENCE).is_err() {
                    // The scope would wait for the hanging ones for ever.
                    eprintln!("somebody was forgotten: {:?}", memory.lent.lock());
                    std::process::abort();
                }
            }
        });
        assert_eq!(lent(&memory), 0);
    }
}
