use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vsphere_nfc::wire::aio::{FileOpened, OpenSession, Reply, Request};
use vsphere_nfc::{Error, ErrorKind, OpenOptions, RemoteDisk};

use crate::host::{Host, PATH, Verdict, options, read};

/// Opens a disk at a host that refuses it; gives the error and whether the connection was hung up.
fn refused(code: u32, text: &'static str, late_reply: bool, options: &OpenOptions) -> Error {
    let host = Host::new(8).script(move |connection, message| match message.request {
        Request::OpenFile(_) => {
            connection.refuse(message.operation, code, text)?;
            if late_reply {
                let nothing = Reply::FileOpened(FileOpened::default());
                connection.send(message.operation, nothing, &[])?;
            }
            Ok(Verdict::Served)
        }
        _ => Ok(Verdict::Serve),
    });
    host.open(options).unwrap_err()
}

#[test]
fn refusals_are_told_as_what_they_are() {
    let permission = "NfcAioProcessOpenFileMsg: permission check failed for file, access = 2";
    let cases = [
        (11, permission, false, ErrorKind::AccessRefused),
        (11, permission, true, ErrorKind::ReadOnly),
        (
            1,
            "DiskLib error 16392: Failed to lock the file",
            false,
            ErrorKind::AlreadyLocked,
        ),
        (1, "Could not find the file", true, ErrorKind::FileNotFound),
        (77, "", false, ErrorKind::Failed),
    ];
    for (code, text, writable, kind) in cases {
        for late_reply in [false, true] {
            let error = refused(code, text, late_reply, &options().writable(writable));
            assert_eq!(error.kind(), kind, "{text}");
            assert_eq!(error.code(), Some(code));
            assert_eq!(error.server_text(), Some(text));
            assert_eq!(error.object(), Some(PATH));
        }
    }
}

#[test]
fn a_status_is_a_refusal_too() {
    let host = Host::new(8).script(|connection, message| match message.request {
        Request::OpenFile(_) => {
            let opened = FileOpened {
                status: 11,
                ..FileOpened::default()
            };
            connection.send(message.operation, Reply::FileOpened(opened), &[])?;
            Ok(Verdict::Served)
        }
        _ => Ok(Verdict::Serve),
    });
    let error = host.open(&options()).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::AccessRefused, Some(11))
    );
}

