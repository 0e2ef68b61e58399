//! Locks on single bytes of a file, as QEMU takes them on its images.
//!
//! Observed with qemu-nbd 10 in `/proc/locks` and with strace: whoever uses permission n of a file holds a shared lock
//! on byte 100 + n, and whoever does not let others use it one on byte 200 + n; having taken them, it asks whether
//! anybody holds the opposite. Permission 0 is reading, 1 writing, 3 changing the length. A writer uses all three, a
//! reader only the first; neither lets others have the other two.
//!
//! The locks belong to the open file, not to the process, and end when it is closed.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// Where the locks of used permissions are.
const USED: i64 = 100;
/// Where those of permissions are that others may not use.
const REFUSED: i64 = 200;
/// Permissions that are known, and some more.
const ALL: i64 = 64;

/// What an open file is used for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    used: &'static [i64],
    refused: &'static [i64],
}

pub(super) const WRITER: Use = Use {
    used: &[READ, WRITE, RESIZE],
    refused: &[WRITE, RESIZE],
};

pub(super) const READER: Use = Use {
    used: &[READ],
    refused: &[WRITE, RESIZE],
};

/// Takes the locks of a use; `false`, with none taken, if somebody has the file for a use that conflicts.
pub(super) fn try_lock(file: &File, usage: Use) -> io::Result<bool> {
    let result = try_take(file, usage);
    if !matches!(result, Ok(true)) {
        for base in [USED, REFUSED] {
            // Closing the file ends them all the same.
            let _ = set(file, libc::F_UNLCK, base, ALL);
        }
    }
    result
}

fn try_take(file: &File, usage: Use) -> io::Result<bool> {
    let used = usage.used.iter().map(|permission| (USED, permission));
    let refused = usage.refused.iter().map(|permission| (REFUSED, permission));
    for (base, permission) in used.clone().chain(refused.clone()) {
        if !set(file, libc::F_RDLCK, base.saturating_add(*permission), 1)? {
            return Ok(false);
        }
    }
    for (base, permission) in used.chain(refused) {
        let opposite = if base == USED { REFUSED } else { USED };
        if is_held(file, opposite.saturating_add(*permission))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn range(kind: libc::c_int, start: i64, length: i64) -> libc::flock {
    let small = |number: libc::c_int| {
        libc::c_short::try_from(number).expect("constants of locks are small numbers")
    };
    libc::flock {
        l_type: small(kind),
        l_whence: small(libc::SEEK_SET),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

fn set(file: &File, kind: libc::c_int, start: i64, length: i64) -> io::Result<bool> {
    loop {
        return match fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, start, length))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(Errno::EINTR) => continue,
            Err(error) => Err(unsupported(error)),
        };
    }
}

/// Whether anybody else has a lock on a byte.
fn is_held(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, byte, 1);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(unsupported)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

fn unsupported(error: Errno) -> io::Error {
    match error {
        Errno::EINVAL | Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP => {
            io::ErrorKind::Unsupported.into()
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_readers_or_one_writer() {
        let scratch = tempfile::NamedTempFile::new().expect("a scratch file");
        let open = || File::open(scratch.path()).expect("opens");
        let (one, two, three) = (open(), open(), open());
        assert!(try_lock(&one, READER).expect("lock"));
        assert!(try_lock(&two, READER).expect("lock"));
        assert!(!try_lock(&three, WRITER).expect("lock"));
        drop(one);
        assert!(!try_lock(&three, WRITER).expect("lock"));
        drop(two);
        assert!(try_lock(&three, WRITER).expect("lock"));
        assert!(!try_lock(&open(), READER).expect("lock"));
        assert!(!try_lock(&open(), WRITER).expect("lock"));
        drop(three);
        assert!(try_lock(&open(), READER).expect("lock"));
    }
}
