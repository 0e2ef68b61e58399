//! What is injected, how a disk is used meanwhile, and what a program sees of it.

use vixdisklib::{OpenFlags, VixError};

/// Injections, the flags of the disk, and what comes of it.
pub(super) type Row = (&'static [&'static str], OpenFlags, Expected);

/// Which call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Open,
    Read,
    Write,
}
pub(super) use Step::{Connect, Open, Read, Write};

/// What a program sees.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Everything works, at most slower.
    Works,
    /// A call fails with this code, its name, and the hint of this name, if there is one.
    Fails(Step, VixError, &'static str, &'static str),
}
pub(super) use Expected::{Fails, Works};

pub(super) const NONE: OpenFlags = OpenFlags::empty();
const ZLIB: OpenFlags = OpenFlags::COMPRESSION_ZLIB;
const FASTLZ: OpenFlags = OpenFlags::COMPRESSION_FASTLZ;
const SKIPZ: OpenFlags = OpenFlags::COMPRESSION_SKIPZ;

/// Wrong data of a host, or an answer that it must not give.
const BREACH: Expected = Fails(
    Read,
    VixError::HOST_NETBLKDEV_HANDSHAKE,
    "VIX_E_HOST_NETBLKDEV_HANDSHAKE",
    "",
);
const REFUSED_HANDSHAKE: Expected = Fails(
    Open,
    VixError::HOST_NETBLKDEV_HANDSHAKE,
    "VIX_E_HOST_NETBLKDEV_HANDSHAKE",
    "",
);
const LOST: Expected = Fails(
    Read,
    VixError::HOST_TCP_CONN_LOST,
    "VIX_E_HOST_TCP_CONN_LOST",
    "ConnectionLost",
);
const OUT_OF_MEMORY: VixError = VixError::OUT_OF_MEMORY;

const fn permission(step: Step, hint: &'static str) -> Expected {
    let code = VixError::HOST_USER_PERMISSIONS;
    Fails(step, code, "VIX_E_HOST_USER_PERMISSIONS", hint)
}

const fn certificate(step: Step) -> Expected {
    let code = VixError::CANNOT_CONNECT_TO_HOST;
    Fails(
        step,
        code,
        "VIX_E_CANNOT_CONNECT_TO_HOST",
        "WrongThumbprint",
    )
}

