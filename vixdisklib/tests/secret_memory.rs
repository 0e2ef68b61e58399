//! No memory is given back with a secret in it: an allocator looks at every block that is freed.
//!
//! One test function, because the allocator is the process's.

#![cfg(feature = "embedded")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

use vixdisklib::{
    ConnectOptions, ConnectParams, Credentials, Error, Library, Secret, Server, Spec,
};

/// The start of every secret here; nothing else has it.
const MARK: &[u8] = b"Tr0ub4dor&3";

static FOUND: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts the freed blocks that hold the mark. A block that grows is a new one here, and
/// the old one is freed, as the default of `realloc` has it.
struct Inspector;

// SAFETY: passes on to the system's allocator, and only reads a block before it is freed.
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that it may be read whole.
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a block of this allocator, initialised by `alloc`, which nobody else refers to any more.
        let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
        if bytes.windows(MARK.len()).any(|window| window == MARK) {
            FOUND.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Inspector = Inspector;

fn found() -> usize {
    FOUND.swap(0, Ordering::Relaxed)
}

fn mark() -> String {
    String::from_utf8(MARK.to_vec()).expect("ASCII")
}

fn secret() -> Secret {
    Secret::new(mark()).expect("no NUL")
}

fn server(credentials: Credentials) -> Server {
    Server::builder("vcenter.invalid")
        .credentials(credentials)
        .build()
        .expect("complete")
}

/// Everything that can be done with a server. There is none of that name: the embedded engine fails, and logs why; but
/// over a network it has nothing to clean up.
fn use_server(library: &Library, server: &Server) -> Vec<Error> {
    let moref = "vm-16".to_owned();
    let params = ConnectParams::on(server, Spec::Vm { moref }).expect("legal");
    let shown = format!("{params:?} {server:#?}");
    assert!(!shown.contains("Tr0ub4dor"));
    let refused = library.prepare_for_access(params.clone(), "test").map(drop);
    let access = library.prepare_for_access_if_possible(params.clone(), "test");
    let access = access.expect("goes on");
    library.cleanup(server).expect("nothing to do");
    let errors = vec![
        refused.expect_err("no vCenter"),
        access
            .connect(&ConnectOptions::new())
            .map(drop)
            .expect_err("no network"),
        library.end_access(&params, "test").expect_err("no vCenter"),
    ];
    drop(access);
    errors
}

#[test]
fn no_memory_is_freed_with_a_secret_in_it() {
    // It would be seen: in a block of its own, and in one that a growing string leaves behind.
    drop(mark());
    assert_eq!(found(), 1);
    let mut growing = mark();
    growing.reserve(4096);
    assert_eq!(found(), 1);
    drop(growing);
    assert_eq!(found(), 1);

    drop(secret());
    assert_eq!(found(), 0, "a secret");
    assert!(Secret::new(mark() + "\0").is_err());
    found();
    let mut with_nul = mark();
    with_nul.reserve_exact(16);
    found();
    with_nul.push('\0');
    assert!(Secret::new(with_nul).is_err());
    assert_eq!(found(), 0, "a secret that is refused");
    let _ = ConnectParams::builder(Spec::Local).credentials(Credentials::Password {
        user: String::new(),
        password: secret(),
    });
    assert_eq!(found(), 0, "parameters that are given up");

    let library = Library::embedded().expect("starts");
    for credentials in [
        Credentials::Password {
            user: "backup".to_owned(),
            password: secret(),
        },
        Credentials::Session {
            cookie: secret(),
            user: "backup".to_owned(),
            key: secret(),
        },
    ] {
        let server = server(credentials);
        let errors = use_server(&library, &server);
        assert!(!format!("{errors:?}").contains("Tr0ub4dor"));
        drop((errors, server));
        assert_eq!(found(), 0, "connecting");
    }
    let params = library
        .connect_local()
        .and_then(|local| local.connect_params());
    drop((params.expect("reported"), library));
    assert_eq!(found(), 0, "leaving");
}
