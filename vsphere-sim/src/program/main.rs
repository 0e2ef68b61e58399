//! Simulates a vCenter or an ESXi host, for tests.
//!
//! ```text
//! vsphere-sim --demo
//! vsphere-sim --inventory FILE
//! ```
//!
//! SIGINT and SIGTERM stop it.
//!
//! ```text
//! main        main.rs        from the options to a running server, and back
//!   options     options.rs     what the command line says
//!   announce    announce.rs    what a client has to know
//!   control     control.rs     commands at run time
//! ```

#![forbid(unsafe_code)]

mod announce;
mod control;
mod options;

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;
use vsphere_sim::{Inventory, Limits, Simulator};

use control::Control;
use options::{Options, TranscriptFormat};

/// What can go wrong; its text names the option that can change it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vsphere-sim: {}", explain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, in one line.
fn explain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line.replace('\n', " ")
}

fn run(options: &Options) -> Result<()> {
    let parent = getppid();
    // Before anything that has to be undone.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if options.exit_with_parent {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have ended just before; somebody else is the parent then.
        if getppid() != parent {
            return Err("--exit-with-parent: the parent has ended already".into());
        }
    }
    let site = Place::prepare(options)?;
    let simulator = Arc::new(start(options, site.inventory.clone())?);
    let control = options
        .control
        .as_deref()
        .map(|path| Control::listen(path, &simulator))
        .transpose()?;
    let told = announce::print(&site.inventory, &simulator, site.password_file.as_deref());
    // A reader that has seen enough is no reason to stop.
    if let Err(error) = told
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(error.into());
    }
    signals.forever().next();
    drop(control);
    drop(simulator);
    site.leave();
    Ok(())
}

fn start(options: &Options, inventory: Inventory) -> Result<Simulator> {
    let mut limits = Limits::for_profile(inventory.profile);
    options.limits.apply(&mut limits);
    let mut builder = Simulator::builder(inventory)
        .address(options.address.ipaddr)
        .port(options.address.port)
        .nfc_port(options.address.nfc_port)
        .latency(options.latency)
        .limits(limits);
    for plan in &options.injections {
        builder = builder.inject(plan.clone());
    }
    let simulator = builder.start()?;
    if let Some(path) = &options.transcript {
        let file = File::create(path)
            .map_err(|error| format!("--transcript {}: {error}", path.display()))?;
        match options.transcript_format {
            TranscriptFormat::Json => simulator.transcript().copy_json_to(file),
            TranscriptFormat::Text => simulator.transcript().copy_text_to(file),
        }
    }
    Ok(simulator)
}

/// The inventory, and what was made for it.
struct Place {
    inventory: Inventory,
    /// The password of the first user is in it.
    password_file: Option<PathBuf>,
    temporary: Option<TempDir>,
}

impl Place {
    fn prepare(options: &Options) -> Result<Self> {
        if let Some(file) = &options.inventory {
            return Ok(Self {
                inventory: Inventory::load(file)?,
                password_file: None,
                temporary: None,
            });
        }
        let (folder, temporary) = match &options.folder {
            Some(folder) => {
                fs::create_dir_all(folder)?;
                (folder.clone(), None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("vsphere-sim-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let inventory = Inventory::demo(&folder, options.profile)?;
        let password_file = folder.join("password");
        if let Some(user) = inventory.users.first() {
            write_secret(&password_file, user.password.reveal())?;
        }
        Ok(Self {
            inventory,
            password_file: Some(password_file),
            temporary,
        })
    }

    /// Removes what was made, unless the user named the place for it.
    fn leave(self) {
        if let Some(folder) = self.temporary
            && let Err(error) = folder.close()
        {
            eprintln!("vsphere-sim: {error}");
        }
    }
}

/// A new file that nobody else can read.
fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(named)?;
    Ok(writeln!(file, "{secret}").map_err(named)?)
}
