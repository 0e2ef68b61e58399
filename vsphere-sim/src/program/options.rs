//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use vsphere_sim::{Limits, Plan, Profile};

/// Simulates a vCenter or an ESXi host, with virtual disks of this machine, for tests.
///
/// When clients can connect, what they have to know is printed: one key=value in a line, and at last `ready`. SIGINT and
/// SIGTERM stop it.
#[derive(Debug, Parser)]
#[command(name = "vsphere-sim", version)]
pub(crate) struct Options {
    /// Make two virtual machines with disks, and serve them
    #[arg(
        long,
        help_heading = "Inventory",
        required_unless_present = "inventory"
    )]
    pub(crate) demo: bool,
    /// Make the disks of --demo, and the file with the password, in this folder, and leave them there at the end. Default:
    /// in a temporary folder, which goes with the program
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Inventory",
        requires = "demo"
    )]
    pub(crate) folder: Option<PathBuf>,
    /// Which server --demo is: esxi8-vcenter, esxi8-direct or esxi7-direct
    #[arg(
        long,
        value_name = "NAME",
        default_value_t,
        help_heading = "Inventory",
        requires = "demo"
    )]
    pub(crate) profile: Profile,
    /// Serve what this TOML file describes
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Inventory",
        conflicts_with = "demo"
    )]
    pub(crate) inventory: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) address: AddressOptions,
    /// Let something go wrong: NAME or NAME=KEY:VALUE,...; with after:N to let N occasions pass first, and times:N to let
    /// it happen N times. May be given several times
    #[arg(
        long = "inject",
        value_name = "NAME[=ARGS]",
        help_heading = "What goes wrong"
    )]
    pub(crate) injections: Vec<Plan>,
    /// Send every message so many milliseconds later, as from far away
    #[arg(long, value_name = "MS", default_value = "0", value_parser = millis, help_heading = "What goes wrong")]
    pub(crate) latency: Duration,
    /// Take commands at a Unix socket at this path, one in a line; `help` lists them
    #[arg(long, value_name = "PATH", help_heading = "What goes wrong")]
    pub(crate) control: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    /// Write what clients do to this file, one event in a line
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) transcript: Option<PathBuf>,
    /// How: json or text
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "json",
        help_heading = "Output",
        requires = "transcript"
    )]
    pub(crate) transcript_format: TranscriptFormat,
    /// Stop when the process that started this one ends
    #[arg(long, help_heading = "Process")]
    pub(crate) exit_with_parent: bool,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TranscriptFormat {
    Json,
    Text,
}

/// Where clients connect.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct AddressOptions {
    /// Listen at this address; whoever reaches it and knows the password can read and write the disks
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) ipaddr: IpAddr,
    /// The port for SOAP; 0 takes any free one
    #[arg(short, long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
    /// The port for data; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) nfc_port: u16,
}

/// How much the server takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Sessions on the data port at one time. Default: 52
    #[arg(long, value_name = "COUNT")]
    pub(crate) nfc_sessions: Option<usize>,
    /// Mebibytes of memory for all sessions. Default: 48, or 96 for esxi8-direct
    #[arg(long, value_name = "MIB")]
    pub(crate) host_memory: Option<u32>,
    /// Seconds for which a ticket waits for its use. Default: 60
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ticket_lifetime: Option<u32>,
    /// Seconds for which a login lasts without a call. Default: 1800
    #[arg(long, value_name = "SECONDS")]
    pub(crate) soap_idle: Option<u32>,
    /// Seconds for which a session on the data port lasts without a message. Default: 1800
    #[arg(long, value_name = "SECONDS")]
    pub(crate) nfc_idle: Option<u32>,
}

impl LimitOptions {
    pub(crate) fn apply(&self, limits: &mut Limits) {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        limits.nfc_sessions = self.nfc_sessions.unwrap_or(limits.nfc_sessions);
        limits.host_memory = self
            .host_memory
            .map_or(limits.host_memory, |mib| u64::from(mib) << 20);
        limits.ticket_lifetime = self.ticket_lifetime.map_or(limits.ticket_lifetime, seconds);
        limits.soap_idle = self.soap_idle.map_or(limits.soap_idle, seconds);
        limits.nfc_idle = self.nfc_idle.map_or(limits.nfc_idle, seconds);
    }
}

fn millis(text: &str) -> Result<Duration, String> {
    let number = text.parse().map_err(|_| "not a number of milliseconds")?;
    Ok(Duration::from_millis(number))
}
