//! Lines as the library might log them, written for these tests, and the hints they give.

use super::*;
use crate::error::ErrorKind;
use crate::log::LogLine;

const ACTUAL: &str = "0E:7A:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:12:34";
const EXPECTED: &str = "AA:BB:CC:DD:EE:FF:00:12:34:0E:7A:11:22:33:44:55:66:77:88:99";

fn remote(code: VixError, operation: Operation, lines: &[(&str, bool)]) -> Error {
    let lines = lines
        .iter()
        .map(|(text, other)| LogLine::for_test(text, *other))
        .collect();
    Error::from_code(operation, code, "Unknown error".to_owned(), lines)
        .with_path("[datastore1] vm/vm.vmdk")
        .with_context(Context::Server("vc.example.com".to_owned()))
}

fn opening(code: VixError, line: &str) -> Option<Hint> {
    remote(code, Operation::Open, &[(line, false)]).hint()
}

#[test]
fn every_cause_is_found_in_a_line_of_its_kind() {
    let lines: &[(VixError, &str, Hint)] = &[
        (
            VixError::OUT_OF_MEMORY,
            "[NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested 2097176 bytes",
            Hint::HostMemory,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: Error occurred when obtaining NFC ticket: Cannot create disk spec.",
            Hint::IndependentDisk,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: Login failure. Cannot complete login due to an incorrect user name or password.",
            Hint::WrongCredentials,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: Fault: Permission to perform this operation was denied.",
            Hint::MissingPrivilege,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: The object 'vim.VirtualMachine:vm-9' has already been deleted or has not been completely created",
            Hint::ObjectGone,
        ),
        (
            VixError::FAIL,
            "CnxOpenTCPSocket: Cannot connect to server esx7.example.com:902: Connection refused",
            Hint::PortBlocked,
        ),
        (
            VixError::HOST_TCP_SOCKET_ERROR,
            "CnxOpenTCPSocket: Cannot connect to server 10.0.0.7:902: timed out",
            Hint::PortBlocked,
        ),
        (
            VixError::CANNOT_CONNECT_TO_HOST,
            "SSL: cannot check the certificate: no host vc.example.com",
            Hint::NameNotResolved,
        ),
        (
            VixError::FAIL,
            "[NFC ERROR] NfcAioProcessOpenFileMsg: Failed to open: DiskLib error 16392: Failed to lock the file",
            Hint::DiskLocked,
        ),
        (
            VixError::FILE_ACCESS_ERROR,
            "NfcAioProcessOpenFileMsg: permission check failed for [ds] vm/vm.vmdk, access = 1",
            Hint::SnapshotNotNamed,
        ),
        (
            VixError::NOT_SUPPORTED,
            "VixDiskLib: the host's version 5.5.0 is not supported by this release",
            Hint::HostTooOld,
        ),
        (
            VixError::NOT_SUPPORTED,
            "DISKLIB-PLUGIN : Not loading plugin /opt/vddk/lib64/libdiskLibPlugin.so: Not a shared library.",
            Hint::PluginMissing,
        ),
        (
            VixError::FAIL,
            "SSLLoadSharedLibrary: libcrypto.so.3: cannot open shared object file",
            Hint::CryptoLibrary,
        ),
        (
            VixError::FAIL,
            "OpenSSL: FIPS self test failed: error:0308010C",
            Hint::CryptoLibrary,
        ),
        (
            VixError::FILE_ACCESS_ERROR,
            "VixDiskLib: No transport modes availble to access disk [ds] vm/vm.vmdk.",
            Hint::NoTransport,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: PrepareForAccess: the host agent at esx7.example.com is not a vCenter",
            Hint::NotVcenter,
        ),
        (
            VixError::FAIL,
            "VixDiskLibVim: fault vim.fault.RestrictedVersion",
            Hint::NotLicensed,
        ),
    ];
    for (code, line, hint) in lines {
        assert_eq!(opening(*code, line).as_ref(), Some(hint), "{line}");
    }
}

#[test]
fn each_pattern_is_lower_case_and_can_win() {
    for pattern in PATTERNS {
        let line = pattern.words.join(" ");
        assert_eq!(line, line.to_lowercase());
        let found = recognise(std::slice::from_ref(&line)).expect("its own words fit");
        let same = match &pattern.cause {
            Cause::Thumbprint => matches!(found, Hint::WrongThumbprint { .. }),
            Cause::Plain(hint) => found == *hint,
        };
        assert!(same, "{line}: {found:?} is found first");
    }
}

#[test]
fn a_wrong_thumbprint_is_named_with_the_right_one() {
    let pair = Hint::WrongThumbprint {
        actual: Some(ACTUAL.to_owned()),
        expected: Some(EXPECTED.to_owned()),
    };
    let lines = [
        format!("SSL: thumbprint mismatch: actual {ACTUAL}, expected {EXPECTED}"),
        format!("SSL: thumbprint mismatch, expected={EXPECTED}; actual={ACTUAL}."),
        format!("SSL: thumbprint mismatch (actual/expected): {ACTUAL} / {EXPECTED}"),
        format!("PreferredThumbprint does not match the certificate's: {ACTUAL} {EXPECTED}"),
        format!(
            "VixDiskLib_Open: presenting a ticket to esx.example (TCP 902) failed: \
             the server's certificate has the thumbprint {ACTUAL}, not {EXPECTED}"
        ),
    ];
    for line in &lines {
        assert_eq!(
            opening(VixError::FAIL, line).as_ref(),
            Some(&pair),
            "{line}"
        );
        assert_eq!(
            opening(VixError::CANNOT_CONNECT_TO_HOST, line).as_ref(),
            Some(&pair)
        );
    }
    let two = [
        ("SSL: thumbprint mismatch", false),
        (&*format!("  expected: {EXPECTED}"), false),
        (&*format!("  actual: {ACTUAL}"), false),
    ];
    let error = remote(VixError::FAIL, Operation::Open, &two);
    assert_eq!(error.hint(), Some(pair.clone()));
    assert!(!error.is_retryable());
    assert_eq!(
        pair.to_string(),
        format!(
            "the server's certificate does not have the given thumbprint: it has {ACTUAL}, given was {EXPECTED}"
        )
    );
    let bare = opening(VixError::FAIL, "thumbprint mismatch at 12:34:56");
    assert_eq!(
        bare,
        Some(Hint::WrongThumbprint {
            actual: None,
            expected: None
        })
    );
}

