//! Locks keep a second writer out: of this process and of others, alive, killed, on other machines, and QEMU.

#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::image::{SparseImage, child_of, descriptor};
use support::{has_qemu, skip};
use tempfile::TempDir;
use vmdk_engine::{
    Disk, Error, ErrorKind, FileAccess, FileLock, FolderGate, GateError, LockKind, OpenGate,
    OpenOptions, Sector,
};

const SECTORS: u64 = 4096;

/// A disk of two extents in files of their own.
fn split_disk(folder: &Path) -> PathBuf {
    let mut lines = Vec::new();
    for number in 1..=2 {
        let name = format!("disk-s00{number}.vmdk");
        fs::write(folder.join(&name), SparseImage::extent(SECTORS).build()).unwrap();
        lines.push(format!("RW {SECTORS} SPARSE \"{name}\""));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let path = folder.join("disk.vmdk");
    fs::write(&path, descriptor("twoGbMaxExtentSparse", &lines)).unwrap();
    path
}

/// A disk in one file.
fn disk() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    fs::write(&path, SparseImage::monolithic(SECTORS).build()).unwrap();
    (scratch, path)
}

fn write(path: &Path) -> Result<Disk, Error> {
    Disk::open(path, &OpenOptions::new().writable(true))
}

fn read(path: &Path) -> Result<Disk, Error> {
    Disk::open(path, &OpenOptions::new())
}

fn is_locked(result: Result<Disk, Error>) -> String {
    let error = result.expect_err("somebody else has it");
    assert_eq!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
    error.to_string()
}

/// The lock folders in a folder.
fn lock_folders(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".lck")).collect();
    names.sort();
    names
}

fn lock_folder(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lck");
    name.into()
}

/// The fields of the only lock file in the lock folder of a file.
fn only_lock(path: &Path) -> Vec<String> {
    let mut files = fs::read_dir(lock_folder(path)).unwrap();
    let file = files.next().unwrap().unwrap();
    assert!(files.next().is_none());
    let name = file.file_name().into_string().unwrap();
    assert!(name.len() == 10 && name.starts_with('M'), "{name}");
    let bytes = fs::read(file.path()).unwrap();
    assert_eq!(bytes.len(), 512);
    let text = String::from_utf8(bytes).unwrap();
    let fields = text.trim_end_matches('\0').split(' ');
    fields.map(str::to_owned).collect()
}

/// Leaves a lock file as another program would.
fn leave_lock(path: &Path, fields: &[&str]) -> PathBuf {
    let mut bytes = fields.join(" ").into_bytes();
    bytes.resize(512, 0);
    let folder = lock_folder(path);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("M00042.lck");
    fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn a_writer_is_alone_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let path = split_disk(scratch.path());
    let disk = write(&path).unwrap();
    let folders = ["disk-s001.vmdk.lck", "disk-s002.vmdk.lck", "disk.vmdk.lck"];
    assert_eq!(lock_folders(scratch.path()), folders);
    let fields = only_lock(&path);
    assert_eq!(fields[0].len(), 16);
    assert!(fields[1].starts_with(&format!("{}-", std::process::id())));
    assert_eq!(fields[3], "X");

    is_locked(write(&path));
    is_locked(read(&path));
    let unlocked = Disk::open(&path, &OpenOptions::new().ignore_locks(true)).unwrap();
    disk.close().unwrap();
    assert!(lock_folders(scratch.path()).is_empty());
    write(&path).unwrap();
    drop(unlocked);

    let (one, two) = (read(&path).unwrap(), read(&path).unwrap());
    assert!(lock_folders(scratch.path()).is_empty());
    is_locked(write(&path));
    assert!(lock_folders(scratch.path()).is_empty());
    drop((one, two));
    write(&path).unwrap();
}

