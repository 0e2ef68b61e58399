//! Serves a virtual disk over NBD, so that any client can use it without knowing its format.
//!
//! ```text
//! cargo run --release --example serve_nbd -- [--unix PATH | --listen ADDR:PORT] [--read-only] [--export NAME]
//!     [--libdir DIR] [--run COMMAND] DISK.vmdk
//! ```
//!
//! The first line on standard output is the URI for clients. Without a disk it serves a small sample, read-only.
//! SIGINT and SIGTERM stop it: running requests are finished, and all that was written is made durable.

mod common;
mod sample;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;

use clap::{ArgAction, Parser};
use rustix::process::{Pid, Signal, kill_process};
use sample::Sample;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use vixdisklib::nbd::{DiskExport, Server, ServerHandle};
use vixdisklib::{OpenFlags, SharedDisk};

/// Serves a virtual disk over NBD.
#[derive(Parser)]
#[command(name = "serve_nbd")]
struct Arguments {
    /// Listen at a Unix socket, which only you can connect to
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    unix: Option<PathBuf>,
    /// Listen at a TCP address, open to everybody who can reach it; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:10809")]
    listen: String,
    /// Open the disk for reading only, and refuse writes
    #[arg(long)]
    read_only: bool,
    /// The name by which clients ask for the disk; the empty name always works too
    #[arg(long, value_name = "NAME", default_value = "")]
    export: String,
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// Run this shell command, with the URI in $uri, then stop and end with its exit status.
    /// $nbd, $unixsocket, $port and $exportname are set too
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Say more about what happens, on standard error; repeat for still more
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// The virtual disk; a small sample if there is none
    #[arg(value_name = "DISK.vmdk")]
    disk: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(arguments.verbose);
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("serve_nbd: {}", common::explain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // What the library says about a failure is part of the error, which is printed once.
    let library = if verbose == 0 {
        LevelFilter::OFF
    } else {
        level
    };
    let filter = Targets::new()
        .with_default(level)
        .with_target("vixdisklib::library", library);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    // Before anything that has to be undone, so that no signal ends the process half way.
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let sample = match arguments.disk {
        Some(_) => None,
        None => Some(Sample::unpack()?),
    };
    let disk = open(arguments, sample.as_ref())?;
    let server = serve(arguments, &disk)?;
    announce(&server, sample.is_some() && arguments.run.is_none())?;
    let code = match &arguments.run {
        None => {
            wait_for_signal(signals);
            ExitCode::SUCCESS
        }
        Some(command) => run_command(command, arguments, &server, signals)?,
    };
    server.stop();
    server.wait()?;
    // With the server goes its hold on the disk, so that closing is up to us and its error is seen.
    drop(server);
    disk.close()?;
    Ok(code)
}

fn open(arguments: &Arguments, sample: Option<&Sample>) -> Result<SharedDisk, Box<dyn Error>> {
    let sample = sample.map(Sample::path);
    let path: &Path = match (&arguments.disk, &sample) {
        (Some(disk), _) => disk,
        (None, Some(sample)) => sample,
        (None, None) => unreachable!("there is a sample if there is no disk"),
    };
    let connection = common::connect(arguments.libdir.as_ref(), false)?;
    let open = |flags| connection.open_disk(path, flags);
    let disk = if arguments.read_only || sample.is_some() {
        open(OpenFlags::READ_ONLY)?
    } else {
        open(OpenFlags::empty()).map_err(|error| {
            let line = common::explain(&error);
            match open(OpenFlags::READ_ONLY) {
                Ok(_) => format!("{line} (it can be opened with --read-only)"),
                Err(_) => line,
            }
        })?
    };
    Ok(disk.into_shared()?)
}

fn serve(arguments: &Arguments, disk: &SharedDisk) -> Result<ServerHandle, Box<dyn Error>> {
    let description = disk
        .name()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let export = DiskExport::new(disk.clone())?;
    let server = Server::new().export(&arguments.export, description, export);
    let server = match &arguments.unix {
        Some(path) => server.listen_unix(path),
        None => server.listen_tcp(resolve(&arguments.listen)?),
    };
    Ok(server.start()?)
}

fn resolve(address: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let found = address
        .to_socket_addrs()
        .map_err(|error| format!("--listen {address}: {error}; it takes ADDR:PORT"))?
        .next();
    found.ok_or_else(|| format!("--listen {address}: no such address").into())
}

/// Prints the URI, which others may wait for, and what to do with the sample if somebody is there to read it.
fn announce(server: &ServerHandle, hints: bool) -> io::Result<()> {
    let uri = uri(server);
    let mut text = format!("{uri}\n");
    if hints {
        text += &format!(
            "\n\
             This is a small sample disk, read-only. In another terminal, try\n\
             \n\
             \x20   nbdinfo '{uri}'\n\
             \x20   nbdinfo --map '{uri}'\n\
             \x20   nbdcopy '{uri}' hello.img && strings hello.img | head -20\n\
             \x20   qemu-img convert -O qcow2 '{uri}' hello.qcow2\n\
             \n\
             Ctrl-C stops. To serve a disk of yours:\n\
             \n\
             \x20   cargo run --release --example serve_nbd -- --read-only DISK.vmdk\n",
        );
    }
    // At once: who reads the first line only may be gone before a second write.
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn uri(server: &ServerHandle) -> &str {
    // One address and one export make one URI.
    server.uris().first().map_or("", String::as_str)
}

/// Waits for the first signal. The next one ends the process at once, whatever still runs.
fn wait_for_signal(mut signals: Signals) {
    let first = signals.forever().next();
    tracing::info!(signal = first, "stopping");
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            std::process::exit(128 + signal);
        }
    });
}

/// Runs `command` and returns the exit code that says how it ended.
fn run_command(
    command: &str,
    arguments: &Arguments,
    server: &ServerHandle,
    signals: Signals,
) -> Result<ExitCode, Box<dyn Error>> {
    let name = &arguments.export;
    let socket = arguments
        .unix
        .as_ref()
        .map(std::path::absolute)
        .transpose()?;
    let port = server.tcp_addresses().first().map(SocketAddr::port);
    // The form that older clients know.
    let mut nbd = match (&socket, server.tcp_addresses().first()) {
        (Some(path), _) => format!("nbd:unix:{}", path.display()),
        (None, Some(address)) => format!("nbd:{address}"),
        (None, None) => String::new(),
    };
    if !name.is_empty() {
        nbd = format!("{nbd}:exportname={name}");
    }
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("uri", uri(server))
        .env("nbd", nbd)
        .env("unixsocket", socket.unwrap_or_default())
        .env(
            "port",
            port.map(|port| port.to_string()).unwrap_or_default(),
        )
        .env("exportname", name)
        .spawn()
        .map_err(|error| format!("cannot run sh: {error}"))?;
    pass_signals(&child, signals);
    let status = child.wait()?;
    Ok(exit_code(status))
}

/// Hands the first signal on to the command; when that has ended, so does the server. The next one ends the process.
fn pass_signals(child: &Child, mut signals: Signals) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    thread::spawn(move || {
        let mut passed = false;
        for signal in signals.forever() {
            if passed {
                std::process::exit(128 + signal);
            }
            passed = true;
            if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal))
                && let Err(error) = kill_process(pid, signal)
            {
                tracing::debug!(%error, "the command has ended already");
            }
        }
    });
}

/// As shells do: the code of the command, or 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
