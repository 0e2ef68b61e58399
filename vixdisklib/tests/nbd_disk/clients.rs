//! What programs of others make of the metadata contexts.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, thread};

use vixdisklib::nbd::{DiskExport, Server, ServerHandle};
use vixdisklib::{ByteLen, ChangedAreas, DiskKind, OpenFlags, SectorCount};

use crate::world::{World, noise};

/// Whether all these programs are there; their absence skips the test, loudly, and fails it where `CI=true`.
fn have(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    programs.iter().all(|name| {
        let found = env::split_paths(&path).any(|folder| folder.join(name).is_file());
        if !found {
            assert!(env::var("CI").as_deref() != Ok("true"), "{name} is missing");
            eprintln!("SKIPPED: {name} is not installed");
        }
        found
    })
}

fn text(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn serve(world: &World, export: DiskExport) -> ServerHandle {
    Server::new()
        .export("", "", export)
        .listen_unix(world.path("ours"))
        .start()
        .unwrap()
}

/// `qemu-nbd`, killed when dropped.
struct Peer(Child);

impl Peer {
    fn start(socket: &Path, disk: &Path) -> Self {
        let child = Command::new("qemu-nbd")
            .args(["--allocation-depth", "--read-only", "--persistent"])
            .args(["--format=vmdk", "--socket"])
            .args([socket, disk])
            .spawn()
            .unwrap();
        let peer = Self(child);
        let start = Instant::now();
        while !socket.exists() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            thread::sleep(Duration::from_millis(5));
        }
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn depth_is_what_qemu_tells() {
    if !have(&["nbdinfo", "qemu-nbd"]) {
        return;
    }
    let world = World::new();
    let grain = 65_536;
    let mut content = vec![0; grain * 8];
    content[..grain * 3].copy_from_slice(&noise(1, grain * 3));
    let mut path = world.disk("0.vmdk", DiskKind::MONOLITHIC_SPARSE, &content);
    for (name, place) in [("1.vmdk", 1), ("2.vmdk", 6)] {
        path = world.child(&path, name);
        let disk = world
            .connection
            .open_disk(&path, OpenFlags::empty())
            .unwrap();
        let place = ByteLen::new(grain as u64 * place);
        disk.write_all_at(place, &noise(2, grain)).unwrap();
        disk.close().unwrap();
    }
    let server = serve(&world, world.export(&path, OpenFlags::READ_ONLY));
    let map = "--map=qemu:allocation-depth";
    let ours = text("nbdinfo", &[map, &server.uris()[0]]);
    let socket = world.path("qemu");
    let peer = Peer::start(&socket, &path);
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    assert_eq!(ours, text("nbdinfo", &[map, &uri]));
    let depths = ours
        .lines()
        .map(|line| line.split_whitespace().nth(2).unwrap());
    assert_eq!(depths.collect::<String>(), "323010", "{ours}");
    drop(peer);
}

#[test]
fn backup_programs_read_what_changed() {
    if !have(&["nbdinfo", "qemu-img"]) {
        return;
    }
    let world = World::new();
    let content = noise(1, 1 << 20);
    let path = world.disk("disk.vmdk", DiskKind::MONOLITHIC_SPARSE, &content);
    let changed = [(65_536, 131_072), (524_288, 4096)];
    let changed = changed.map(|(start, length)| (ByteLen::new(start), ByteLen::new(length)));
    let areas = ChangedAreas::from_bytes(SectorCount::new(2048), changed).unwrap();
    let export = world.export(&path, OpenFlags::READ_ONLY);
    let server = serve(&world, export.with_bitmap("monday", areas).unwrap());
    let uri = &server.uris()[0];
    let lines = text("nbdinfo", &["--map=qemu:dirty-bitmap:monday", uri]);
    let words = |line: &str| line.split_whitespace().take(3).map(str::to_owned).collect();
    let found: Vec<Vec<String>> = lines.lines().map(words).collect();
    let expected = [
        ["0", "65536", "0"],
        ["65536", "131072", "1"],
        ["196608", "327680", "0"],
        ["524288", "4096", "1"],
        ["528384", "520192", "0"],
    ];
    assert_eq!(found, expected, "{lines}");

    let disk = format!(
        "driver=nbd,server.type=unix,server.path={},x-dirty-bitmap=qemu:dirty-bitmap:monday",
        world.path("ours").display()
    );
    let map = text("qemu-img", &["map", "--output=json", "--image-opts", &disk]);
    // QEMU shows what is dirty as a hole.
    let dirty: Vec<_> = map
        .lines()
        .filter(|line| line.contains(r#""data": false"#))
        .collect();
    assert_eq!(dirty.len(), 2, "{map}");
    assert!(
        dirty[0].contains(r#""start": 65536, "length": 131072"#),
        "{map}"
    );
    assert!(
        dirty[1].contains(r#""start": 524288, "length": 4096"#),
        "{map}"
    );
}
