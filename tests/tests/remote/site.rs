//! A simulated server, and clients of it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use conformance::random::Random;
use tempfile::TempDir;
use vixdisklib::{
    AlignedBuf, Backend, ByteLen, ChunkSize, Configuration, ConnectOptions, ConnectParams,
    Connection, Credentials, Disk, Library, OpenFlags, Result, Secret, Sector, SectorCount,
    SectorRange, Spec, Transport,
};
use vmdk_engine::{CreateOptions, DiskKind, unwatched};
use vsphere_sim::{Builder, Event, Inventory, Plan, Profile, Simulator, User, Vm};

const USER: &str = "backup@vsphere.local";
const PASSWORD: &str = "correct horse battery";
const DATASTORE: &str = "datastore1";

/// How long a silent host is waited for here, instead of a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A server with one machine, which is off, and its disks in one folder.
pub(crate) struct Site {
    pub(crate) simulator: Simulator,
    moref: String,
    folder: PathBuf,
    _scratch: Option<TempDir>,
}

impl Site {
    /// A server for the disks of these names in a folder.
    pub(crate) fn of(profile: Profile, folder: &Path, disks: &[String]) -> Self {
        Self::with(profile, folder, disks, |builder| builder)
    }

    /// A server with a disk `disk.vmdk` of its own, of this content.
    pub(crate) fn new(profile: Profile, content: &[u8]) -> Self {
        Self::changed(profile, content, |builder| builder)
    }

    /// The same, with something changed about the server.
    pub(crate) fn changed(
        profile: Profile,
        content: &[u8],
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let scratch = tempfile::tempdir().expect("there is room");
        make(&scratch.path().join("disk.vmdk"), content);
        let disks = ["disk.vmdk".to_owned()];
        let mut site = Self::with(profile, scratch.path(), &disks, change);
        site._scratch = Some(scratch);
        site
    }

    fn with(
        profile: Profile,
        folder: &Path,
        disks: &[String],
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let mut vm = Vm::new("web");
        for disk in disks {
            vm = vm.disk(place(disk).parse().expect("a name"));
        }
        let inventory = Inventory::new(profile)
            .user(User::new(USER, PASSWORD))
            .datastore(DATASTORE, folder)
            .vm(vm)
            .complete()
            .expect("an inventory");
        let moref = inventory.vms[0].moref.clone();
        let simulator = change(Simulator::builder(inventory))
            .start()
            .expect("it starts");
        Self {
            simulator,
            moref,
            folder: folder.to_owned(),
            _scratch: None,
        }
    }

    pub(crate) fn inject(&self, plan: &str) {
        self.simulator.inject(plan.parse::<Plan>().expect(plan));
    }

    /// What connects to the machine.
    pub(crate) fn params(&self) -> ConnectParams {
        let credentials = Credentials::Password {
            user: USER.to_owned(),
            password: Secret::new(PASSWORD.to_owned()).expect("no NUL"),
        };
        let spec = Spec::Vm {
            moref: self.moref.clone(),
        };
        ConnectParams::builder(spec)
            .server("127.0.0.1")
            .port(self.simulator.address().port())
            .thumbprint(self.simulator.thumbprint_sha1())
            .credentials(credentials)
            .build()
            .expect("complete")
    }

    /// What a disk holds, without the simulator.
    pub(crate) fn content(&self, disk: &str) -> Vec<u8> {
        local(&self.folder.join(disk))
    }

    pub(crate) fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.simulator.transcript().count(what)
    }

    pub(crate) fn calls(&self, name: &str) -> usize {
        self.count(|event| matches!(event, Event::Called { method, .. } if method == name))
    }
}

/// The name of a file on the datastore.
pub(crate) fn place(disk: &str) -> String {
    format!("[{DATASTORE}] {disk}")
}

/// The library, initialised; there is one in a process at a time.
pub(crate) struct Client {
    pub(crate) library: Library,
    _turn: MutexGuard<'static, ()>,
}

impl Client {
    /// With little patience, and buffers so small that a read comes in several parts.
    pub(crate) fn start() -> Self {
        Self::with(impatient().nfc_buffers(ByteLen::new(64 << 10), 4))
    }

    /// With little patience, and as large buffers as the host gives.
    pub(crate) fn with_large_buffers() -> Self {
        Self::with(impatient())
    }

    fn with(configuration: Configuration) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(|failed| failed.into_inner());
        let library = Library::builder(Backend::Embedded)
            .configuration(configuration)
            .open()
            .expect("the embedded engine");
        Self {
            library,
            _turn: turn,
        }
    }

    pub(crate) fn connect(&self, site: &Site, transport: Transport) -> Result<Connection> {
        let options = ConnectOptions::new().transport_modes([transport]);
        self.library.connect(site.params(), &options)
    }
}

