//! Whether bytes of a file are in the system's cache.

use std::io::IoSliceMut;

use rustix::io::{ReadWriteFlags, preadv2};

use crate::FileRange;

/// Whether sending the range from the file is likely not to wait for the medium. What has to come from there is better
/// read, by several threads at once.
///
/// Linux answers without waiting for either end; what lies between came, or did not, with one of them. Where the
/// question is not supported, nothing is known to be there.
pub(super) fn is_resident(range: &FileRange) -> bool {
    let at = |position: u64| {
        let mut byte = [0];
        let mut slices = [IoSliceMut::new(&mut byte)];
        preadv2(&range.file, &mut slices, position, ReadWriteFlags::NOWAIT) == Ok(1)
    };
    let (first, length) = (range.position.get(), range.length.get());
    let last = length
        .checked_sub(1)
        .and_then(|last| first.checked_add(last));
    at(first) && last.is_some_and(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_units::ByteLen;
    use rustix::fs::{Advice, fadvise};
    use std::fs::File;
    use std::io::Write as _;

    fn range(file: &File, position: u64, length: u64) -> FileRange {
        FileRange {
            file: file.try_clone().unwrap(),
            position: ByteLen::new(position),
            length: ByteLen::new(length),
        }
    }

    #[test]
    fn what_was_written_is_there_and_what_was_dropped_is_not() {
        let mut file = tempfile::tempfile_in(".").unwrap();
        file.write_all(&[7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        assert!(is_resident(&range(&file, 0, 1 << 20)));
        assert!(!is_resident(&range(&file, 1 << 20, 1)), "behind the end");
        assert!(!is_resident(&range(&file, 0, 0)));
        // The system may keep what another processor has just had its hands on.
        let is_dropped = (0..100).any(|_| {
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            !is_resident(&range(&file, 0, 1 << 20))
        });
        assert!(is_dropped);
    }
}
