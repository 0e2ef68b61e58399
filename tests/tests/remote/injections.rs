//! Each error that the simulator can inject: the code and the hint that a program gets, that it gets no wrong data, and
//! that nothing is lost.

mod rows;

use std::collections::BTreeSet;

use vixdisklib::{Error, Hint, OpenFlags, Sector, SectorRange, Transport, VixError};
use vsphere_sim::{Event, Profile};

use rows::{
    Connect, Expected, Fails, LARGE, NONE, Open, PROPERTIES, READER, Read, Row, Step, WRITER,
    Works, Write,
};

use crate::site::{Client, READ_ONLY, Site, content, data_runs, eventually, length, place};

/// So many injections the simulator has.
const INJECTIONS: usize = 38;

/// Bytes of a call.
const PIECE: usize = 128 << 10;
/// What no disk of these tests holds for long.
const UNTOUCHED: u8 = 0xee;

fn name(plan: &str) -> &str {
    plan.split_once('=').map_or(plan, |(name, _)| name)
}

/// A disk, and who uses it.
struct World {
    site: Site,
    client: Client,
    content: Vec<u8>,
}

type Failed = (Step, Error);

impl World {
    fn new(client: Client) -> Self {
        let content = content((1 << 20) + 512, 21);
        Self {
            site: Site::new(Profile::Esxi8Vcenter, &content),
            client,
            content,
        }
    }

    fn open(&self, flags: OpenFlags) -> Result<vixdisklib::Disk, Failed> {
        let connection = self.client.connect(&self.site, Transport::NBDSSL);
        let connection = connection.map_err(|error| (Connect, error))?;
        let disk = connection.open_disk(place("disk.vmdk"), flags);
        disk.map_err(|error| (Open, error))
    }

    /// Reads everything, and looks what is allocated.
    fn read(&self, flags: OpenFlags) -> Result<(), Failed> {
        let disk = self.open(READ_ONLY | flags)?;
        assert_eq!(length(disk.capacity()), self.content.len());
        for (number, expected) in (0..).zip(self.content.chunks(PIECE)) {
            let mut bytes = vec![UNTOUCHED; expected.len()];
            let read = disk.read_at(Sector::new(number * (PIECE as u64 / 512)), &mut bytes);
            if read.is_err() {
                let is_data = |(byte, expected)| byte == expected || byte == &UNTOUCHED;
                assert!(bytes.iter().zip(expected).all(is_data), "wrong data");
            } else {
                assert!(bytes == expected, "wrong data");
            }
            read.map_err(|error| (Read, error))?;
        }
        let runs = data_runs(&disk).map_err(|error| (Read, error))?;
        self.no_data_is_missing(&runs);
        disk.close().map_err(|error| (Read, error))
    }

    fn no_data_is_missing(&self, runs: &[SectorRange]) {
        for (number, sector) in (0..).zip(self.content.chunks(512)) {
            let is_known = runs.iter().any(|run| run.contains(Sector::new(number)));
            let is_zero = sector.iter().all(|byte| *byte == 0);
            assert!(is_known || is_zero, "sector {number} is left out");
        }
    }

    /// Writes new content piece by piece; gives how many bytes were acknowledged.
    fn write(&self, flags: OpenFlags, data: &[u8]) -> (usize, Result<(), Failed>) {
        let mut acknowledged = 0;
        let result = self.open(flags).and_then(|disk| {
            let mut write = || {
                for piece in data.chunks(PIECE) {
                    disk.write_at(Sector::new(acknowledged as u64 / 512), piece)?;
                    acknowledged += piece.len();
                }
                disk.flush()
            };
            let written = write();
            written
                .and_then(|()| disk.close())
                .map_err(|error| (Write, error))
        });
        (acknowledged, result)
    }

    fn arm(&self, plans: &[&str]) {
        self.site.simulator.clear(None);
        plans.iter().for_each(|plan| self.site.inject(plan));
    }

    /// What differs from what was expected, or was not due to what was injected.
    fn judge(
        &self,
        plans: &[&str],
        expected: Expected,
        result: Result<(), Failed>,
        noted: &[usize],
    ) -> Option<String> {
        let happened = |(plan, before): (&&str, &usize)| {
            PROPERTIES.contains(&name(plan)) || self.noted(plan) > *before
        };
        let all_happened = plans.iter().zip(noted).all(happened);
        self.site.simulator.clear(None);
        let nothing_is_left = eventually(|| {
            self.site.simulator.nfc_connections() == 0 && self.site.simulator.memory_in_use() == 0
        });
        let found = match &result {
            Ok(()) => "it works".to_owned(),
            Err((step, error)) => {
                let code = error.code().unwrap_or(VixError::OK);
                let hint = error.hint().as_ref().map(name_of).unwrap_or_default();
                format!(
                    "{step:?} {} {} {hint}",
                    code.0,
                    code.name().unwrap_or_default()
                )
            }
        };
        let wanted = match expected {
            Works => "it works".to_owned(),
            Fails(step, code, name, hint) => format!("{step:?} {} {name} {hint}", code.0),
        };
        let lines = match &result {
            Ok(()) => String::new(),
            Err((_, error)) => format!("{error} {:?}", error.log_lines()),
        };
        let is_logged = result.is_ok() || lines.contains("LogLine");
        let is_right = all_happened
            && nothing_is_left
            && is_logged
            && found == wanted
            && !lines.contains("correct horse");
        (!is_right).then(|| {
            format!(
                "{plans:?}: {found}, not {wanted} (happened: {all_happened}, nothing left: {nothing_is_left}); {lines}"
            )
        })
    }

    fn noted(&self, plan: &str) -> usize {
        self.site.count(
            |event| matches!(event, Event::Injected { name: known, .. } if *known == name(plan)),
        )
    }
}

