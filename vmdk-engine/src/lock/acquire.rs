//! Getting into a lock folder, waiting for one's turn, and getting out again.
//!
//! Whoever wants a lock announces that it is choosing a number, takes one more than the highest there is, and enters
//! its lock file. Then it waits until whoever is choosing has finished, and until no conflicting lock has a smaller number: what
//! Lamport called a bakery. Nothing of it needs more of a file system than that names are made, renamed and removed at
//! once, so that it works over a network, too.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::folder::{Entry, Found, Kind, LockFolder, OpenFolder};
use super::member::{Member, Share};
use super::{FileLock, pause};
use crate::gate::GateError;

/// Somebody who has not finished choosing after this is taken for dead.
const MOST_CHOOSING: Duration = Duration::from_secs(8);
/// Others remove the folder, or have chosen the same digits, only now and then.
const MAX_TRIES: u32 = 10_000;
/// At first, a lock is asked for so often.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LAST_POLL: Duration = Duration::from_secs(2);
/// How long it stays with the first interval.
const FIRST_POLLS: Duration = Duration::from_secs(2);
/// Choosing takes only a moment.
const CHOOSING_POLL: Duration = Duration::from_millis(1);

/// Whether there is no exclusive lock; changes nothing, whatever it finds.
pub(super) fn look(folder: &LockFolder) -> Result<(), GateError> {
    let Some(open) = folder.open()? else {
        return Ok(());
    };
    for entry in open.entries(Kind::Lock)? {
        match open.read(entry) {
            Ok(Found::Member(member)) => {
                if member.share == Share::Exclusive && !member.is_stale(&folder.path()) {
                    return Err(GateError::Locked(member.to_string()));
                }
            }
            Ok(Found::Corrupt | Found::Gone) => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(())
}

/// Takes the lock, or gives up after `patience`.
pub(super) fn acquire(
    folder: LockFolder,
    share: Share,
    patience: Duration,
) -> Result<FileLock, GateError> {
    let (open, held) = match enter(&folder, share) {
        Ok(entered) => entered,
        // Where nobody can write, nobody needs to be kept from it.
        Err(error) if share == Share::Shared && is_read_only(&error) => {
            return look(&folder).map(|()| FileLock::none());
        }
        Err(error) => return Err(GateError::NoLock(error)),
    };
    held.wait(&open, patience)?;
    Ok(FileLock::new(held))
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn unreadable(error: io::Error) -> GateError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        GateError::Locked("somebody whose lock cannot be read".to_owned())
    } else {
        GateError::NoLock(error)
    }
}

/// Makes a lock file with the next number.
fn enter(folder: &LockFolder, share: Share) -> io::Result<(OpenFolder, Held)> {
    for _ in 0..MAX_TRIES {
        let open = folder.open_or_make()?;
        let digits = random_digits()?;
        match open.begin_choosing(digits) {
            Ok(true) => {}
            Ok(false) => continue,
            // Whoever was last in it has removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                folder.remove_if_empty();
                return Err(error);
            }
        }
        let entered = next_number(&open).and_then(|number| {
            let member = Member::own(number, share, &folder.path());
            open.enter(digits, &member)?;
            Ok(Held {
                folder: folder.clone(),
                digits,
                number,
                share,
            })
        });
        open.remove(Entry::new(Kind::Choosing, digits));
        return match entered {
            Ok(held) => Ok((open, held)),
            Err(error) => {
                folder.remove_if_empty();
                Err(error)
            }
        };
    }
    Err(io::Error::other(
        "the lock folder comes and goes, or is full",
    ))
}

fn random_digits() -> io::Result<u16> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_le_bytes(random))
}

