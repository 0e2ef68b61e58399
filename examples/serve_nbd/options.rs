//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::common::remote::RemoteOptions;
use crate::layers::{Bitmap, Part};
use clap::{ArgAction, Args, Parser};
use vixdisklib::nbd::{Features, Limits};
use vixdisklib::{Adapter, ByteLen, DiskKind, SectorCount};

/// Serves virtual disks over NBD.
///
/// The first line on standard output is the URI for clients. Without a disk there is a small sample, read-only.
#[derive(Debug, Parser)]
#[command(name = "serve_nbd", version)]
pub(crate) struct Options {
    /// Virtual disks; folders, whose disks are served by the names of their files; or wildcards, such as 'vm/web-*.vmdk',
    /// which are matched against the names that clients ask for
    #[arg(value_name = "DISK", conflicts_with = "fcd")]
    pub(crate) disks: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) disk: DiskOptions,
    #[command(flatten)]
    pub(crate) create: CreateOptions,
    #[command(flatten)]
    pub(crate) address: AddressOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) library: LibraryOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    #[command(flatten)]
    pub(crate) privileges: PrivilegeOptions,

    /// Run this shell command, then stop and end with its exit status. It finds the server by $uri, $nbd, $unixsocket,
    /// $port and $exportname. Without an address, the server listens at a private socket. SIGINT and SIGTERM are handed on:
    /// to all that the command started if there is no terminal, else to the shell, as the terminal tells the others
    #[arg(
        long,
        value_name = "COMMAND",
        help_heading = "Process",
        conflicts_with = "stdio"
    )]
    pub(crate) run: Option<String>,
    /// Stop when the process that started this one ends
    #[arg(long, help_heading = "Process")]
    pub(crate) exit_with_parent: bool,
    /// Stop when the last client has left that used a disk
    #[arg(long, help_heading = "Process")]
    pub(crate) exit_after_last: bool,
    /// Write the number of the process to this file when clients can connect; it is removed at the end
    #[arg(short = 'P', long, value_name = "PATH", help_heading = "Process")]
    pub(crate) pidfile: Option<PathBuf>,

    /// Print the URIs for clients also where a command or another program is told them
    #[arg(long, help_heading = "Output", conflicts_with = "stdio")]
    pub(crate) print_uri: bool,
    /// Say which library is behind --libdir, what it has and what it can do, one key=value in a line, and end
    #[arg(long, help_heading = "Output", conflicts_with_all = ["disks", "run"])]
    pub(crate) probe: bool,
    /// At the end, say on standard error what was done
    #[arg(long, help_heading = "Output")]
    pub(crate) stats: bool,
    /// Give counters, as OpenMetrics, to everybody who connects to a Unix socket at this path
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub(crate) metrics: Option<PathBuf>,
    /// Say more about what happens, on standard error; repeat for still more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

/// Which part of which disk clients get.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Disks")]
pub(crate) struct DiskOptions {
    /// Open the disks for reading only, and refuse writes
    #[arg(short, long)]
    pub(crate) read_only: bool,
    /// The name by which clients ask for the disk; with several disks, once for each. A single disk is found by the
    /// empty name, too. Default: none for a single disk, else the names of the files
    #[arg(
        short,
        long = "exportname",
        visible_alias = "export",
        value_name = "NAME"
    )]
    pub(crate) exports: Vec<String>,
    /// Which of several disks clients get that ask for none
    #[arg(long, value_name = "NAME")]
    pub(crate) default_export: Option<String>,
    /// Open the named link of a chain alone, without its parents
    #[arg(long)]
    pub(crate) single_link: bool,
    /// Serve a part of the disk, from a byte on, as if it were all; with K, M, G or T behind the numbers
    #[arg(long, value_name = "OFFSET,SIZE", value_parser = part)]
    pub(crate) window: Option<Part>,
    /// Let clients write to a temporary disk on top of the disk, which stays as it is; with =keep=PATH to one that stays.
    /// What a killed server leaves in the folder for temporary files goes with the next start of the same user
    #[arg(
        long,
        value_name = "keep=PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = overlay,
        conflicts_with_all = ["read_only", "create"]
    )]
    pub(crate) overlay: Option<OverlayOption>,
    /// Offer the metadata context qemu:dirty-bitmap:NAME, by which backup programs learn what changed; each line of the
    /// file has the offset and the length of an area in bytes
    #[arg(long = "bitmap", value_name = "NAME=FILE")]
    pub(crate) bitmaps: Vec<Bitmap>,
    /// Tell clients nothing of what is allocated
    #[arg(long)]
    pub(crate) no_extents: bool,
    /// Read, and write, each disk at no more than so many bytes a second, with K, M or G behind the number
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub(crate) rate: Option<ByteLen>,
    /// Bypass the cache of the system
    #[arg(long)]
    pub(crate) unbuffered: bool,
}