/// Two descriptors of one file are one disk as far as writers are concerned.
#[test]
fn extents_are_locked_each_for_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name);
    fs::write(file("flat"), [0; 8 * 512]).unwrap();
    fs::write(file("sparse"), SparseImage::extent(300).build()).unwrap();
    for (line, extent) in [
        ("RW 8 FLAT \"flat\" 0", "flat"),
        ("RW 300 SPARSE \"sparse\"", "sparse"),
    ] {
        for name in ["one.vmdk", "two.vmdk"] {
            fs::write(file(name), descriptor("custom", &[line])).unwrap();
        }
        let disk = write(&file("one.vmdk")).unwrap();
        let error = write(&file("two.vmdk")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyLocked);
        assert!(error.path().unwrap().ends_with(extent));
        is_locked(read(&file("two.vmdk")));
        drop(disk);
        let reader = read(&file("one.vmdk")).unwrap();
        is_locked(write(&file("two.vmdk")));
        drop(reader);
        write(&file("two.vmdk")).unwrap();
        assert!(lock_folders(scratch.path()).is_empty());
    }
}

/// An extent that the descriptor forbids to write must not change either while the others are written.
#[test]
fn extents_that_are_only_read_are_shared() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name);
    for name in ["a", "b"] {
        fs::write(file(name), [0; 8 * 512]).unwrap();
    }
    let line = |access: &str, name: &str| format!("{access} 8 FLAT \"{name}\" 0");
    let disk = |name: &str, lines: &[&str]| {
        fs::write(file(name), descriptor("custom", lines)).unwrap();
        file(name)
    };
    let one = disk("one.vmdk", &[&line("RW", "a"), &line("RDONLY", "b")]);
    let two = disk("two.vmdk", &[&line("RW", "b")]);
    let one = write(&one).unwrap();
    assert_eq!(only_lock(&file("b"))[3], "S");
    read(&two).unwrap();
    is_locked(write(&two));
    drop(one);
    write(&two).unwrap();
}

#[test]
fn who_waits_gets_it() {
    let (_scratch, path) = disk();
    let disk = write(&path).unwrap();
    let patient = OpenOptions::new()
        .writable(true)
        .lock_patience(Duration::from_secs(60));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Disk::open(&path, &patient));
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        drop(disk);
        waiting.join().unwrap().unwrap();
    });
    let disk = write(&path).unwrap();
    let patient = patient.lock_patience(Duration::from_millis(200));
    let start = Instant::now();
    is_locked(Disk::open(&path, &patient));
    assert!(start.elapsed() >= Duration::from_millis(200));
    drop(disk);
}

