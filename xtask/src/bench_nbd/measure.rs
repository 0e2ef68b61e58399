//! The servers of a contest take turns.

use std::path::Path;
use std::time::Instant;

use super::contests::{Contest, Task};
use super::images::Images;
use super::server::{Programs, Server};
use crate::Result;
use crate::bench::timing;

/// What one turn took.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// Seconds of the client's work.
    pub(super) time: f64,
    /// Seconds of the server's processor time for it.
    pub(super) processor: f64,
    /// MiB of the server's memory, files not counted: the most that was seen during the work, or after the first byte.
    pub(super) memory: f64,
}

/// A contest and how it went.
pub(super) struct Measured {
    pub(super) contest: Contest,
    /// In the order of [`Contest::servers`].
    pub(super) turns: Vec<Vec<Turn>>,
}

/// Gives each server one turn that does not count, and then `rounds`.
pub(super) fn take_turns(
    contest: Contest,
    rounds: usize,
    programs: &Programs,
    images: &Images,
) -> Result<Measured> {
    eprintln!("{} ...", contest.name);
    let servers: Vec<&Server> = contest.servers().collect();
    let mut turns = vec![Vec::new(); servers.len()];
    for round in 0..=rounds {
        for place in 0..servers.len() {
            // Who begins changes, so that nobody always follows the same one.
            let index = (place + round) % servers.len();
            let server = servers[index];
            images.renew(server)?;
            let turn = take_turn(&contest.task, server, programs, images)
                .map_err(|error| format!("{}: {error}", server.name()))?;
            if round > 0 {
                turns[index].push(turn);
            }
        }
    }
    for server in servers {
        images.remove_new(server)?;
    }
    Ok(Measured { contest, turns })
}

fn take_turn(task: &Task, server: &Server, programs: &Programs, images: &Images) -> Result<Turn> {
    let socket = &images.path("socket");
    match task {
        Task::Start => {
            let line = [programs.client.as_path(), socket, Path::new("first")];
            let line = line.map(|word| word.to_string_lossy().into_owned());
            let start = Instant::now();
            let running = server.spawn(socket, programs)?;
            timing::of(&line)?;
            let time = start.elapsed().as_secs_f64();
            Ok(Turn {
                time,
                processor: running.processor()?,
                memory: running.memory()?,
            })
        }
        Task::Client(words) => {
            let mut running = server.spawn(socket, programs)?;
            running.wait_ready(socket)?;
            let path = socket.to_string_lossy();
            let uri = format!("nbd+unix:///?socket={path}");
            let line: Vec<String> = words
                .iter()
                .map(|word| word.replace("{uri}", &uri).replace("{socket}", &path))
                .collect();
            let before = running.processor()?;
            let (time, memory) = running.peak_memory(|| timing::of(&line))?;
            Ok(Turn {
                time: time.wall,
                processor: running.processor()? - before,
                memory,
            })
        }
    }
}
