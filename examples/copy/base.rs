//! A private copy of an earlier backup.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{SeekFrom as Place, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Copies a file, durably: without moving a byte where the file system shares blocks, else what is no hole.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create(to)?;
    // Before there is anything in it: nobody else may read what nobody else could read before.
    target.set_permissions(source.metadata()?.permissions())?;
    if ioctl_ficlone(&target, &source).is_err() {
        let length = source.metadata()?.len();
        let mut position = 0;
        while let Some(start) = at(&source, Place::Data(position))? {
            let end = at(&source, Place::Hole(start))?.unwrap_or(length);
            source.seek(SeekFrom::Start(start))?;
            target.seek(SeekFrom::Start(start))?;
            copy_bytes(&mut source, &mut target, end - start)?;
            position = end;
        }
        target.set_len(length)?;
    }
    target.sync_all()
}

/// Where the next data, or the next hole, begins; none if there is none any more.
pub(crate) fn at(file: &File, place: Place) -> io::Result<Option<u64>> {
    match seek(file, place) {
        Ok(position) => Ok(Some(position)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn copy_bytes(source: &mut File, target: &mut File, count: u64) -> io::Result<()> {
    let mut piece = vec![0; 1 << 20];
    let mut source = source.take(count);
    loop {
        let length = source.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        target.write_all(&piece[..length])?;
    }
}