/// Whoever had the disk may have put another descriptor in its place, or removed it.
#[test]
fn who_waited_gets_what_is_there_by_then() {
    let scratch = tempfile::tempdir().unwrap();
    let path = split_disk(scratch.path());
    let patient = OpenOptions::new()
        .writable(true)
        .lock_patience(Duration::from_secs(60));
    let wait_while = |change: &dyn Fn()| {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| Disk::open(&path, &patient));
            thread::sleep(Duration::from_millis(300));
            change();
            waiting.join().unwrap()
        })
    };
    let disk = Cell::new(Some(write(&path).unwrap()));
    let disk = wait_while(&|| {
        let disk = disk.take().unwrap();
        disk.set_metadata("comment", "new").unwrap();
        disk.close().unwrap();
    })
    .unwrap();
    assert_eq!(disk.metadata("comment").as_deref(), Some("new"));
    disk.set_metadata("other", "newer").unwrap();
    disk.close().unwrap();
    let disk = read(&path).unwrap();
    assert_eq!(disk.metadata("comment").as_deref(), Some("new"));
    assert_eq!(disk.metadata("other").as_deref(), Some("newer"));
    drop(disk);

    let file = FolderGate.open_disk(&path, FileAccess::ReadWrite).unwrap();
    let held = Cell::new(Some(FileLock::exclusive(&FolderGate, &file).unwrap()));
    let file = Cell::new(Some(file));
    let error = wait_while(&|| {
        FolderGate.remove(&path).unwrap();
        drop((file.take(), held.take()));
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A parent may be read by all, and be the parent of many that are written, but is not written itself.
#[test]
fn parents_of_a_writer_are_shared() {
    let (scratch, path) = disk();
    let child = |name: &str| {
        let line = format!("RW {SECTORS} SPARSE \"{name}\"");
        let text = descriptor("monolithicSparse", &[&line]);
        let image = SparseImage {
            text: child_of(&text, 0xaaaa_aaaa, 0x1f2e_3d4c, "disk.vmdk"),
            ..SparseImage::monolithic(SECTORS)
        };
        let path = scratch.path().join(name);
        fs::write(&path, image.build()).unwrap();
        path
    };
    let (one, two) = (child("one.vmdk"), child("two.vmdk"));
    let one = write(&one).unwrap();
    assert_eq!(only_lock(&path)[3], "S");
    let two = write(&two).unwrap();
    read(&path).unwrap();
    is_locked(write(&path));
    drop(one);
    is_locked(write(&path));
    drop(two);
    let parent = write(&path).unwrap();
    is_locked(read(&scratch.path().join("two.vmdk")));
    is_locked(write(&scratch.path().join("two.vmdk")));
    drop(parent);
    assert!(lock_folders(scratch.path()).is_empty());
}

/// Fields of lock files of VMware products, on machines that this one is not.
const FOREIGN: [&str; 2] = ["uuid=56-4d-0f-ca", "AbCdEfGhIjKlMn+-"];

#[test]
fn locks_of_other_machines_are_respected() {
    let (_scratch, path) = disk();
    for machine in FOREIGN {
        let own = std::process::id();
        // Whatever process it names: processes of other machines cannot be asked about.
        for process in [format!("{own}-1(vmx)"), "4000000-17".to_owned()] {
            let file = leave_lock(&path, &[machine, &process, "3", "X", "17", "lc=5"]);
            assert!(is_locked(write(&path)).contains(machine));
            is_locked(read(&path));
            leave_lock(&path, &[machine, &process, "3", "S", "17", "lc=5"]);
            is_locked(write(&path));
            read(&path).unwrap();
            assert!(file.exists());
            assert_eq!(fs::read_dir(lock_folder(&path)).unwrap().count(), 1);
            fs::remove_file(file).unwrap();
            write(&path).unwrap();
        }
    }
}

/// A process id that another process has now, and a folder that was copied together with its locks.
#[test]
fn stale_locks_of_this_machine_are_removed() {
    let (scratch, path) = disk();
    let disk = write(&path).unwrap();
    let fields = only_lock(&path);
    let copy = scratch.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let copy = copy.join("disk.vmdk");
    fs::copy(&path, &copy).unwrap();
    let copied = |fields: &[String]| {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        leave_lock(&copy, &fields)
    };
    let file = copied(&fields);
    read(&copy).unwrap();
    assert!(file.exists(), "reading changes nothing");
    write(&copy).unwrap();
    assert!(!lock_folder(&copy).exists());

    let mut reused = fields[..5].to_vec();
    reused[1] = format!("{}-1(other)", std::process::id());
    copied(&reused);
    read(&copy).unwrap();
    write(&copy).unwrap();

    // Without a time of creation and without a location, nothing speaks against it.
    let mut alive = fields[..4].to_vec();
    alive[1] = std::process::id().to_string();
    let file = copied(&alive);
    is_locked(read(&copy));
    is_locked(write(&copy));
    fs::remove_file(file).unwrap();
    write(&copy).unwrap();
    is_locked(write(&path));
    drop(disk);
}

#[test]
fn damaged_locks_are_removed_and_other_files_stay() {
    let (_scratch, path) = disk();
    let folder = lock_folder(&path);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("M00001.lck"), "short").unwrap();
    fs::write(folder.join("M00002.lck"), [0xff; 512]).unwrap();
    fs::write(folder.join("M00003.lck"), [b'x'; 513]).unwrap();
    fs::create_dir(folder.join("M00004.lck")).unwrap();
    symlink("/etc/hostname", folder.join("M00005.lck")).unwrap();
    fs::write(folder.join("notes.txt"), "keep").unwrap();
    read(&path).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 6);
    let disk = write(&path).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    drop(disk);
    assert_eq!(
        fs::read_to_string(folder.join("notes.txt")).unwrap(),
        "keep"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

/// Somebody died between announcing a lock and entering it.
#[test]
fn who_never_finishes_choosing_is_not_waited_for_without_end() {
    let (_scratch, path) = disk();
    let folder = lock_folder(&path);
    fs::create_dir_all(folder.join("D00007.lck")).unwrap();
    fs::write(folder.join("E00007.lck"), "").unwrap();
    let start = Instant::now();
    let disk = write(&path).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(8));
    drop(disk);
    assert!(!folder.exists());
}

/// Somebody who gives away a disk can put anything in the place of its lock folder.
#[test]
fn no_link_leads_out_of_the_lock_folder() {
    let (scratch, path) = disk();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("M00001.lck"), "precious").unwrap();
    symlink(&outside, lock_folder(&path)).unwrap();
    let error = write(&path).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::AlreadyLocked, "{error}");
    read(&path).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    fs::remove_file(lock_folder(&path)).unwrap();

    fs::write(lock_folder(&path), "a lock of the oldest kind").unwrap();
    read(&path).unwrap();
    write(&path).unwrap();
    assert!(!lock_folder(&path).exists());
}

