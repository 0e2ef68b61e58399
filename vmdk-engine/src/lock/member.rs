//! One lock file: who holds or wants which lock. 512 bytes of text, padded with zeros.
//!
//! Facts: the lock files of open-vm-tools. How the hash of the location is seeded there is not public; only locks of
//! the own machine are judged by it, and those are all ours.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::machine;
use super::process::{self, ProcessId};

/// The length of a lock file.
pub(super) const MEMBER_LEN: usize = 512;
/// Fields behind these are ignored.
const MAX_FIELDS: usize = 16;

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Exclusive,
    Shared,
}

impl Share {
    pub(super) fn conflicts_with(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// What a lock file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    machine: String,
    process: ProcessId,
    name: String,
    /// Whoever has the smaller number came first.
    pub(super) number: u64,
    pub(super) share: Share,
    /// A hash of the lock folder's path.
    location: Option<u32>,
}

impl Member {
    /// A lock of this process.
    pub(super) fn own(number: u64, share: Share, folder: &Path) -> Self {
        Self {
            machine: machine::own().to_owned(),
            process: process::own(),
            name: process::own_name().to_owned(),
            number,
            share,
            location: Some(location_of(folder)),
        }
    }

    /// Whether nobody holds this lock any more, as far as this machine can tell: its process is gone, or it was copied
    /// here from another folder.
    pub(super) fn is_stale(&self, folder: &Path) -> bool {
        machine::is_same(&self.machine, machine::own())
            && (!self.process.is_running()
                || self
                    .location
                    .is_some_and(|location| location != location_of(folder)))
    }

    /// Reads a lock file; `None` if it is not one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != MEMBER_LEN {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == 0);
        let (text, padding) = bytes.split_at(end.unwrap_or(bytes.len()));
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return None;
        }
        let mut fields = text
            .split(' ')
            .filter(|field| !field.is_empty())
            .take(MAX_FIELDS);
        let machine = fields.next()?.to_owned();
        let (process, name) = parse_process(fields.next()?)?;
        let number = fields.next()?.parse().ok()?;
        let share = match fields.next()? {
            "X" => Share::Exclusive,
            "S" => Share::Shared,
            _ => return None,
        };
        // A location in an unknown form says nothing.
        let location = fields
            .find_map(|field| field.strip_prefix("lc="))
            .and_then(|location| location.parse().ok());
        Some(Self {
            machine,
            process,
            name,
            number,
            share,
            location,
        })
    }

    pub(super) fn to_bytes(&self) -> [u8; MEMBER_LEN] {
        let share = match self.share {
            Share::Exclusive => "X",
            Share::Shared => "S",
        };
        let created = self.process.created;
        let name = match self.name.as_str() {
            "" => String::new(),
            name => format!("({name})"),
        };
        let process = match created {
            Some(created) => format!("{}-{created}{name}", self.process.pid),
            None => self.process.pid.to_string(),
        };
        let created = created.unwrap_or(0);
        let (machine, number) = (&self.machine, self.number);
        let mut text = format!("{machine} {process} {number} {share} {created}");
        if let Some(location) = self.location {
            text.push_str(&format!(" lc={location}"));
        }
        let mut bytes = [0; MEMBER_LEN];
        for (byte, letter) in bytes.iter_mut().zip(text.bytes()) {
            *byte = letter;
        }
        bytes
    }
}

/// Who it is, for messages.
impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {}", self.process.pid)?;
        if !self.name.is_empty() {
            write!(formatter, " ({})", self.name)?;
        }
        if machine::is_same(&self.machine, machine::own()) {
            formatter.write_str(" of this machine")
        } else {
            write!(formatter, " of the machine {}", self.machine)
        }
    }
}

/// `<pid>-<time of creation>(<name>)`; old lock files have the process id alone.
fn parse_process(field: &str) -> Option<(ProcessId, String)> {
    let (numbers, name) = match field.split_once('(') {
        Some((numbers, name)) => (numbers, name.strip_suffix(')').unwrap_or(name)),
        None => (field, ""),
    };
    let (pid, created) = match numbers.split_once('-') {
        Some((pid, created)) => (pid, Some(created.parse().ok()?)),
        None => (numbers, None),
    };
    let pid = pid.parse().ok()?;
    Some((ProcessId { pid, created }, name.to_owned()))
}

