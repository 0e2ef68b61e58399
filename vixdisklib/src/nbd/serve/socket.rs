//! One connected stream socket.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown,
};

use super::polling::Polling;
use crate::nbd::limits::Limits;
use crate::nbd::session::ByteStream;

/// Room for replies that the client has not taken yet. The default of Linux makes large replies over Unix sockets
/// twice as slow; the kernel lowers this to what the administrator allows.
const SEND_BUFFER: usize = 1 << 20;

/// How long a write waits before it tells that the client takes nothing.
const STALL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sends_files: bool,
    polling: Polling,
    /// Writes in a row that waited in vain, and how many of them end the connection.
    stalls: AtomicU32,
    most_stalls: Option<u32>,
}

impl Socket {
    /// Takes a connected socket.
    pub(super) fn new(fd: OwnedFd, limits: &Limits) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, false)?;
        let family = sockopt::socket_domain(&fd)?;
        match family {
            AddressFamily::UNIX => sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER)?,
            AddressFamily::INET | AddressFamily::INET6 => tune_tcp(&fd, limits)?,
            _ => {}
        }
        let given = |time: Option<Duration>| time.filter(|time| !time.is_zero());
        // A client that takes nothing for so long fails the write, and with it its session.
        let patience = given(limits.write_timeout);
        let stall = patience.map_or(STALL, |patience| patience.min(STALL));
        let most_stalls = patience
            .map(|patience| patience.as_nanos().div_ceil(stall.as_nanos()))
            .map(|stalls| u32::try_from(stalls).unwrap_or(u32::MAX));
        sockopt::set_socket_timeout(&fd, Timeout::Send, Some(stall))?;
        sockopt::set_socket_timeout(&fd, Timeout::Recv, given(limits.idle_timeout))?;
        Ok(Self {
            fd,
            // TCP copies all the same on loopback, and encryption has to.
            sends_files: limits.send_files
                && family == AddressFamily::UNIX
                && cfg!(target_os = "linux"),
            polling: Polling::new(limits.polling),
            stalls: AtomicU32::new(0),
            most_stalls,
        })
    }

    pub(super) fn shut(&self, how: Shutdown) {
        // The client may have closed before.
        if let Err(error) = shutdown(&self.fd, how) {
            tracing::trace!(%error, ?how, "shutdown of a connection");
        }
    }

    /// Counts what a write did: one that only waited, too often, ends the connection.
    fn noted(&self, sent: rustix::io::Result<usize>) -> io::Result<usize> {
        if sent != Err(Errno::AGAIN) {
            self.stalls.store(0, Ordering::Relaxed);
            return Ok(sent?);
        }
        let stalls = self
            .stalls
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let kind = match self.most_stalls {
            Some(most) if stalls >= most => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::WouldBlock,
        };
        Err(kind.into())
    }
}

impl ByteStream for Socket {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let now = || match recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => None,
            result => Some(result.map(|(read, _)| read)),
        };
        if let Some(result) = self.polling.poll(now) {
            return Ok(result?);
        }
        let read = self.polling.sleep(|| rustix::io::read(&self.fd, buf));
        Ok(read?)
    }

    fn read_until(&self, buf: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            match recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => {}
                result => return Ok(result?.0),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut nothing = SendAncillaryBuffer::new(&mut [] as &mut [MaybeUninit<u8>]);
        // Without a signal, which would end programs that do not expect it.
        self.noted(sendmsg(&self.fd, slices, &mut nothing, SendFlags::NOSIGNAL))
    }

    fn tells_stalls(&self) -> bool {
        true
    }

    fn sends_files(&self) -> bool {
        self.sends_files
    }

    #[cfg(target_os = "linux")]
    fn send_file(&self, file: &File, position: u64, length: usize) -> io::Result<usize> {
        let mut position = position;
        self.noted(rustix::fs::sendfile(
            &self.fd,
            file,
            Some(&mut position),
            length,
        ))
    }

    fn close(&self) {
        self.shut(Shutdown::Both);
    }
}

/// Finds clients whose machine died, which would hold their connection for ever, and sends small replies at once.
fn tune_tcp(socket: &OwnedFd, limits: &Limits) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    let Some(idle) = limits.keepalive else {
        return Ok(());
    };
    const PROBES: u32 = 6;
    // The kernel counts in seconds and takes at most 32767 of them.
    let seconds = |time: Duration| Duration::from_secs(time.as_secs().clamp(1, 32_767));
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, seconds(idle))?;
    sockopt::set_tcp_keepintvl(socket, seconds(idle / PROBES))?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    // Nothing is probed while sent data waits to be acknowledged: this is the same for that case.
    #[cfg(target_os = "linux")]
    {
        let total = u32::try_from((idle * 2).as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, total)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn socket(fd: impl Into<OwnedFd>, limits: &Limits) -> Socket {
        Socket::new(fd.into(), limits).unwrap()
    }

    #[test]
    fn tcp_clients_are_asked_whether_they_live() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = |limits: &Limits| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().unwrap();
            socket(stream, limits)
        };
        let mut limits = Limits {
            keepalive: Some(Duration::from_secs(30)),
            ..Limits::default()
        };
        let socket = accept(&limits).fd;
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap().as_secs(), 30);
        let probing = sockopt::tcp_keepintvl(&socket).unwrap().as_secs()
            * u64::from(sockopt::tcp_keepcnt(&socket).unwrap());
        assert_eq!(probing, 30);
        limits.keepalive = None;
        assert!(!sockopt::socket_keepalive(&accept(&limits).fd).unwrap());
    }

    /// What a socket says that writes until it may not go on.
    fn kinds_until_full(limits: &Limits) -> Vec<io::ErrorKind> {
        let (_client, server) = UnixStream::pair().unwrap();
        let socket = socket(server, limits);
        let mut kinds = Vec::new();
        while kinds.len() < 5 {
            if let Err(error) = socket.write_vectored(&[IoSlice::new(&[7; 1 << 20])]) {
                kinds.push(error.kind());
                if error.kind() != io::ErrorKind::WouldBlock {
                    break;
                }
            }
        }
        kinds
    }

    #[test]
    fn a_client_that_takes_nothing_is_told_of_and_given_up() {
        use io::ErrorKind::{TimedOut, WouldBlock};
        let after = |write_timeout| Limits {
            write_timeout,
            ..Limits::default()
        };
        let shortly = after(Some(2 * STALL));
        assert_eq!(kinds_until_full(&shortly), [WouldBlock, TimedOut]);
        assert_eq!(kinds_until_full(&after(Some(STALL / 4))), [TimedOut]);
        assert_eq!(kinds_until_full(&after(None)), [WouldBlock; 5]);
    }

    #[test]
    fn files_are_sent_only_if_that_is_wanted() {
        let sends = |send_files| {
            let limits = Limits {
                send_files,
                ..Limits::default()
            };
            let (_client, server) = UnixStream::pair().unwrap();
            socket(server, &limits).sends_files()
        };
        assert!(sends(true) && !sends(false));
    }

    #[test]
    fn files_are_sent_from_where_they_are() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let socket = socket(server, &Limits::default());
        assert!(socket.sends_files());
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"0123456789", 0).unwrap();
        assert_eq!(socket.send_file(&file, 3, 4).unwrap(), 4);
        assert_eq!(socket.send_file(&file, 8, 4).unwrap(), 2);
        assert_eq!(socket.send_file(&file, 10, 4).unwrap(), 0);
        drop(socket);
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "345689");
    }
}