fn next_number(open: &OpenFolder) -> io::Result<u64> {
    let mut highest: u64 = 0;
    for entry in open.entries(Kind::Lock)? {
        match open.read(entry) {
            Ok(Found::Member(member)) => highest = highest.max(member.number),
            Ok(Found::Corrupt | Found::Gone) => {}
            // Somebody else's: it is in the way later.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(highest.saturating_add(1))
}

/// A lock file of ours, which is removed when this is dropped.
#[derive(Debug)]
struct Held {
    folder: LockFolder,
    digits: u16,
    number: u64,
    share: Share,
}

impl Held {
    /// Waits until it is this lock's turn.
    fn wait(&self, open: &OpenFolder, patience: Duration) -> Result<(), GateError> {
        let start = Instant::now();
        let mut choosing = Choosing::now(open).map_err(GateError::NoLock)?;
        let mut choosing_poll = CHOOSING_POLL;
        let mut poll = FIRST_POLL;
        loop {
            // In this order: who has finished choosing before this has a lock file before that.
            let is_chosen = choosing.is_over(open);
            let Some(other) = self.first_before(open)? else {
                if is_chosen {
                    return Ok(());
                }
                thread::sleep(pause(choosing_poll));
                choosing_poll = choosing_poll.saturating_mul(2).min(FIRST_POLL);
                continue;
            };
            let waited = start.elapsed();
            let Some(rest) = patience.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                return Err(GateError::Locked(other));
            };
            thread::sleep(pause(poll).min(rest));
            if waited > FIRST_POLLS {
                poll = poll.saturating_mul(2).min(LAST_POLL);
            }
        }
    }

    /// Who has a conflicting lock that comes before this one. Locks that nobody holds any more are removed.
    fn first_before(&self, open: &OpenFolder) -> Result<Option<String>, GateError> {
        let mut is_there = false;
        for entry in open.entries(Kind::Lock).map_err(GateError::NoLock)? {
            if entry.digits == self.digits {
                is_there = true;
                continue;
            }
            match open.read(entry) {
                Ok(Found::Gone) => {}
                Ok(Found::Corrupt) => {
                    tracing::warn!(digits = entry.digits, "a damaged lock file is removed");
                    open.remove(entry);
                }
                Ok(Found::Member(member)) if member.is_stale(&self.folder.path()) => {
                    tracing::info!(%member, "a lock that nobody holds any more is removed");
                    open.remove(entry);
                }
                Ok(Found::Member(member)) => {
                    let is_before = (member.number, entry.digits) < (self.number, self.digits);
                    if is_before && member.share.conflicts_with(self.share) {
                        return Ok(Some(member.to_string()));
                    }
                }
                Err(error) => return Err(unreadable(error)),
            }
        }
        if is_there {
            Ok(None)
        } else {
            Err(GateError::NoLock(io::Error::other(
                "somebody removed the lock file that was just made",
            )))
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.folder.open() {
            Ok(Some(open)) => open.remove(Entry::new(Kind::Lock, self.digits)),
            Ok(None) => {
                tracing::warn!(folder = %self.folder.path().display(), "the lock folder is gone");
            }
            Err(error) => tracing::warn!(%error, "a lock file could not be removed"),
        }
        self.folder.remove_if_empty();
    }
}

/// Who was choosing when a lock file had just been entered. Who begins later finds that file, and comes behind it.
#[derive(Debug)]
struct Choosing {
    since: Instant,
    others: Vec<(Entry, (u64, i64))>,
}

impl Choosing {
    fn now(open: &OpenFolder) -> io::Result<Self> {
        let others = open.entries(Kind::Choosing)?.into_iter();
        let others = others.filter_map(|entry| Some((entry, open.identity(entry)?)));
        Ok(Self {
            since: Instant::now(),
            others: others.collect(),
        })
    }

    /// Whether all of them have finished. Who does nothing for a long time has died at it, and is removed.
    fn is_over(&mut self, open: &OpenFolder) -> bool {
        self.others
            .retain(|(entry, before)| open.identity(*entry) == Some(*before));
        if self.since.elapsed() > MOST_CHOOSING {
            for (entry, _) in self.others.drain(..) {
                tracing::warn!(
                    digits = entry.digits,
                    "a lock that was never finished is removed"
                );
                open.remove(Entry::new(Kind::Draft, entry.digits));
                open.remove(entry);
            }
        }
        self.others.is_empty()
    }
}