/// A reader under these injections, with these flags.
pub(super) const READER: &[Row] = &[
    (
        &["wrong-password"],
        NONE,
        permission(Connect, "WrongCredentials"),
    ),
    (&["session-expired=times:1"], NONE, Works),
    (
        &["unknown-vm"],
        NONE,
        Fails(
            Open,
            VixError::VM_NOT_FOUND,
            "VIX_E_VM_NOT_FOUND",
            "ObjectGone",
        ),
    ),
    (
        &["soap-fault=method:NfcGetVmFiles,type:NoPermission"],
        NONE,
        permission(Open, "MissingPrivilege"),
    ),
    (
        &["soap-fault=method:NfcGetVmFiles,type:InvalidRequest"],
        NONE,
        Fails(Open, VixError::NOT_SUPPORTED, "VIX_E_NOT_SUPPORTED", ""),
    ),
    (
        &["soap-fault=method:NfcGetVmFiles,type:InvalidArgument"],
        NONE,
        Fails(Open, VixError::INVALID_ARG, "VIX_E_INVALID_ARG", ""),
    ),
    (
        &["soap-fault=method:NfcGetVmFiles,type:FileLocked"],
        NONE,
        Fails(
            Open,
            VixError::FILE_ALREADY_LOCKED,
            "VIX_E_FILE_ALREADY_LOCKED",
            "DiskLocked",
        ),
    ),
    (
        &["soap-fault=method:NfcGetVmFiles,type:HostCommunication"],
        NONE,
        Fails(
            Open,
            VixError::HOST_NOT_CONNECTED,
            "VIX_E_HOST_NOT_CONNECTED",
            "",
        ),
    ),
    (
        &["http-error=status:503"],
        NONE,
        Fails(
            Connect,
            VixError::CANNOT_CONNECT_TO_HOST,
            "VIX_E_CANNOT_CONNECT_TO_HOST",
            "HostUnreachable",
        ),
    ),
    (&["management-certificate"], NONE, certificate(Connect)),
    (&["ticket-thumbprint"], NONE, certificate(Open)),
    (&["announced-sha256"], NONE, certificate(Open)),
    (&["second-certificate"], NONE, certificate(Open)),
    (&["ticket-refused=how:line,times:1"], NONE, Works),
    (&["ticket-refused=how:close,times:1"], NONE, Works),
    (
        &["ticket-refused=how:line"],
        NONE,
        permission(Open, "MissingPrivilege"),
    ),
    (
        &["ticket-refused=how:close"],
        NONE,
        Fails(
            Open,
            VixError::HOST_TCP_CONN_LOST,
            "VIX_E_HOST_TCP_CONN_LOST",
            "ConnectionLost",
        ),
    ),
    (&["greeting=without:sha256"], NONE, Works),
    (
        &["greeting=without:nfcssl"],
        NONE,
        Fails(Open, VixError::NOT_SUPPORTED, "VIX_E_NOT_SUPPORTED", ""),
    ),
    (&["proxy-refused"], NONE, REFUSED_HANDSHAKE),
    (
        &["classic-refused=instead:36,with:end"],
        NONE,
        REFUSED_HANDSHAKE,
    ),
    (
        &["classic-refused=instead:51,with:error"],
        NONE,
        REFUSED_HANDSHAKE,
    ),
    (
        &["classic-refused=instead:52,with:end"],
        NONE,
        REFUSED_HANDSHAKE,
    ),
    (&["probe-reply=late:true"], NONE, Works),
    (&["probe-reply=late:false"], NONE, Works),
    (
        &["open-refused=reason:locked"],
        NONE,
        Fails(
            Open,
            VixError::FILE_ALREADY_LOCKED,
            "VIX_E_FILE_ALREADY_LOCKED",
            "DiskLocked",
        ),
    ),
    (
        &[
            "open-refused=reason:multiwriter",
            "error-reply=trailing:false",
        ],
        NONE,
        Fails(
            Open,
            VixError::FILE_ALREADY_LOCKED,
            "VIX_E_FILE_ALREADY_LOCKED",
            "DiskLocked",
        ),
    ),
    (
        &["open-refused=reason:missing", "error-reply=trailing:true"],
        NONE,
        Fails(
            Open,
            VixError::FILE_NOT_FOUND,
            "VIX_E_FILE_NOT_FOUND",
            "DiskMoved",
        ),
    ),
    (
        &["open-refused=reason:permission"],
        NONE,
        Fails(
            Open,
            VixError::FILE_ACCESS_ERROR,
            "VIX_E_FILE_ACCESS_ERROR",
            "SnapshotNotNamed",
        ),
    ),
    (
        &["open-refused=code:99,text:who knows"],
        NONE,
        Fails(Open, VixError::FAIL, "VIX_E_FAIL", "ConnectParams"),
    ),
    (
        &[
            "io-error=on:read,code:13,text:broken,after:3",
            "error-reply=trailing:false",
        ],
        NONE,
        Fails(Read, VixError::FILE_ERROR, "VIX_E_FILE_ERROR", ""),
    ),
    (
        &[
            "io-error=on:read,code:13,text:broken,after:3",
            "error-reply=trailing:true",
        ],
        NONE,
        Fails(Read, VixError::FILE_ERROR, "VIX_E_FILE_ERROR", ""),
    ),
    (&["out-of-memory=above:65536"], NONE, Works),
    (
        &["out-of-memory=above:0"],
        NONE,
        Fails(Read, OUT_OF_MEMORY, "VIX_E_OUT_OF_MEMORY", "HostMemory"),
    ),
    (
        &["session-refused"],
        NONE,
        Fails(Open, OUT_OF_MEMORY, "VIX_E_OUT_OF_MEMORY", "HostMemory"),
    ),
    (
        &["session-limit"],
        NONE,
        Fails(Open, OUT_OF_MEMORY, "VIX_E_OUT_OF_MEMORY", "HostMemory"),
    ),
    (&["disconnect=messages:26,times:1"], NONE, Works),
    (
        &["disconnect=messages:12"],
        NONE,
        Fails(
            Open,
            VixError::HOST_TCP_CONN_LOST,
            "VIX_E_HOST_TCP_CONN_LOST",
            "ConnectionLost",
        ),
    ),
    (
        &["disconnect-in-read=bytes:1000,after:3,times:1"],
        NONE,
        Works,
    ),
    (&["disconnect-in-read=bytes:1000,after:3"], NONE, LOST),
    (&["truncated-frame=after:18,times:1"], NONE, Works),
    (&["truncated-frame=after:18"], NONE, LOST),
    (&["bad-header=field:magic,after:18"], NONE, BREACH),
    (&["bad-header=field:operation,after:18"], NONE, BREACH),
    (&["bad-header=field:kind,after:18"], NONE, BREACH),
    (&["bad-fragment=fault:overlap,after:2"], NONE, BREACH),
    (&["bad-fragment=fault:range,after:2"], ZLIB, BREACH),
    (&["bad-fragment=fault:empty,after:2"], FASTLZ, BREACH),
    (&["bad-fragment=fault:length,after:2"], SKIPZ, BREACH),
    (&["bad-fragment=fault:data,after:2"], NONE, BREACH),
    (&["bad-fragment=fault:data,after:2"], ZLIB, BREACH),
    (&["bad-fragment=fault:data,after:2"], FASTLZ, BREACH),
    (&["bad-fragment=fault:data,after:2"], SKIPZ, BREACH),
    (&["raw-skipz"], SKIPZ, Works),
    (&["uncompressed"], ZLIB, Works),
    (&["shuffle"], NONE, Works),
    (&["delay=ms:2,times:50"], NONE, Works),
    (&["bandwidth=bytes:4000000"], NONE, Works),
    (&["stall=ms:400,after:6,times:1"], NONE, Works),
    // Longer than anybody waits: the connection is given up, and made again.
    (&["stall=ms:1500,after:8,times:1"], NONE, Works),
    (
        &["stall=ms:1500,after:18"],
        NONE,
        Fails(
            Read,
            VixError::HOST_TCP_SOCKET_ERROR,
            "VIX_E_HOST_TCP_SOCKET_ERROR",
            "",
        ),
    ),
    (&["host-switch=how:close,after:8,times:1"], NONE, Works),
    (&["host-switch=how:message,after:8,times:1"], NONE, Works),
    (
        &["host-switch=how:message"],
        NONE,
        Fails(
            Open,
            VixError::HOST_TCP_CONN_LOST,
            "VIX_E_HOST_TCP_CONN_LOST",
            "ConnectionLost",
        ),
    ),
    (
        &["maintenance=state:in"],
        NONE,
        Fails(
            Open,
            VixError::HOST_SERVER_NOT_AVAILABLE,
            "VIX_E_HOST_SERVER_NOT_AVAILABLE",
            "",
        ),
    ),
    (
        &["maintenance=state:entering"],
        NONE,
        Fails(
            Open,
            VixError::HOST_SERVER_SHUTDOWN,
            "VIX_E_HOST_SERVER_SHUTDOWN",
            "",
        ),
    ),
    (
        &["host-disconnected"],
        NONE,
        Fails(
            Open,
            VixError::HOST_NOT_CONNECTED,
            "VIX_E_HOST_NOT_CONNECTED",
            "",
        ),
    ),
    (&["no-blocks"], NONE, Works),
];