/// A hint without what it tells besides.
fn name_of(hint: &Hint) -> String {
    let shown = format!("{hint:?}");
    shown.split(' ').next().unwrap_or_default().to_owned()
}

fn readers(world: &World, table: &[Row]) {
    let mut faults = Vec::new();
    for (plans, flags, expected) in table {
        eprintln!("{plans:?} {flags:?}");
        let noted: Vec<usize> = plans.iter().map(|plan| world.noted(plan)).collect();
        world.arm(plans);
        let result = world.read(*flags);
        faults.extend(world.judge(plans, *expected, result, &noted));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // What was in the way is gone, and everything is there.
    world.read(NONE).expect("it works");
}

#[test]
fn a_reader_gets_the_right_bytes_or_the_right_error() {
    readers(&World::new(Client::start()), READER);
}

#[test]
fn a_reader_takes_smaller_buffers_if_it_must() {
    readers(&World::new(Client::with_large_buffers()), LARGE);
}

#[test]
fn a_writer_loses_nothing_that_was_acknowledged() {
    let mut world = World::new(Client::start());
    let mut faults = Vec::new();
    for (round, (plans, flags, expected)) in (100..).zip(WRITER) {
        eprintln!("{plans:?} {flags:?}");
        let new = content(world.content.len(), round);
        let noted: Vec<usize> = plans.iter().map(|plan| world.noted(plan)).collect();
        world.arm(plans);
        let (acknowledged, result) = world.write(*flags, &new);
        faults.extend(world.judge(plans, *expected, result, &noted));
        let found = world.site.content("disk.vmdk");
        assert!(found[..acknowledged] == new[..acknowledged], "{plans:?}");
        // The piece that failed may be there, in part or not at all; behind it nothing was touched.
        let behind = (acknowledged + PIECE).min(found.len());
        assert!(found[behind..] == world.content[behind..], "{plans:?}");
        let old_or_new =
            (acknowledged..behind).all(|at| found[at] == new[at] || found[at] == world.content[at]);
        assert!(old_or_new, "{plans:?}");
        world.content = found;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    world.read(NONE).expect("it works");
}

/// What is secret is not sent to a server, or to a host, that is not the one that was meant.
#[test]
fn a_wrong_certificate_gets_no_secret() {
    let world = World::new(Client::start());
    let taken = |event: &Event| matches!(event, Event::TicketTaken { .. });
    world.arm(&["management-certificate"]);
    let (step, _) = world.read(NONE).expect_err("another certificate");
    assert_eq!((step, world.site.calls("Login")), (Connect, 0));
    world.arm(&["ticket-thumbprint"]);
    let (step, error) = world.read(NONE).expect_err("another certificate");
    assert_eq!((step, world.site.count(taken)), (Open, 0));
    let Some(Hint::WrongThumbprint { actual, expected }) = error.hint() else {
        panic!("{error}: {:?}", error.log_lines());
    };
    assert!(
        actual.is_some() && actual != expected,
        "{actual:?} {expected:?}"
    );
    for plan in ["announced-sha256", "second-certificate"] {
        world.arm(&[plan]);
        world.read(NONE).expect_err("another certificate");
        let classic = |event: &Event| matches!(event, Event::Classic { .. });
        assert_eq!(world.site.count(classic), 0, "{plan}: nothing was said");
    }
}

/// Open disks under maintenance, which ends their sessions, and after it.
#[test]
fn maintenance_ends_open_disks_and_passes() {
    let world = World::new(Client::start());
    for (state, code) in [
        ("in", VixError::HOST_SERVER_NOT_AVAILABLE),
        ("entering", VixError::HOST_SERVER_SHUTDOWN),
    ] {
        let disk = world.open(READ_ONLY).expect("it opens");
        world.arm(&[&format!("maintenance=state:{state}")]);
        let mut bytes = vec![0; 4096];
        let error = disk.read_at(Sector::ZERO, &mut bytes).expect_err("refused");
        assert_eq!(error.code(), Some(code), "{error}");
        world.arm(&[]);
        // The host is left alone for a second, then asked again.
        assert!(eventually(|| disk
            .read_at(Sector::ZERO, &mut vec![0; 4096])
            .is_ok()));
        disk.read_at(Sector::ZERO, &mut bytes).expect("it is read");
        assert!(bytes == world.content[..4096]);
    }
}

/// At the limit of a vCenter one more disk is refused, and opens when another one was closed.
#[test]
fn the_limit_of_sessions_is_told() {
    let content = content(64 << 10, 4);
    let mut limits = vsphere_sim::Limits::for_profile(Profile::Esxi8Vcenter);
    limits.nfc_sessions = 3;
    let site = Site::changed(Profile::Esxi8Vcenter, &content, |builder| {
        builder.limits(limits)
    });
    let client = Client::start();
    let connection = client.connect(&site, Transport::NBD).expect("connected");
    let open = || connection.open_disk(place("disk.vmdk"), READ_ONLY);
    let mut disks: Vec<_> = (0..3).map(|_| open().expect("it opens")).collect();
    let error = open().expect_err("there are three");
    assert_eq!(error.code(), Some(VixError::OUT_OF_MEMORY), "{error}");
    assert_eq!(error.hint(), Some(Hint::HostMemory));
    drop(disks.pop());
    assert!(eventually(|| site.simulator.nfc_connections() == 2));
    disks.push(open().expect("one was closed"));
}

#[test]
fn every_injection_has_its_row() {
    let rows = READER.iter().chain(WRITER).chain(LARGE);
    let names: BTreeSet<&str> = rows
        .flat_map(|(plans, ..)| plans.iter().copied().map(name))
        .collect();
    assert_eq!(names.len(), INJECTIONS, "{names:?}");
}
