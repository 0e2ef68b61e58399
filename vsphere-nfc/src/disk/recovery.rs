//! What has to be done again is done on a thread of its own: the one that receives has to go on receiving.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::core::Core;
use crate::failure::Failure;

/// What to do, or to give up if there is no thread to do it.
pub(super) type Job = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Jobs for the thread; none if there is no thread.
#[derive(Default)]
pub(super) struct Recovery(Mutex<Option<VecDeque<Job>>>);

/// Does a job soon, after those before it.
pub(super) fn recover(core: &Arc<Core>, job: Job) {
    let mut jobs = core.recovery.0.lock();
    if let Some(jobs) = &mut *jobs {
        jobs.push_back(job);
        return;
    }
    let worker = Arc::clone(core);
    let thread = thread::Builder::new()
        .name("nfc-recovery".to_owned())
        .spawn(move || work(&worker));
    match thread {
        Ok(_) => *jobs = Some(VecDeque::from([job])),
        Err(error) => {
            drop(jobs);
            job(Err(error.into()));
        }
    }
}

fn work(core: &Core) {
    loop {
        let job = {
            let mut jobs = core.recovery.0.lock();
            match jobs.as_mut().and_then(VecDeque::pop_front) {
                Some(job) => job,
                None => {
                    *jobs = None;
                    return;
                }
            }
        };
        job(Ok(()));
    }
}