fn impatient() -> Configuration {
    Configuration::new()
        .nfc_read_timeout(PATIENCE)
        .nfc_accept_timeout(2 * PATIENCE)
}

/// A new disk of this content; what is zero in it takes no space.
pub(crate) fn make(path: &Path, content: &[u8]) {
    let capacity = SectorCount::new(content.len() as u64 / 512);
    let options = CreateOptions::new(DiskKind::MonolithicSparse, capacity);
    let disk = vmdk_engine::Disk::create(path, &options, &mut unwatched).expect("it is made");
    for (number, grain) in (0..).zip(content.chunks(64 << 10)) {
        if grain.iter().any(|byte| *byte != 0) {
            disk.write_at(Sector::new(number * 128), grain)
                .expect("it is written");
        }
    }
    disk.close().expect("it is closed");
}

/// What a disk holds, by the engine alone.
pub(crate) fn local(path: &Path) -> Vec<u8> {
    let options = vmdk_engine::OpenOptions::new().ignore_locks(true);
    let disk = vmdk_engine::Disk::open(path, &options).expect("it opens");
    let mut bytes = vec![0; length(disk.capacity())];
    disk.read_at(Sector::ZERO, &mut bytes).expect("it is read");
    bytes
}

/// So many bytes like those of real disks: runs that do not compress, texts, holes, and an odd end.
pub(crate) fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut content = vec![0; bytes];
    for (number, grain) in content.chunks_mut(64 << 10).enumerate() {
        match number % 4 {
            0 => grain.copy_from_slice(&random.bytes(grain.len())),
            1 => {
                let text = format!("grain {number} of {seed}, ").into_bytes();
                for (byte, letter) in grain.iter_mut().zip(text.iter().cycle()) {
                    *byte = *letter;
                }
            }
            2 => {
                let middle = grain.len() / 2;
                grain[middle..].fill(u8::try_from(seed % 251).expect("a byte") | 1);
            }
            _ => {}
        }
    }
    if let Some(last) = content.last_mut() {
        *last = 7;
    }
    content
}

pub(crate) fn length(sectors: SectorCount) -> usize {
    usize::try_from(sectors.get() * 512).expect("a small disk")
}

/// Reads a whole disk in blocking calls of so many bytes.
pub(crate) fn read_all(disk: &Disk, piece: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length(disk.capacity())];
    for (number, part) in (0..).zip(bytes.chunks_mut(piece)) {
        disk.read_at(Sector::new(number * (piece as u64 / 512)), part)?;
    }
    Ok(bytes)
}

/// Reads a whole disk in requests of so many bytes, all in flight together.
pub(crate) fn read_all_async(disk: &Disk, piece: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length(disk.capacity())];
    let futures: Vec<_> = pieces(bytes.len(), piece)
        .map(|(start, length)| {
            disk.read_async(
                start,
                AlignedBuf::new(SectorCount::new(length as u64 / 512)),
            )
        })
        .collect();
    for (part, future) in bytes.chunks_mut(piece).zip(futures) {
        let (result, buf) = future.wait();
        result?;
        part.copy_from_slice(&buf);
    }
    Ok(bytes)
}

/// Writes a whole disk in requests of so many bytes, all in flight together.
pub(crate) fn write_all_async(disk: &Disk, data: &[u8], piece: usize) -> Result<()> {
    let futures: Vec<_> = pieces(data.len(), piece)
        .zip(data.chunks(piece))
        .map(|((start, length), part)| {
            let mut buf = AlignedBuf::new(SectorCount::new(length as u64 / 512));
            buf.copy_from_slice(part);
            disk.write_async(start, buf)
        })
        .collect();
    futures
        .into_iter()
        .map(|future| future.wait().0)
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn pieces(bytes: usize, piece: usize) -> impl Iterator<Item = (Sector, usize)> {
    (0..bytes)
        .step_by(piece)
        .map(move |at| (Sector::new(at as u64 / 512), piece.min(bytes - at)))
}

/// The runs of chunks that hold data, whichever link of a chain has it.
pub(crate) fn data_runs(disk: &Disk) -> Result<Vec<SectorRange>> {
    let whole = SectorRange::whole(disk.capacity());
    let mut runs: Vec<SectorRange> = Vec::new();
    for extent in disk.chunks(whole, ChunkSize::MIN)? {
        let extent = extent?;
        match runs.last_mut() {
            _ if !extent.holds_data() => {}
            Some(last) if last.end() == extent.range.start() => {
                *last = SectorRange::between(last.start(), extent.range.end()).expect("in order");
            }
            _ => runs.push(extent.range),
        }
    }
    Ok(runs)
}

pub(crate) const READ_ONLY: OpenFlags = OpenFlags::READ_ONLY;

/// Waits, for some seconds, until something is so.
pub(crate) fn eventually(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..2000 {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    is_so()
}