#[test]
fn what_is_no_disk_is_refused() {
    type Change = fn(&mut FileOpened);
    let changes: [(Change, bool); 7] = [
        (|_| (), true),
        (|opened| opened.sector_size = 0, true),
        (|opened| opened.sector_size = 4096, true),
        (|opened| opened.sector_size = 500, false),
        (|opened| opened.handle = 0, false),
        (|opened| opened.file_type = 1, false),
        (|opened| opened.capacity += 1, false),
    ];
    for (number, (change, is_fine)) in changes.into_iter().enumerate() {
        let host = Host::new(80).script(move |connection, message| match message.request {
            Request::OpenFile(open) => {
                let mut opened = connection.opened(open);
                change(&mut opened);
                connection.send(message.operation, Reply::FileOpened(opened), &[])?;
                Ok(Verdict::Served)
            }
            _ => Ok(Verdict::Serve),
        });
        match host.open(&options()) {
            Ok(disk) => {
                assert!(is_fine, "change {number}");
                read(&disk, 8, 8).unwrap();
                let sector = disk.sector_size();
                assert_eq!(read(&disk, 8, 1).is_ok(), sector == 512);
                assert_eq!(read(&disk, 1, 8).is_ok(), sector == 512);
            }
            Err(error) => {
                assert!(!is_fine, "change {number}: {error}");
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        }
    }
}

/// Which buffers were asked for until the host was content with them.
fn negotiated(buffers: (u32, u32), options: &OpenOptions) -> (Vec<OpenSession>, Option<ErrorKind>) {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let mut host = Host::new(1000);
    host.buffers = buffers;
    let host = host.script(move |_, message| {
        if let Request::OpenSession(open) = message.request {
            seen.lock().unwrap().push(open);
        }
        Ok(Verdict::Serve)
    });
    let error = match host.open(options) {
        Ok(disk) => {
            assert!(read(&disk, 0, 1000).unwrap() == host.data());
            None
        }
        Err(error) => Some(error.kind()),
    };
    assert_eq!(host.dials(), 1);
    (std::mem::take(&mut asked.lock().unwrap()), error)
}

#[test]
fn buffers_become_smaller_until_the_host_has_them() {
    let sizes = |buffers, options: &OpenOptions| {
        let (asked, error) = negotiated(buffers, options);
        let asked: Vec<_> = asked
            .iter()
            .map(|open| (open.buffer_size >> 10, open.buffer_count))
            .collect();
        (asked, error)
    };
    let all = [(2048, 4), (1024, 4), (512, 4), (256, 4), (64, 4), (64, 1)];
    assert_eq!(sizes((2 << 20, 4), &options()), (all[..1].to_vec(), None));
    assert_eq!(sizes((512 << 10, 4), &options()), (all[..3].to_vec(), None));
    assert_eq!(sizes((64 << 10, 1), &options()), (all.to_vec(), None));
    let none = Some(ErrorKind::OutOfMemory);
    assert_eq!(sizes((0, 0), &options()), (all.to_vec(), none));
    let small = options().buffer_size(300_000);
    assert_eq!(sizes((2 << 20, 4), &small), (all[3..4].to_vec(), None));
    let none_fits = options().buffer_size(0);
    assert_eq!(sizes((2 << 20, 4), &none_fits), (all[5..].to_vec(), None));
}

#[test]
fn a_dial_that_fails_is_the_error() {
    let tried = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tried);
    let other = Host::new(8).script(|_, _| Ok(Verdict::HangUp));
    let dial = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let nowhere = other.open(&options()).unwrap_err();
        Err(nowhere)
    };
    let error = RemoteDisk::open(dial, "[elsewhere] a.vmdk", &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(error.object(), Some(PATH), "what was said first stays");
    assert_eq!(tried.load(Ordering::SeqCst), 1);
    let host = Arc::new(Host::new(8));
    for path in [String::new(), "x".repeat(5000)] {
        let dialing = Arc::clone(&host);
        let error = RemoteDisk::open(move || dialing.dial(), &path, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(host.dials(), 0);
}

#[test]
fn closing_says_goodbye_and_leaves_nothing() {
    let host = Host::new(8).script(|connection, message| {
        connection.held.push(message.clone());
        if let Request::CloseSession(_) = message.request {
            let kinds: Vec<_> = connection
                .held
                .iter()
                .map(|message| message.request.kind().number())
                .collect();
            assert_eq!(kinds, [2, 9, 22, 4, 5, 3]);
            let numbers: Vec<_> = connection
                .held
                .iter()
                .map(|message| message.operation)
                .collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        }
        Ok(Verdict::Serve)
    });
    let disk = host.open(&options()).unwrap();
    disk.close().unwrap();
    assert_eq!(host.goodbyes(), 1);
    // Dropping it does the same.
    host.goodbyes.store(0, Ordering::SeqCst);
    drop(host.open(&options()).unwrap());
    assert_eq!(host.goodbyes(), 1);
}

#[test]
fn two_hundred_rounds_leave_no_descriptors_and_no_threads() {
    let count = |folder: &str| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let host = Arc::new(Host::new(8));
    read(&host.open(&options()).unwrap(), 0, 8).unwrap();
    for _ in 0..200 {
        let disk = host.open(&options()).unwrap();
        read(&disk, 0, 8).unwrap();
        disk.close().unwrap();
    }
    assert_eq!(host.dials(), 201);
    for _ in 0..200 {
        // Other tests may run in this process, so it is only a bound.
        if count("/proc/self/fd") < 150 && count("/proc/self/task") < 150 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!(
        "{} descriptors, {} threads",
        count("/proc/self/fd"),
        count("/proc/self/task")
    );
}
