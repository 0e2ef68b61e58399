//! A Unix socket that only its owner can reach, that takes no other server's place, and that leaves nothing behind.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::ServerError;
use super::listener::BACKLOG;

/// A listening socket and the file that it made.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file, to tell it from one that replaced it.
    identity: (u64, u64),
}

impl UnixSocket {
    pub(super) fn bind(path: &Path) -> Result<Self, ServerError> {
        let failed = |error: io::Error| ServerError::listen_path(path, error);
        // Absolute, so that neither the URI nor the clean-up depends on the working directory.
        let path = std::path::absolute(path).map_err(failed)?;
        let address = SocketAddrUnix::new(&path).map_err(|errno| match errno {
            Errno::NAMETOOLONG => failed(io::Error::other(
                "the path of a socket has at most 107 bytes",
            )),
            _ => failed(errno.into()),
        })?;
        clear(&path, &address)?;
        let socket = new_socket().map_err(failed)?;
        // Linux gives the new file the mode of the descriptor. Elsewhere the mode is set just below, before
        // `listen`, and until that nobody can connect. A umask would do too but belongs to the whole process.
        let private = Mode::RUSR | Mode::WUSR;
        rustix::fs::fchmod(&socket, private).map_err(|errno| failed(errno.into()))?;
        match rustix::net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => return Err(ServerError::SocketInUse { path }),
            result => result.map_err(|errno| failed(errno.into()))?,
        }
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        let socket = Self {
            listener: UnixListener::from(socket),
            identity: (metadata.dev(), metadata.ino()),
            path,
        };
        rustix::fs::chmod(&socket.path, private).map_err(|errno| failed(errno.into()))?;
        rustix::net::listen(&socket.listener, BACKLOG).map_err(|errno| failed(errno.into()))?;
        Ok(socket)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "removing the socket");
        }
    }
}

/// Makes room at `path`: removes a socket at which nobody listens, refuses everything else.
fn clear(path: &Path, address: &SocketAddrUnix) -> Result<(), ServerError> {
    let failed = |error: io::Error| ServerError::listen_path(path, error);
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(failed)?,
    };
    if !metadata.file_type().is_socket() {
        return Err(ServerError::NotASocket {
            path: path.to_owned(),
        });
    }
    let probe = new_socket().map_err(failed)?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {
            tracing::info!(path = %path.display(), "replacing the socket of a dead server");
            fs::remove_file(path).map_err(failed)
        }
        // A full queue means that somebody listens.
        Ok(()) | Err(Errno::AGAIN) => Err(ServerError::SocketInUse {
            path: path.to_owned(),
        }),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn is_private_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = UnixSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn replaces_the_dead_but_not_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::bind(&path).unwrap();
        let second = UnixSocket::bind(&path);
        assert!(matches!(second, Err(ServerError::SocketInUse { .. })));
        assert!(path.exists());
        drop(socket);
    }

    #[test]
    fn leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        let result = UnixSocket::bind(&path);
        assert!(matches!(result, Err(ServerError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        let socket = UnixSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "not ours").unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn names_what_is_wrong_with_a_path() {
        let long = UnixSocket::bind(Path::new(&format!("/tmp/{}", "x".repeat(200))));
        let error = long.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("at most 107 bytes"), "{source}");
        let missing = UnixSocket::bind(Path::new("/nonexistent/dir/s")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/dir/s"));
    }
}