/// Making the disk first.
#[derive(Debug, Args)]
#[command(next_help_heading = "New disks")]
pub(crate) struct CreateOptions {
    /// Create the disk before it is served; nothing may be there. The capacity is in bytes, or has K, M, G or T behind it
    #[arg(long, value_name = "SIZE", value_parser = sectors, requires = "disks", conflicts_with_all = ["read_only", "fcd"])]
    pub(crate) create: Option<SectorCount>,
    /// monolithicSparse, monolithicFlat, splitSparse, splitFlat, vmfsFlat, ...
    #[arg(
        long,
        value_name = "KIND",
        default_value = "monolithicSparse",
        requires = "create"
    )]
    pub(crate) create_type: DiskKind,
    /// The adapter that the disk is for: ide, buslogic or lsilogic
    #[arg(long, value_name = "ADAPTER", value_parser = adapter, default_value = "lsilogic", requires = "create")]
    pub(crate) create_adapter: Adapter,
    /// The virtual hardware that the disk is for
    #[arg(
        long,
        value_name = "VERSION",
        default_value_t = 13,
        requires = "create"
    )]
    pub(crate) create_hwversion: u16,
}

/// Where clients connect.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Addresses (default: 127.0.0.1:10809, or sockets of systemd's socket activation)"
)]
pub(crate) struct AddressOptions {
    /// Listen at a Unix socket, which only you can connect to; - picks a private place for it
    #[arg(short = 'U', long, value_name = "PATH")]
    pub(crate) unix: Option<PathBuf>,
    /// Listen at this address or name of the machine; everybody who can reach it can connect
    #[arg(short, long, value_name = "ADDR", conflicts_with = "unix")]
    pub(crate) ipaddr: Option<String>,
    /// Listen at this TCP port; 0 takes any free one
    #[arg(short, long, value_name = "PORT", conflicts_with = "unix")]
    pub(crate) port: Option<u16>,
    /// Both in one
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["unix", "ipaddr", "port"])]
    pub(crate) listen: Option<String>,
    /// Listen at this port for virtual machines on this host, or inside one for its host
    #[arg(long, value_name = "PORT", conflicts_with_all = ["unix", "ipaddr", "port", "listen"])]
    pub(crate) vsock: Option<u32>,
    /// Serve one client on standard input and output, as inetd and libnbd's nbd_connect_command do
    #[arg(short, long = "single", conflicts_with_all = ["unix", "ipaddr", "port", "listen", "vsock"])]
    pub(crate) stdio: bool,
}

impl AddressOptions {
    pub(crate) fn is_given(&self) -> bool {
        self.unix.is_some()
            || self.ipaddr.is_some()
            || self.port.is_some()
            || self.listen.is_some()
            || self.vsock.is_some()
            || self.stdio
    }
}

/// Encryption.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct TlsOptions {
    /// on: clients may encrypt; require: they must. Default: off, or require if there are certificates
    #[arg(
        long,
        value_name = "MODE",
        requires_if("on", "tls_certificates"),
        requires_if("require", "tls_certificates")
    )]
    pub(crate) tls: Option<TlsMode>,
    /// The folder of server-cert.pem, server-key.pem and, to verify clients, ca-cert.pem and perhaps ca-crl.pem
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_certificates: Option<PathBuf>,
    /// Refuse clients without a certificate of the authority in ca-cert.pem
    #[arg(long, requires = "tls_certificates")]
    pub(crate) tls_verify_peer: bool,
}

/// Whether clients encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TlsMode {
    Off,
    On,
    Require,
}