/// Exclusive and shared locks of many threads, each of which checks that nobody is there who must not be.
#[test]
fn sixteen_threads_never_meet() {
    const ROUNDS: u32 = 200;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let (writers, readers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let taken = AtomicUsize::new(0);
    let lock = |kind| match FolderGate.lock(&path, kind, Duration::ZERO) {
        Ok(lock) => Some(lock),
        Err(GateError::Locked(_)) => None,
        Err(error) => panic!("{error:?}"),
    };
    thread::scope(|scope| {
        for thread in 0..16 {
            let (writers, readers, taken, lock) = (&writers, &readers, &taken, &lock);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let is_writer = (thread + round) % 4 != 0;
                    let kind = if is_writer {
                        LockKind::Exclusive
                    } else {
                        LockKind::Shared
                    };
                    let Some(held) = lock(kind) else {
                        thread::yield_now();
                        continue;
                    };
                    if is_writer {
                        assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!(readers.load(Ordering::SeqCst), 0);
                        thread::yield_now();
                        writers.fetch_sub(1, Ordering::SeqCst);
                    } else {
                        readers.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(writers.load(Ordering::SeqCst), 0);
                        thread::yield_now();
                        readers.fetch_sub(1, Ordering::SeqCst);
                    }
                    taken.fetch_add(1, Ordering::SeqCst);
                    drop(held);
                }
            });
        }
    });
    assert!(taken.into_inner() > 50);
    assert!(!lock_folder(&path).exists());
}

/// What this test binary does as another process; see [`Holder`].
#[test]
#[ignore = "run by other tests as a process of its own"]
fn as_another_process() {
    let path = PathBuf::from(std::env::var_os("LOCK_TEST_DISK").unwrap());
    match std::env::var("LOCK_TEST_ROLE").unwrap().as_str() {
        "hold" => {
            let disk = write(&path).unwrap();
            disk.write_at(Sector::ZERO, &[7; 512]).unwrap();
            eprintln!("held");
            // Until the other side goes away, or this process is killed.
            std::io::stdin().lock().lines().for_each(drop);
        }
        "race" => {
            let inside = path.with_extension("inside");
            for _ in 0..30 {
                let disk = loop {
                    match write(&path) {
                        Ok(disk) => break disk,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyLocked),
                    }
                };
                fs::File::create_new(&inside).expect("nobody else is inside");
                thread::sleep(Duration::from_millis(1));
                fs::remove_file(&inside).unwrap();
                drop(disk);
            }
        }
        "stranger" => {
            let parent = path.join("locked/disk.vmdk");
            read(&parent).unwrap();
            let error = write(&parent).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            write(&path.join("child.vmdk")).unwrap();
        }
        role => panic!("{role}"),
    }
}

