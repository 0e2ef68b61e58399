//! A client for NBD that costs next to nothing itself, so that what is measured is the server: simple replies, buffers at
//! page boundaries, several requests and replies in one system call.
//!
//! `nbd_client SOCKET JOB...`, see [`USAGE`]. It prints how long the requests took, without connecting.

mod connection;
mod crowd;
mod job;

use std::env;
use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use self::connection::Connection;
use self::crowd::Kind;
use self::job::{Direction, Job};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "\
nbd_client SOCKET first                          waits until there is a server, and reads the first 4 KiB
nbd_client SOCKET read SIZE DEPTH CONNECTIONS    the whole export in order, in requests of so many bytes
nbd_client SOCKET random SIZE DEPTH COUNT        so many requests, each somewhere else
nbd_client SOCKET write SIZE DEPTH COUNT         the same, writing, and a flush at the end
nbd_client SOCKET crowd KIND COUNT               so many hostile clients, until standard input ends: greedy ones take nothing
                                                 of what they ask for, silent ones say nothing, returning ones do the same
                                                 and come again when cut off, a flood sends options
DEPTH is the number of requests that wait for their replies at one time, on each connection.";

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [socket, "first"] => first(socket.as_ref()),
        [socket, "read", size, depth, connections] => {
            let jobs: usize = connections.parse()?;
            in_order(socket.as_ref(), size.parse()?, depth.parse()?, jobs)
        }
        [socket, "random", size, depth, count] => {
            let direction = Direction::Read;
            scattered(
                socket.as_ref(),
                direction,
                size.parse()?,
                depth.parse()?,
                count.parse()?,
            )
        }
        [socket, "write", size, depth, count] => {
            let direction = Direction::Write;
            scattered(
                socket.as_ref(),
                direction,
                size.parse()?,
                depth.parse()?,
                count.parse()?,
            )
        }
        [socket, "crowd", kind, count] => {
            let kind = Kind::parse(kind).ok_or(USAGE)?;
            crowd::run(socket.as_ref(), kind, count.parse()?)
        }
        _ => Err(USAGE.into()),
    }
}

fn first(socket: &Path) -> Result {
    let deadline = Instant::now() + START;
    let connection = loop {
        match Connection::open(socket) {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    };
    Job::new(connection, Direction::Read, 4096, 1)?.run(&mut [0].into_iter())
}

fn in_order(socket: &Path, size: usize, depth: usize, connections: usize) -> Result {
    let mut jobs = Vec::new();
    for _ in 0..connections {
        jobs.push(Job::new(
            Connection::open(socket)?,
            Direction::Read,
            size,
            depth,
        )?);
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..)
            .zip(jobs)
            .map(|(number, job)| {
                scope.spawn(move || {
                    let blocks = job.blocks();
                    job.run(&mut (number..blocks).step_by(connections))
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a connection panicked")?)
    })?;
    println!("{:.6}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Visits blocks in an order that looks random and is the same for every server; none comes twice before all had their
/// turn.
fn scattered(socket: &Path, direction: Direction, size: usize, depth: usize, count: u64) -> Result {
    let job = Job::new(Connection::open(socket)?, direction, size, depth)?;
    let blocks = job.blocks();
    let step = coprime(blocks);
    let start = Instant::now();
    job.run(&mut (0..count).map(|number| number % blocks * step % blocks))?;
    println!("{:.6}", start.elapsed().as_secs_f64());
    Ok(())
}

/// A step that visits all of so many blocks, far from the last one each time.
fn coprime(blocks: u64) -> u64 {
    let common = |mut left: u64, mut right: u64| {
        while right != 0 {
            (left, right) = (right, left % right);
        }
        left
    };
    // The golden section keeps neighbours in time apart in space.
    let mut step = (blocks / 1000 * 618).max(1);
    while common(step, blocks) != 1 {
        step += 1;
    }
    step
}