/// A writer under these injections.
pub(super) const WRITER: &[Row] = &[
    (
        &["read-only-tickets"],
        NONE,
        Fails(
            Open,
            VixError::FILE_READ_ONLY,
            "VIX_E_FILE_READ_ONLY",
            "SnapshotNotNamed",
        ),
    ),
    (
        &["open-refused=reason:permission"],
        NONE,
        Fails(
            Open,
            VixError::FILE_READ_ONLY,
            "VIX_E_FILE_READ_ONLY",
            "SnapshotNotNamed",
        ),
    ),
    (
        &["io-error=on:write,code:13,text:broken,after:3"],
        NONE,
        Fails(Write, VixError::FILE_ERROR, "VIX_E_FILE_ERROR", ""),
    ),
    (
        &[
            "io-error=on:write,code:13,text:broken,after:3",
            "error-reply=trailing:true",
        ],
        NONE,
        Fails(Write, VixError::FILE_ERROR, "VIX_E_FILE_ERROR", ""),
    ),
    (&["out-of-memory=above:65536"], ZLIB, Works),
    // A write is never repeated by itself.
    (
        &["disconnect=messages:50,times:1"],
        NONE,
        Fails(
            Write,
            VixError::HOST_TCP_CONN_LOST,
            "VIX_E_HOST_TCP_CONN_LOST",
            "ConnectionLost",
        ),
    ),
    (
        &["host-switch=how:close,after:20,times:1"],
        SKIPZ,
        Fails(
            Write,
            VixError::HOST_TCP_CONN_LOST,
            "VIX_E_HOST_TCP_CONN_LOST",
            "ConnectionLost",
        ),
    ),
    (&["delayed-write-reply=writes:3"], NONE, Works),
    (&["stall=ms:400,after:6,times:1"], FASTLZ, Works),
    (&["delay=ms:2,times:50"], NONE, Works),
];

/// A reader with large buffers under these injections.
pub(super) const LARGE: &[Row] = &[
    (&["small-buffers=limit:65536"], NONE, Works),
    (&["small-buffers=limit:262144"], SKIPZ, Works),
];

/// Injections that are a property of the server: that they are there is not noted.
pub(super) const PROPERTIES: [&str; 5] = [
    "shuffle",
    "probe-reply",
    "error-reply",
    "bandwidth",
    "maintenance",
];