fn another_process(program: &Path, role: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["as_another_process", "--exact", "--ignored", "--nocapture"])
        .env("LOCK_TEST_ROLE", role)
        .env("LOCK_TEST_DISK", path);
    command
}

/// A process that has a disk open for writing.
struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Self {
        let mut child = another_process(&std::env::current_exe().unwrap(), "hold", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stderr.take().unwrap());
        let held = output.lines().any(|line| line.unwrap() == "held");
        assert!(held, "the other process did not get it");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_process_is_named_and_a_killed_one_forgotten() {
    let (_scratch, path) = disk();
    let mut holder = Holder::of(&path);
    is_locked(write(&path));
    is_locked(read(&path));
    // The gate alone, without the locks of the operating system.
    let error = FolderGate.lock(
        &fs::canonicalize(&path).unwrap(),
        LockKind::Look,
        Duration::ZERO,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&holder.0.id().to_string()), "{error}");

    holder.0.kill().unwrap();
    holder.0.wait().unwrap();
    assert!(
        lock_folder(&path).exists(),
        "what was killed could not remove it"
    );
    read(&path).unwrap();
    let disk = write(&path).unwrap();
    assert!(only_lock(&path)[1].starts_with(&format!("{}-", std::process::id())));
    drop(disk);
    assert!(!lock_folder(&path).exists());

    let mut holder = Holder::of(&path);
    drop(holder.0.stdin.take());
    assert!(holder.0.wait().unwrap().success());
    assert!(!lock_folder(&path).exists());
    write(&path).unwrap();
}

#[test]
fn processes_that_race_for_a_disk_never_meet() {
    let (_scratch, path) = disk();
    let program = std::env::current_exe().unwrap();
    let racers: Vec<Child> = (0..3)
        .map(|_| another_process(&program, "race", &path).spawn().unwrap())
        .collect();
    for mut racer in racers {
        assert!(racer.wait().unwrap().success());
    }
    assert!(!lock_folder(&path).exists());
}

/// Where nobody may make a lock folder, a disk can be read, and be the parent of one that is written.
#[test]
fn reading_needs_no_writable_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let everybody = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    everybody(scratch.path(), 0o777);
    let locked = scratch.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let parent = locked.join("disk.vmdk");
    fs::write(&parent, SparseImage::monolithic(SECTORS).build()).unwrap();
    let line = format!("RW {SECTORS} SPARSE \"child.vmdk\"");
    let text = descriptor("monolithicSparse", &[&line]);
    let image = SparseImage {
        text: child_of(&text, 0xaaaa_aaaa, 0x1f2e_3d4c, "locked/disk.vmdk"),
        ..SparseImage::monolithic(SECTORS)
    };
    let child = scratch.path().join("child.vmdk");
    fs::write(&child, image.build()).unwrap();
    for file in [&parent, &child] {
        everybody(file, 0o666);
    }
    everybody(&locked, 0o555);
    // Permissions do not bind the system's administrator.
    let program = scratch.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    everybody(&program, 0o755);
    let mut command = another_process(&program, "stranger", scratch.path());
    command.current_dir("/");
    if permissions_do_not_bind() {
        command.uid(65534).gid(65534);
    }
    let status = command.status().unwrap();
    assert!(status.success());
    everybody(&locked, 0o755);
}