/// What clients may cost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Requests of one client that run at the same time
    #[arg(short, long, value_name = "COUNT", default_value_t = 16, value_parser = threads)]
    pub(crate) threads: usize,
    /// Clients at one time
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) connections: usize,
    /// Clients at one time from one network address; default: no limit but the other one
    #[arg(long, value_name = "COUNT")]
    pub(crate) connections_per_address: Option<usize>,
    /// Average time between clients that are let in, once as many as --connections have come; 0 lets all in at once
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 4)]
    pub(crate) connection_interval: u32,
    /// Time for clients to choose a disk
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Cut off clients that ask for nothing for so long; 0 never does
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) idle_timeout: Duration,
    /// Cut off clients that take nothing of what they are sent for so long; 0 never does
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) write_timeout: Duration,
    /// Cut off clients whose write does not arrive whole in so long; 0 never does
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) payload_timeout: Duration,
    /// Ask the machines of silent TCP clients whether they are still there; 0 never does
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) keepalive: Duration,
    /// Look for the next request of a client that asks fast for so long before sleeping; 0 never does
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 50)]
    pub(crate) polling: u32,
    /// Read what is sent from read-only disks, also where the system could send it from its cache
    #[arg(long)]
    pub(crate) no_sendfile: bool,
    /// Offer no structured replies, as old servers; for tests of clients
    #[arg(long, hide = true)]
    pub(crate) no_sr: bool,
    /// Do not say that several connections see the same; for tests of clients
    #[arg(long, hide = true)]
    pub(crate) no_mc: bool,
    /// Offer no extended headers; for tests of clients
    #[arg(long, hide = true)]
    pub(crate) no_eh: bool,
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> Limits {
        let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
        let mut limits = Limits::default();
        limits
            .features
            .set(Features::STRUCTURED_REPLIES, !self.no_sr);
        limits.features.set(Features::MULTI_CONN, !self.no_mc);
        // Extended headers bring structured replies with them.
        limits
            .features
            .set(Features::EXTENDED_HEADERS, !self.no_eh && !self.no_sr);
        limits.threads = self.threads;
        limits.connections = self.connections;
        limits.connections_per_address = self.connections_per_address.unwrap_or(usize::MAX);
        limits.connection_interval = Duration::from_millis(self.connection_interval.into());
        limits.handshake_timeout = self.timeout;
        limits.idle_timeout = unless_zero(self.idle_timeout);
        limits.payload_timeout = unless_zero(self.payload_timeout);
        limits.write_timeout = unless_zero(self.write_timeout);
        limits.keepalive = unless_zero(self.keepalive);
        limits.polling = Duration::from_micros(self.polling.into());
        limits.send_files = !self.no_sendfile;
        limits
    }
}

/// Which library does the work.
#[derive(Debug, Args)]
#[command(next_help_heading = "Library")]
pub(crate) struct LibraryOptions {
    /// Use VDDK, or another library like it, from this folder instead of the embedded engine
    #[arg(long, value_name = "DIR")]
    pub(crate) libdir: Option<PathBuf>,
    /// The configuration file that the library reads
    #[arg(long, value_name = "FILE", requires = "libdir")]
    pub(crate) config: Option<PathBuf>,
}

/// Whom the process belongs to when everything is open.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct PrivilegeOptions {
    /// Become this user, by name or number, when the disks are open and the server listens. Disks of folders and
    /// wildcards are opened later, and must be open to this user
    #[arg(short, long = "become-user", value_name = "USER")]
    pub(crate) user_name: Option<String>,
    /// Become a member of this group alone; default: the groups of --become-user
    #[arg(short, long = "become-group", value_name = "GROUP")]
    pub(crate) group_name: Option<String>,
}

impl PrivilegeOptions {
    pub(crate) fn are_dropped(&self) -> bool {
        self.user_name.is_some() || self.group_name.is_some()
    }
}

/// Of `--overlay`.
#[derive(Clone, Debug)]
pub(crate) enum OverlayOption {
    Temporary,
    Kept(PathBuf),
}

fn overlay(text: &str) -> Result<OverlayOption, String> {
    match text.strip_prefix("keep=") {
        Some(path) if !path.is_empty() => Ok(OverlayOption::Kept(path.into())),
        None if text.is_empty() => Ok(OverlayOption::Temporary),
        _ => Err("--overlay, or --overlay=keep=PATH".to_owned()),
    }
}

fn part(text: &str) -> Result<Part, String> {
    let (offset, size) = text.split_once(',').ok_or("OFFSET,SIZE")?;
    Ok(Part {
        offset: bytes(offset)?,
        size: bytes(size)?,
    })
}

fn rate(text: &str) -> Result<ByteLen, String> {
    match bytes(text)? {
        ByteLen::ZERO => Err("at least one byte a second".to_owned()),
        rate => Ok(rate),
    }
}

fn adapter(text: &str) -> Result<Adapter, String> {
    match text {
        "ide" => Ok(Adapter::Ide),
        "buslogic" => Ok(Adapter::BusLogic),
        "lsilogic" => Ok(Adapter::LsiLogic),
        _ => Err("there are ide, buslogic and lsilogic".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("a number from 1 to 1024".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u32 = text.parse().map_err(|_| "a whole number of seconds")?;
    Ok(Duration::from_secs(seconds.into()))
}

fn sectors(text: &str) -> Result<SectorCount, String> {
    match bytes(text)?.whole_sectors() {
        Some(SectorCount::ZERO) => Err("a disk has at least one sector".to_owned()),
        Some(sectors) => Ok(sectors),
        None => Err("no multiple of 512 bytes, the size of a sector".to_owned()),
    }
}

fn bytes(text: &str) -> Result<ByteLen, String> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units
        .iter()
        .find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_lowercase()]));
    let (digits, shift) = match unit {
        Some((_, shift)) => (&text[..text.len() - 1], *shift),
        None => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "no number with K, M, G, T or nothing behind it")?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
    Ok(ByteLen::new(bytes))
}