/// The embedded engine names the port with every failure of a host, whatever was wrong.
#[test]
fn a_port_that_answers_is_not_blocked() {
    let line = "VixDiskLib_Open: presenting a ticket to esx.example (TCP 902) failed: \
                the host did not take the ticket: 530 Please login with USER and PASS";
    let hint = opening(VixError::HOST_USER_PERMISSIONS, line);
    assert_eq!(hint, Some(Hint::MissingPrivilege));
}

#[test]
fn other_threads_count_only_where_the_own_says_nothing() {
    let lock = ("DiskLib error 16392", true);
    let own = ("login failure for backup", false);
    let error = remote(VixError::FAIL, Operation::Open, &[own, lock]);
    assert_eq!(error.hint(), Some(Hint::WrongCredentials));
    let vague = ("VixDiskLib_Open: Cannot open disk. Error 1", false);
    let error = remote(VixError::FAIL, Operation::Open, &[vague, lock]);
    assert_eq!(error.hint(), Some(Hint::DiskLocked));
}

#[test]
fn codes_mean_what_the_circumstances_say() {
    let hint = |code, operation| remote(code, operation, &[]).hint();
    assert_eq!(
        hint(VixError::FAIL, Operation::Open),
        Some(Hint::ConnectParams)
    );
    assert_eq!(hint(VixError::FAIL, Operation::Read), None);
    assert_eq!(
        hint(VixError::OUT_OF_MEMORY, Operation::Read),
        Some(Hint::HostMemory)
    );
    assert_eq!(
        hint(VixError::FILE_NOT_FOUND, Operation::Open),
        Some(Hint::DiskMoved)
    );
    assert_eq!(
        hint(VixError::FILE_ACCESS_ERROR, Operation::Open),
        Some(Hint::SnapshotNotNamed)
    );
    assert_eq!(
        hint(VixError::FILE_ACCESS_ERROR, Operation::Read),
        Some(Hint::ConnectionLost)
    );
    assert_eq!(
        hint(VixError::FILE_ALREADY_LOCKED, Operation::Open),
        Some(Hint::DiskLocked)
    );
    assert_eq!(
        hint(VixError::HOST_NETWORK_CONN_REFUSED, Operation::Open),
        Some(Hint::PortBlocked)
    );
    assert_eq!(
        hint(VixError::HOST_TCP_CONN_LOST, Operation::Read),
        Some(Hint::ConnectionLost)
    );
    assert_eq!(
        hint(VixError::CANNOT_CONNECT_TO_HOST, Operation::Connect),
        Some(Hint::HostUnreachable)
    );
    assert_eq!(hint(VixError::INVALID_ARG, Operation::Extents), None);

    let named = remote(VixError::FILE_ACCESS_ERROR, Operation::Open, &[])
        .with_context(Context::Snapshot("snapshot-27".to_owned()));
    assert_eq!(named.hint(), None);
    let local = Error::from_code(
        Operation::Read,
        VixError::OUT_OF_MEMORY,
        String::new(),
        Vec::new(),
    );
    assert_eq!(local.hint(), None);
}

#[test]
fn a_name_of_the_other_kind_is_noticed() {
    let open = |path: &str, server: bool| {
        let error = Error::from_code(
            Operation::Open,
            VixError::DISK_INVAL,
            String::new(),
            Vec::new(),
        );
        let error = error.with_path(path);
        if server {
            error.with_context(Context::Server("vc".to_owned())).hint()
        } else {
            error.hint()
        }
    };
    assert_eq!(open("/vm/a.vmdk", true), Some(Hint::PathOfOtherKind));
    assert_eq!(open("C:\\vm\\a.vmdk", true), Some(Hint::PathOfOtherKind));
    assert_eq!(
        open("/home/me/[ds] vm/a.vmdk", false),
        Some(Hint::PathOfOtherKind)
    );
    assert_eq!(open("[ds] vm/a.vmdk", true), None);
    assert_eq!(open("/vm/a.vmdk", false), None);
    assert_eq!(open("/vm/[1]/a.vmdk", false), None);
    assert_eq!(open("4bb2e6ad-1c3d", true), None);
}

#[test]
fn a_library_that_cannot_be_loaded_gives_its_reason() {
    let error = Error::new(ErrorKind::Load, Operation::Load, "it is not usable")
        .with_cause("libssl.so.3: cannot open shared object file: No such file or directory");
    assert_eq!(error.hint(), Some(Hint::CryptoLibrary));
}

#[test]
fn hints_are_one_line_each() {
    for pattern in PATTERNS {
        if let Cause::Plain(hint) = &pattern.cause {
            let text = hint.to_string();
            assert!(!text.contains('\n') && text.len() < 140, "{text}");
        }
    }
}
