//! Commands at run time: a Unix socket that takes one in a line.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use vsphere_sim::{Plan, Simulator};

use crate::Result;

/// The longest command in bytes.
const MAX_LINE: u64 = 4096;
const HELP: &str = "\
inject NAME[=ARGS]   let something go wrong, as --inject
clear [NAME]         take back the injections of this name, or all
list                 what may go wrong, and how often it did
expire-sessions      end all logins
disconnect           end all connections to the data port
switch-host          end them, and let the data port be another one
nfc-port             the present data port
transcript           what clients did so far, one event in a line
help                 this
";

/// The socket. It goes when this is dropped.
pub(crate) struct Control {
    path: PathBuf,
}

impl Control {
    /// Begins to take commands, from this user only.
    pub(crate) fn listen(path: &Path, simulator: &Arc<Simulator>) -> Result<Self> {
        let named = |error: io::Error| format!("--control {}: {error}", path.display());
        let listener = UnixListener::bind(path).map_err(named)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
        // The threads end with the process; until then they do not keep the simulator.
        let simulator = Arc::downgrade(simulator);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let simulator = Weak::clone(&simulator);
                thread::spawn(move || {
                    // Who gave a command and left has no use for an error.
                    let _ = serve(&stream, &simulator);
                });
            }
        });
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(stream: &UnixStream, simulator: &Weak<Simulator>) -> io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if (&mut reader).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == MAX_LINE && !line.ends_with('\n') {
            // What follows is no command of its own.
            let refusal = format!("error: a command has fewer than {MAX_LINE} bytes\n");
            return writer.write_all(refusal.as_bytes());
        }
        let Some(simulator) = simulator.upgrade() else {
            return Ok(());
        };
        let reply = match carry_out(line.trim(), &simulator) {
            Ok(text) => format!("{text}ok\n"),
            Err(error) => format!("error: {error}\n"),
        };
        drop(simulator);
        writer.write_all(reply.as_bytes())?;
    }
}

/// What is said before the `ok`.
fn carry_out(line: &str, simulator: &Simulator) -> Result<String> {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim();
    match (command, argument) {
        ("inject", plan) => simulator.inject(plan.parse::<Plan>()?),
        ("clear", "") => return Ok(format!("{}\n", simulator.clear(None))),
        ("clear", name) => return Ok(format!("{}\n", simulator.clear(Some(name)))),
        ("list", "") => {
            let lines = simulator.injections().into_iter().map(|(plan, times)| {
                let Plan { injection, .. } = plan;
                format!("{injection} {times}\n")
            });
            return Ok(lines.collect());
        }
        ("expire-sessions", "") => simulator.expire_sessions(),
        ("disconnect", "") => simulator.disconnect_all(),
        ("switch-host", "") => {
            simulator.switch_host()?;
            return Ok(format!("{}\n", simulator.nfc_port()));
        }
        ("nfc-port", "") => return Ok(format!("{}\n", simulator.nfc_port())),
        ("transcript", "") => {
            let entries = simulator.transcript().entries();
            return Ok(entries.iter().map(|entry| format!("{entry}\n")).collect());
        }
        ("help", "") => return Ok(HELP.to_owned()),
        _ => return Err(format!("{command:?} is no such command; help lists them").into()),
    }
    Ok(String::new())
}