/// The well-known hash of D. J. Bernstein.
fn location_of(folder: &Path) -> u32 {
    let bytes = folder.as_os_str().as_bytes();
    bytes.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn padded(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(MEMBER_LEN, 0);
        bytes
    }

    #[test]
    fn the_own_lock_is_read_back_and_is_alive() {
        let folder = Path::new("/vms/disk.vmdk.lck");
        let member = Member::own(7, Share::Exclusive, folder);
        let bytes = member.to_bytes();
        assert_eq!(Member::parse(&bytes), Some(member.clone()));
        assert!(!member.is_stale(folder));
        assert!(member.is_stale(Path::new("/copy/disk.vmdk.lck")));
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let fields: Vec<&str> = text.trim_end_matches('\0').split(' ').collect();
        assert_eq!(fields.len(), 6, "{text}");
        assert_eq!(fields[0], machine::own());
        assert!(fields[1].starts_with(&format!("{}-", std::process::id())));
        assert_eq!(&fields[2..4], ["7", "X"]);
        assert!(fields[1].contains(&format!("-{}", fields[4])));
        assert!(fields[5].starts_with("lc="));
    }

    #[test]
    fn the_forms_of_other_programs_are_understood_and_never_stale() {
        for text in [
            "uuid=56-4d-1c-b3 4711-9876(vmware-vmx) 3 S 9876 lc=12345",
            "AbCdEfGhIjKlMn+- 1 12 X 0",
            "AbCdEfGhIjKlMn+-  99999999 12 S 0 lc=unknown one two three",
            "other 4711-9876 0 X",
        ] {
            let member = Member::parse(&padded(text)).unwrap_or_else(|| panic!("{text}"));
            assert!(!member.is_stale(Path::new("/x")), "{text}");
        }
    }

    #[test]
    fn a_dead_process_and_a_reused_number_are_stale() {
        let own = machine::own();
        let pid = std::process::id();
        for process in [format!("{pid}-1(old)"), "4000000000".to_owned()] {
            let member = Member::parse(&padded(&format!("{own} {process} 3 X 1")));
            assert!(
                member.expect("valid").is_stale(Path::new("/x")),
                "{process}"
            );
        }
        let member = Member::parse(&padded(&format!("{own} {pid} 3 X 1")));
        assert!(!member.expect("valid").is_stale(Path::new("/x")));
    }

    #[test]
    fn what_is_no_lock_file_is_seen() {
        let valid = "machine 1-2(x) 3 X 2";
        assert!(Member::parse(&padded(valid)).is_some());
        assert!(Member::parse(valid.as_bytes()).is_none(), "short");
        for text in [
            "",
            "machine",
            "machine x 3 X 2",
            "machine 1-x 3 X 2",
            "machine 1-2 x X 2",
            "machine 1-2 3 Y 2",
            "machine 1-2 3 X\n2",
            "machine 1-2 3 X \0 2",
            "machine 99999999999 3 X 2",
        ] {
            assert!(Member::parse(&padded(text)).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Member::parse(&bytes);
        }

        #[test]
        fn hostile_text_never_panics(text in "[ -~]{0,512}") {
            if let Some(member) = Member::parse(&padded(&text)[..MEMBER_LEN]) {
                let _ = member.is_stale(Path::new("/x"));
                let _ = member.to_string();
            }
        }

        #[test]
        fn every_lock_file_is_read_back(
            pid in 1..4_000_000_u32,
            created in proptest::option::of(any::<u64>()),
            number in any::<u64>(),
            is_shared in any::<bool>(),
            location in proptest::option::of(any::<u32>()),
        ) {
            let share = if is_shared { Share::Shared } else { Share::Exclusive };
            let name = if created.is_some() { "some-name" } else { "" }.to_owned();
            let machine = "AbCdEfGhIjKlMn+-".to_owned();
            let process = ProcessId { pid, created };
            let member = Member { machine, process, name, number, share, location };
            prop_assert_eq!(Member::parse(&member.to_bytes()), Some(member));
        }
    }
}