fn permissions_do_not_bind() -> bool {
    let probe = tempfile::tempdir().unwrap();
    fs::set_permissions(probe.path(), fs::Permissions::from_mode(0o555)).unwrap();
    fs::create_dir(probe.path().join("x")).is_ok()
}

/// Waits until a server greets: qemu-nbd listens before it opens and locks the disk, and greets after that.
fn wait_for(socket: &Path, server: &mut Child) {
    let start = Instant::now();
    loop {
        assert!(server.try_wait().unwrap().is_none(), "it ended");
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not start"
        );
        let mut greeting = [0; 8];
        let greeted = UnixStream::connect(socket).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.read_exact(&mut greeting)
        });
        match greeted {
            Ok(()) => return assert_eq!(&greeting, b"NBDMAGIC"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[test]
fn qemu_keeps_us_out() {
    if !has_qemu() {
        return;
    }
    if Command::new("qemu-nbd").arg("--version").output().is_err() {
        return skip("qemu-nbd");
    }
    let scratch = tempfile::tempdir().unwrap();
    for (path, name) in [
        (disk_in(scratch.path()), "one"),
        (split_disk(scratch.path()), "split"),
    ] {
        let socket = scratch.path().join(name);
        let serve = |options: &[&str]| {
            let mut server = Command::new("qemu-nbd")
                .args(["-t", "-f", "vmdk", "-k"])
                .arg(&socket)
                .args(options)
                .arg(&path)
                .spawn()
                .unwrap();
            wait_for(&socket, &mut server);
            server
        };
        let end = |mut server: Child| {
            server.kill().unwrap();
            server.wait().unwrap();
            let _ = fs::remove_file(&socket);
        };
        let writer = serve(&[]);
        is_locked(write(&path));
        is_locked(read(&path));
        Disk::open(&path, &OpenOptions::new().ignore_locks(true)).unwrap();
        end(writer);
        let reader = serve(&["-r"]);
        is_locked(write(&path));
        read(&path).unwrap();
        end(reader);
        write(&path).unwrap();
    }
}

fn disk_in(folder: &Path) -> PathBuf {
    let path = folder.join("alone.vmdk");
    fs::write(&path, SparseImage::monolithic(SECTORS).build()).unwrap();
    path
}

#[test]
fn we_keep_qemu_out() {
    if !has_qemu() {
        return;
    }
    if Command::new("qemu-io").arg("--version").output().is_err() {
        return skip("qemu-io");
    }
    let scratch = tempfile::tempdir().unwrap();
    for path in [disk_in(scratch.path()), split_disk(scratch.path())] {
        let qemu = |options: &[&str]| {
            let output = Command::new("qemu-io")
                .args(["-f", "vmdk", "-c", "read 0 512"])
                .args(options)
                .arg(&path)
                .output()
                .unwrap();
            output.status.success()
        };
        assert!(qemu(&[]) && qemu(&["-r"]));
        let writer = write(&path).unwrap();
        assert!(!qemu(&[]));
        assert!(!qemu(&["-r"]));
        assert!(qemu(&["-r", "-U"]));
        drop(writer);
        let reader = read(&path).unwrap();
        assert!(!qemu(&[]));
        assert!(qemu(&["-r"]));
        drop(reader);
        assert!(qemu(&[]));
    }
}

/// What operations on closed disks take for their duration.
#[test]
fn one_file_is_locked_by_one_call() {
    let (scratch, path) = disk();
    let file = FolderGate.open_disk(&path, FileAccess::ReadWrite).unwrap();
    let lock = FileLock::exclusive(&FolderGate, &file).unwrap();
    is_locked(write(&path));
    is_locked(read(&path));
    drop((lock, file));
    let disk = write(&path).unwrap();
    let file = FolderGate.open_disk(&path, FileAccess::ReadWrite).unwrap();
    let error = FileLock::exclusive(&FolderGate, &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyLocked);
    drop(disk);
    assert!(lock_folders(scratch.path()).is_empty());
}
