//! A command that finds the server, and ends it by ending.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::Scope;

use rustix::process::{Pid, Signal, kill_process};
use vixdisklib::nbd::ServerHandle;

use crate::Result;
use crate::announce::first_uri;
use crate::exports::Exports;
use crate::listeners::Listeners;
use crate::process::Signals;

/// Starts the shell command of `--run`.
pub(crate) fn start(
    command: &str,
    exports: &Exports,
    listeners: &Listeners,
    server: &ServerHandle,
) -> Result<Child> {
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
    let child = Command::new("sh")
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
    child.map_err(|error| format!("--run: cannot run sh: {error}").into())
}

/// Waits for the command, and returns the exit code that says how it ended. The first signal is handed on to it.
pub(crate) fn wait<'scope>(
    mut child: Child,
    scope: &'scope Scope<'scope, '_>,
    signals: &'scope Signals,
) -> Result<ExitCode> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    signals.on_first(scope, move |signal| {
        if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal))
            && let Err(error) = kill_process(pid, signal)
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
