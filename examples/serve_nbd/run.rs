//! A command that finds the server, and ends it by ending.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::Scope;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use vixdisklib::nbd::ServerHandle;

use crate::Result;
use crate::announce::first_uri;
use crate::exports::Exports;
use crate::listeners::Listeners;
use crate::process::Signals;

/// A command that runs.
pub(crate) struct Running {
    child: Child,
    /// Signals go to all that it started, or else to itself alone.
    is_group: bool,
}

/// Starts the shell command of `--run`.
///
/// With a terminal it stays in the process group of this one: that alone may read from the terminal, and gets all of its
/// signals. Otherwise it is a group of its own.
pub(crate) fn start(
    command: &str,
    exports: &Exports,
    listeners: &Listeners,
    server: &ServerHandle,
) -> Result<Running> {
    let name = exports.main_name();
    let socket = listeners.socket();
    let port = server.tcp_addresses().first().map(SocketAddr::port);
    // The form that older clients know.
    let mut nbd = match (socket, server.tcp_addresses().first()) {
        (Some(path), _) => format!("nbd:unix:{}", path.display()),
        (None, Some(address)) => format!("nbd:{address}"),
        (None, None) => String::new(),
    };
    if !name.is_empty() {
        nbd = format!("{nbd}:exportname={name}");
    }
    let is_group = File::open("/dev/tty").is_err();
    let mut shell = Command::new("sh");
    if is_group {
        shell.process_group(0);
    }
    let child = shell
        .arg("-c")
        .arg(command)
        .env("uri", first_uri(server))
        .env("nbd", nbd)
        .env("unixsocket", socket.unwrap_or("".as_ref()))
        .env(
            "port",
            port.map(|port| port.to_string()).unwrap_or_default(),
        )
        .env("exportname", name)
        .spawn();
    let child = child.map_err(|error| format!("--run: cannot run sh: {error}"))?;
    Ok(Running { child, is_group })
}

/// Waits for the command, and returns the exit code that says how it ended. The first signal is handed on to it.
pub(crate) fn wait<'scope>(
    running: Running,
    scope: &'scope Scope<'scope, '_>,
    signals: &'scope Signals,
) -> Result<ExitCode> {
    let Running {
        mut child,
        is_group,
    } = running;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let send = if is_group {
        kill_process_group
    } else {
        kill_process
    };
    signals.on_first(scope, move |signal| {
        if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal))
            && let Err(error) = send(pid, signal)
        {
            tracing::debug!(%error, "the command has ended already");
        }
    });
    Ok(exit_code(child.wait()?))
}

/// As shells do: the code of the command, or 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
