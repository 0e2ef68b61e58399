//! Failures on a server, from the library's log line to what a user reads: through a library that says it is connected and
//! opens local disks.

use std::ffi::{CString, c_char};
use std::fs;
use std::thread;

use disk_units::{Sector, SectorCount};
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    Bool, FnTable, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibHandle, va_list,
};

use super::*;
use crate::api::Api;
use crate::connection::{ConnectOptions, Connection, OpenFlags};
use crate::log::callback;
use crate::params::{ConnectParams, Credentials, Spec};
use crate::secret::Secret;
use crate::transport::Transport;
use crate::vddk_like::start;

const ACTUAL: &str = "0E:7A:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:12:34";
const EXPECTED: &str = "AA:BB:CC:DD:EE:FF:00:12:34:0E:7A:11:22:33:44:55:66:77:88:99";

fn log(text: &str) {
    let text = CString::new(text).expect("no NUL");
    // SAFETY: the log function takes its list as `vprintf` does.
    unsafe { va_list::call_with_text(callback::warn, &text) };
}

/// Connects to the files of this machine, whatever is asked for.
unsafe extern "C" fn connect_ex(
    _: *const VixDiskLibConnectParams,
    read_only: Bool,
    _: *const c_char,
    _: *const c_char,
    connection: *mut VixDiskLibConnection,
) -> VixError {
    use std::ptr::null;
    // SAFETY: null parameters mean local disks.
    unsafe { (TABLE.connect_ex)(null(), read_only, null(), null(), connection) }
}

unsafe extern "C" fn get_transport_mode(_: VixDiskLibHandle) -> *const c_char {
    c"nbdssl".as_ptr()
}

const REMOTE: FnTable = FnTable {
    connect_ex,
    get_transport_mode,
    ext_write_zeroes: None,
    ext_trim: None,
    ext_query_extents: None,
    ext_get_file_range: None,
    ext_get_property: None,
    ..TABLE
};

fn connect(api: &'static Api) -> Connection {
    let password = Secret::new("opensesame-23".to_owned()).expect("no NUL");
    let user = "backup".to_owned();
    let params = ConnectParams::builder(Spec::Vm {
        moref: "vm-16".to_owned(),
    })
    .server("vc.example.com")
    .credentials(Credentials::Password { user, password })
    .build()
    .expect("complete");
    let options = ConnectOptions::new().snapshot("snapshot-27");
    start(api).connect(params, &options).expect("connects")
}

#[test]
fn a_wrong_thumbprint_is_found_behind_an_unknown_error() {
    unsafe extern "C" fn open(
        _: VixDiskLibConnection,
        _: *const c_char,
        _: u32,
        _: *mut VixDiskLibHandle,
    ) -> VixError {
        log("VDDK_PhoneHome: cannot reach the collector");
        thread::spawn(|| {
            log(&format!(
                "SSL: thumbprint mismatch, actual {ACTUAL}, expected {EXPECTED}"
            ));
        })
        .join()
        .expect("no panic");
        log("VixDiskLib_Open: cannot open disk for backup with opensesame-23");
        VixError::FAIL
    }
    static API: Api = Api {
        table: FnTable { open, ..REMOTE },
        major: Some(8),
    };
    let connection = connect(&API);
    let error = connection
        .open_disk("[ds1] vm/vm.vmdk", OpenFlags::READ_ONLY)
        .expect_err("refused");
    let said = error.to_string();
    let start = "opening disk \"[ds1] vm/vm.vmdk\" of snapshot-27 at vc.example.com failed: ";
    assert!(
        said.starts_with(start) && said.ends_with("(VIX_E_FAIL, 0x1)"),
        "{said}"
    );
    assert_eq!(error.server(), Some("vc.example.com"));
    assert_eq!(error.path(), Some(Path::new("[ds1] vm/vm.vmdk")));
    assert_eq!(error.transport(), None, "not chosen yet");
    let pair = Hint::WrongThumbprint {
        actual: Some(ACTUAL.to_owned()),
        expected: Some(EXPECTED.to_owned()),
    };
    assert_eq!(error.hint(), Some(pair));
    assert_eq!(error.retry(), Retry::Fatal);

    let lines: Vec<_> = error
        .log_lines()
        .iter()
        .map(|line| (line.text(), line.other_thread()))
        // Tests that run beside this one log as well.
        .filter(|(text, other)| !other || text.contains("thumbprint"))
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[0],
        (
            "VixDiskLib_Open: cannot open disk for backup with ***",
            false
        )
    );
    assert!(lines[1].1 && lines[1].0.starts_with("SSL: thumbprint mismatch"));
    assert_eq!(
        lines[2],
        ("VDDK_PhoneHome: cannot reach the collector", false)
    );
}

#[test]
fn a_host_without_memory_is_found_behind_a_failed_read() {
    unsafe extern "C" fn read(_: VixDiskLibHandle, _: u64, _: u64, _: *mut u8) -> VixError {
        log(
            "[NFC ERROR] received NFC error 5 from server: Failed to allocate the requested 2097176 bytes",
        );
        VixError::OUT_OF_MEMORY
    }
    static API: Api = Api {
        table: FnTable {
            read,
            read_async: None,
            write_async: None,
            ..REMOTE
        },
        major: Some(8),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.vmdk");
    let text = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
                createType=\"monolithicFlat\"\n\n# Extent description\nRW 64 FLAT \"disk-flat.vmdk\" 0\n";
    fs::write(folder.path().join("disk-flat.vmdk"), [0; 64 * 512]).expect("an extent");
    fs::write(&path, text).expect("a descriptor");
    let disk = connect(&API)
        .open_disk(&path, OpenFlags::READ_ONLY)
        .expect("opens");
    let error = disk
        .read_at(Sector::new(8), &mut [0; 4096])
        .expect_err("no memory");
    let path = path.display();
    let said = error.to_string();
    let start = format!(
        "reading sectors 8..16 \"{path}\" of snapshot-27 at vc.example.com over nbdssl failed: "
    );
    assert!(
        said.starts_with(&start) && said.ends_with("(VIX_E_OUT_OF_MEMORY, 0x2)"),
        "{said}"
    );
    let range = SectorRange::new(Sector::new(8), SectorCount::new(8));
    assert_eq!(
        (error.sectors(), error.transport()),
        (range, Some(&Transport::NBDSSL))
    );
    assert_eq!(error.hint(), Some(Hint::HostMemory));
    assert!(error.is_retryable());

    // What this crate refuses says where, too.
    let error = disk
        .read_at(Sector::new(64), &mut [0; 512])
        .expect_err("behind the end");
    assert_eq!(
        (error.server(), error.hint()),
        (Some("vc.example.com"), None)
    );
    assert_eq!(error.retry(), Retry::Fatal);
}
