//! Many rounds leave nothing behind.

use std::fs;

use vixdisklib::{Sector, Transport};
use vsphere_sim::{Event, Profile};

use crate::site::{Client, READ_ONLY, Site, content, eventually, place};

const ROUNDS: usize = 200;

/// The number of entries of a folder of this process in `/proc`.
fn entries(of: &str) -> usize {
    fs::read_dir(format!("/proc/self/{of}"))
        .expect("Linux has it")
        .count()
}

/// Kilobytes of memory that this process has.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.expect("Linux says it").trim();
    line.trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number")
}

#[test]
fn two_hundred_rounds_leak_nothing() {
    let bytes = content(256 << 10, 9);
    let site = Site::new(Profile::Esxi8Vcenter, &bytes);
    let client = Client::start();
    let mut state = None;
    for round in 0..ROUNDS {
        let transport = [Transport::NBD, Transport::NBDSSL][round % 2].clone();
        let connection = client.connect(&site, transport).expect("connected");
        let disk = connection
            .open_disk(place("disk.vmdk"), READ_ONLY)
            .expect("it opens");
        let mut sector = [0; 512];
        let start = round % 512;
        disk.read_at(Sector::new(start as u64), &mut sector)
            .expect("it is read");
        assert_eq!(sector, bytes[start * 512..][..512]);
        match round % 3 {
            0 => disk.close().expect("it is closed"),
            _ => drop(disk),
        }
        drop(connection);
        // What is made once is there by then; threads of the simulator end a moment after their connections.
        if round + 1 == ROUNDS / 10 {
            assert!(eventually(|| site.simulator.nfc_connections() == 0));
            state = Some((entries("fd"), entries("task"), memory()));
        }
    }
    let (files, threads, before) = state.expect("there were that many");
    assert!(eventually(|| site.simulator.nfc_connections() == 0));
    assert!(
        eventually(|| entries("fd") <= files && entries("task") <= threads),
        "{files} files became {}, {threads} threads {}",
        entries("fd"),
        entries("task")
    );
    // The simulator keeps a transcript of all that was done: some 30 events a round.
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} kB more than before");
    assert_eq!(site.simulator.memory_in_use(), 0);
    let logged = |event: &Event| match event {
        Event::LoggedIn { .. } => Some(true),
        Event::LoggedOut { .. } => Some(false),
        _ => None,
    };
    assert_eq!(site.count(|event| logged(event) == Some(true)), ROUNDS);
    assert_eq!(site.count(|event| logged(event) == Some(false)), ROUNDS);
    let closed = |event: &Event| matches!(event, Event::SessionClosed { .. });
    assert_eq!(site.count(closed), ROUNDS);
}
