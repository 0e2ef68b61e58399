//! Serves virtual disks over NBD, so that any client can use them without knowing their format.
//!
//! ```text
//! cargo run --release --example serve_nbd -- [OPTIONS] [DISK.vmdk | FOLDER | 'WILDCARD']...
//! ```
//!
//! Without a disk it serves a small sample, read-only. SIGINT and SIGTERM stop it: running requests are finished, and all
//! that was written is made durable.
//!
//! ```text
//! main        main.rs        from the options to a running server, and back
//!   options     options.rs     what the command line says
//!   exports     exports.rs     which disks there are, under which names
//!     folders     folders.rs     disks that are found when a client asks for them
//!     layers      layers.rs      what lies between a disk and its clients
//!   connect     connect.rs     the library, and the server that the disks are on
//!   listeners   listeners.rs   where clients come from
//!   announce    announce.rs    who is told where the server is: readers of the output, the pid file
//!   run         run.rs         a command that lives as long as the server does
//!   process     process.rs     signals, the parent, privileges
//!   probe       probe.rs       facts about the library, for scripts
//!   logs        logs.rs        what is said on standard error
//! ```

mod announce;
#[path = "../common/mod.rs"]
mod common;
mod connect;
mod exports;
mod folders;
mod layers;
mod listeners;
mod logs;
mod options;
mod probe;
mod process;
mod run;
#[path = "../sample/mod.rs"]
mod sample;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use vixdisklib::nbd::{Server, inherited_sockets};

use announce::PidFile;
use common::Result;
use exports::Exports;
use listeners::Listeners;
use options::Options;
use process::{Parent, Signals};

fn main() -> ExitCode {
    let options = Options::parse();
    logs::start(options.verbose);
    common::exit_code("serve_nbd", serve(&options))
}

fn serve(options: &Options) -> Result<ExitCode> {
    let parent = Parent::now();
    // Before anything else opens files.
    let inherited = inherited_sockets()?;
    // Before anything that has to be undone, so that no signal ends the process half way.
    let signals = Signals::catch()?;
    if options.exit_with_parent {
        parent.follow()?;
    }
    let library = connect::library(options)?;
    if options.probe {
        return probe::print(&library).map(|()| ExitCode::SUCCESS);
    }
    let mut listeners = Listeners::new(&options.address, inherited, options.run.is_some())?;
    let exports = Exports::open(options, &library)?;
    let mut server = exports.add_to(Server::new().limits(options.limits.limits()))?;
    if let Some(tls) = listeners::tls(&options.tls)? {
        server = server.tls(tls);
    }
    if options.exit_after_last {
        server = server.stop_after_last_client();
    }
    if let Some(path) = &options.metrics {
        server = server.metrics_unix(path);
    }
    let server = listeners.add_to(server)?.start()?;
    let pid_file = options.pidfile.as_deref().map(PidFile::write).transpose()?;
    if options.privileges.are_dropped() {
        let metrics = options.metrics.as_deref();
        let temporary = exports.temporary_files();
        let temporary = temporary.iter().map(PathBuf::as_path);
        let files = listeners.files().chain(temporary).chain(metrics);
        process::drop_privileges(&options.privileges, files)?;
        if options.exit_with_parent {
            // The kernel forgets it with every change of the user.
            parent.follow()?;
        }
    }
    if options.print_uri || (listeners.are_ours() && options.run.is_none()) {
        announce::uris(&server, exports.is_sample())?;
    }
    let code = thread::scope(|scope| -> Result<ExitCode> {
        let ended = match &options.run {
            None => {
                signals.on_first(scope, |_| server.stop());
                Ok(ExitCode::SUCCESS)
            }
            Some(command) => {
                let ended = run::start(command, &exports, &listeners, &server)
                    .and_then(|child| run::wait(child, scope, &signals));
                server.stop();
                ended
            }
        };
        let stopped = server.wait();
        // Else the thread that waits for one would keep the scope open.
        signals.stop();
        stopped?;
        ended
    })?;
    if options.stats {
        announce::statistics(&server.counters());
    }
    // With the server goes its hold on the disks, so that closing is up to us and its errors are seen.
    drop(server);
    exports.close()?;
    drop(pid_file);
    Ok(code)
}
