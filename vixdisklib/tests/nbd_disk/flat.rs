//! A disk of one flat file: clients side by side, what stays as it is, and what clients are told of failures.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::MutexGuard;

use vixdisklib::nbd::{BlockState, DiskExport, ErrorNumber, Export, Server, ZeroRequest};
use vixdisklib::{ByteLen, Library, OpenFlags, SharedDisk};

use crate::nbd_support::{Client, pattern};
use crate::world::{map, one_library};

/// A disk of one flat file, made by hand.
struct Flat {
    dir: tempfile::TempDir,
    /// There is one library per process.
    _library: MutexGuard<'static, ()>,
}

impl Flat {
    fn new(contents: &[u8]) -> Self {
        let library = one_library();
        let dir = tempfile::tempdir().unwrap();
        let sectors = contents.len() / 512;
        fs::write(dir.path().join("disk-flat.vmdk"), contents).unwrap();
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n\n# Extent description\n\
             RW {sectors} FLAT \"disk-flat.vmdk\" 0\n"
        );
        fs::write(dir.path().join("disk.vmdk"), descriptor).unwrap();
        Self {
            dir,
            _library: library,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("disk-flat.vmdk")
    }

    fn open(&self, flags: OpenFlags) -> SharedDisk {
        let connection = Library::embedded().unwrap().connect_local().unwrap();
        let disk = connection.open_disk(self.dir.path().join("disk.vmdk"), flags);
        disk.unwrap().into_shared().unwrap()
    }
}

fn whole_sectors(grains: usize) -> Vec<u8> {
    let mut bytes = pattern(grains);
    bytes.truncate(bytes.len() / 512 * 512);
    bytes
}

#[test]
fn clients_write_any_bytes_side_by_side() {
    let mut model = whole_sectors(4);
    let flat = Flat::new(&model);
    let disk = flat.open(OpenFlags::empty());
    let path = flat.dir.path().join("s");
    let server = Server::new()
        .export("", "", DiskExport::new(disk.clone()).unwrap())
        .listen_unix(&path)
        .start()
        .unwrap();
    // Each client writes every eighth run of 100 bytes, so that every sector is shared.
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let path = &path;
            scope.spawn(move || {
                let mut client = Client::greet(UnixStream::connect(path).unwrap()).go("");
                for run in 0..200_u64 {
                    client.request(1, run, (run * 8 + u64::from(number)) * 100, 100);
                    client.send(&[number + 1; 100]);
                }
                for _ in 0..200 {
                    assert_eq!(client.reply().0, 0);
                }
                client.request(3, 0, 0, 0);
                assert_eq!(client.reply().0, 0);
            });
        }
    });
    for (number, run) in model.chunks_mut(100).take(1600).enumerate() {
        run.fill(u8::try_from(number % 8).unwrap() + 1);
    }
    assert!(
        fs::read(flat.data()).unwrap() == model,
        "flushed to the file"
    );
    let mut client = Client::greet(UnixStream::connect(&path).unwrap()).go("");
    client.request(6, 1, 777, 70_000);
    assert_eq!(client.reply().0, 0);
    model[777..70_777].fill(0);
    client.request(0, 2, 500, 80_001);
    assert_eq!(client.reply().0, 0);
    assert!(client.read(80_001) == model[500..80_501]);
    server.stop();
    server.wait().unwrap();
    drop(server);
    disk.close().unwrap();
    assert!(fs::read(flat.data()).unwrap() == model);
}

#[test]
fn a_read_only_disk_stays_as_it_is() {
    let bytes = whole_sectors(1);
    let flat = Flat::new(&bytes);
    let export = DiskExport::new(flat.open(OpenFlags::READ_ONLY)).unwrap();
    assert!(export.is_read_only());
    assert_eq!(export.size(), ByteLen::new(bytes.len() as u64));
    let path = flat.dir.path().join("s");
    let _server = Server::new()
        .export("", "", export)
        .listen_unix(&path)
        .start()
        .unwrap();
    let mut client = Client::greet(UnixStream::connect(&path).unwrap()).go("");
    client.request(1, 1, 0, 512);
    client.send(&[9; 512]);
    assert_eq!(client.reply(), (1, 1), "EPERM");
    client.request(0, 2, 0, 1000);
    assert_eq!(client.reply(), (0, 2));
    assert!(client.read(1000) == bytes[..1000]);
    assert!(fs::read(flat.data()).unwrap() == bytes);
}

#[test]
fn the_map_of_a_writable_disk_follows_its_writes() {
    let flat = Flat::new(&[1; 1 << 20]);
    let export = DiskExport::new(flat.open(OpenFlags::empty())).unwrap();
    let all = |state| vec![(1 << 20, state)];
    assert_eq!(map(&export), all(BlockState::Data));
    let may_free = ZeroRequest {
        may_free: true,
        fast_only: false,
    };
    let size = export.size();
    export.write_zeroes(ByteLen::ZERO, size, may_free).unwrap();
    let middle = ByteLen::new(500_000);
    export.write_at(middle, b"data").unwrap();
    let mut at = 0;
    for (length, state) in map(&export) {
        let here = at..at + length;
        assert!(state == BlockState::Data || !here.contains(&middle.get()));
        at += length;
    }
    assert_eq!(at, 1 << 20);
}

#[test]
fn failures_are_told_without_paths() {
    let flat = Flat::new(&whole_sectors(2));
    let export = DiskExport::new(flat.open(OpenFlags::READ_ONLY)).unwrap();
    File::options()
        .write(true)
        .open(flat.data())
        .unwrap()
        .set_len(65_536)
        .unwrap();
    let mut buf = [0; 1024];
    export.read_at(ByteLen::new(64_512), &mut buf).unwrap();
    let error = export.read_at(ByteLen::new(65_024), &mut buf).unwrap_err();
    assert_eq!(error.number(), ErrorNumber::Io);
    let text = error.message();
    assert!(text.starts_with("reading sectors 127..129: "), "{text}");
    assert!(text.contains("VIX_E_"), "{text}");
    let folder = flat.dir.path().to_str().unwrap();
    assert!(!text.contains(folder), "{text}");
}
