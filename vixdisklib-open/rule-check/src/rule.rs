//! The rules: a stable name, what it says, and how firm it is.

use vixdisklib_sys::VixError;

/// How firm a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// Documented as a condition, or the library is known to fail without it.
    Must,
    /// Documented as advice, or observed to matter; checked unless switched off.
    Should,
    /// Holds only in part or on some systems; checked when switched on.
    Advice,
}

#[cfg(test)]
impl Strength {
    /// As `RULES.md` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Advice => "advice (off)",
        }
    }
}

/// Makes the enumeration, its list, and its properties from one table.
macro_rules! rules {
    ($($rule:ident $name:literal $strength:ident $code:ident $text:literal;)*) => {
        /// A rule of VDDK.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Rule {
            $(#[doc = $text] $rule,)*
        }

        impl Rule {
            /// All rules, in the order of `RULES.md`.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// The name that messages and settings have it by; it does not change.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// What it says, in one sentence without its full stop.
            pub(crate) const fn text(self) -> &'static str {
                match self {
                    $(Self::$rule => $text,)*
                }
            }

            /// How firm it is.
            pub(crate) const fn strength(self) -> Strength {
                match self {
                    $(Self::$rule => Strength::$strength,)*
                }
            }

            /// What a call that breaks it returns where violations become errors.
            pub(crate) const fn code(self) -> VixError {
                match self {
                    $(Self::$rule => VixError::$code,)*
                }
            }
        }
    };
}

rules! {
    InitTwice "init-twice" Must OPERATION_ALREADY_IN_PROGRESS
        "`InitEx` or `Init` runs once per process";
    InitAfterExit "init-after-exit" Should NOT_SUPPORTED
        "the library is not initialised again after `Exit`";
    InitNullLog "init-null-log" Should INVALID_ARG
        "`InitEx` gets three log functions: the ones behind null are not thread-safe";
    InitMainThread "init-main-thread" Advice FAIL
        "`InitEx` runs on the main thread of the process";
    CallBeforeInit "call-before-init" Must DISK_NOINIT
        "nothing is called before `InitEx`, but error texts and `AllocateConnectParams`";
    CallAfterExit "call-after-exit" Must DISK_NOINIT
        "nothing is called after `Exit`, but error texts and `FreeConnectParams`";
    ForkAfterInit "fork-after-init" Must DISK_NOINIT
        "a process that was forked after `InitEx` does not use the library";
    ThreadBeforeInit "thread-before-init" Advice FAIL
        "threads that use the library are started after `InitEx` (VDDK 7.0 on Windows)";
    OpenThread "open-thread" Should FAIL
        "`Open` and `Close` run on the thread of `InitEx`";
    ConnectThread "connect-thread" Should FAIL
        "`Connect`, `ConnectEx` and `Disconnect` run on the thread of `InitEx`";
    QueryThread "query-thread" Should FAIL
        "`QueryAllocatedBlocks` runs on the thread of `InitEx`, as `Open` and `Close` do";
    AccessThread "access-thread" Advice FAIL
        "`PrepareForAccess`, `EndAccess` and `Cleanup` run on the thread of `InitEx`";
    ExitThread "exit-thread" Must FAIL
        "`Exit` runs on the thread of `InitEx`";
    OpenCloseOverlap "open-close-overlap" Must OBJECT_IS_BUSY
        "of `Open` and `Close` one runs at a time in the whole process";
    HandleOverlap "handle-overlap" Must OBJECT_IS_BUSY
        "one call at a time uses a disk handle";
    ExitOverlap "exit-overlap" Must OBJECT_IS_BUSY
        "`Exit` comes after every other call has returned";
    CallInCallback "call-in-callback" Must OBJECT_IS_BUSY
        "a callback does not call the library";
    NullArgument "null-argument" Must INVALID_ARG
        "pointers are not null, but where the header allows it";
    ForeignHandle "foreign-handle" Must INVALID_HANDLE
        "a disk handle comes from `Open`";
    DeadHandle "dead-handle" Must INVALID_HANDLE
        "a disk handle is not used after `Close`, `Disconnect` or `Exit`";
    ForeignConnection "foreign-connection" Must DISK_INVALID_CONNECTION
        "a connection comes from `Connect` or `ConnectEx`";
    DeadConnection "dead-connection" Must DISK_INVALID_CONNECTION
        "a connection is not used after `Disconnect` or `Exit`";
    DisconnectOpenDisks "disconnect-open-disks" Must OBJECT_IS_BUSY
        "`Disconnect` comes after the disks of the connection are closed";
    ExitLiveConnections "exit-live-connections" Must OBJECT_IS_BUSY
        "`Exit` comes after every connection has ended";
    ZeroLength "zero-length" Should INVALID_ARG
        "a request is for at least one sector";
    OutOfRange "out-of-range" Must DISK_OUTOFRANGE
        "a request ends inside the disk";
    UnalignedBuffer "unaligned-buffer" Must INVALID_ARG
        "the buffers of a disk that is open unbuffered begin at a multiple of 512 bytes";
    LongRequest "long-request" Advice INVALID_ARG
        "a request is no longer than 2 MiB: hosts run out of memory beyond it";
    QueryAlignment "query-alignment" Must INVALID_ARG
        "`QueryAllocatedBlocks` asks in whole chunks of at least 128 sectors";
    QueryRange "query-range" Must INVALID_ARG
        "`QueryAllocatedBlocks` asks for 1 to 524288 chunks inside the disk";
    AsyncNullCallback "async-null-callback" Must INVALID_ARG
        "`ReadAsync` and `WriteAsync` get a callback";
    BufferInFlight "buffer-in-flight" Must OBJECT_IS_BUSY
        "nothing else uses the buffer of a request until its callback is called";
    SyncDuringAsync "sync-during-async" Must ASYNC_MIXEDMODE_UNSUPPORTED
        "a blocking call on a handle comes after the asynchronous requests: `Wait` first";
    CloseInFlight "close-in-flight" Must OBJECT_IS_BUSY
        "`Close` comes after every call and request on the handle has ended: `Wait` first";
    CloseWithoutWait "close-without-wait" Should UNFINISHED_JOB
        "`Wait` comes between asynchronous requests and `Close`";
    LeakedInfo "leaked-info" Must FAIL
        "what `GetInfo` gives is freed with `FreeInfo` before `Exit`";
    LeakedBlocks "leaked-blocks" Must FAIL
        "what `QueryAllocatedBlocks` gives is freed with `FreeBlockList` before `Exit`";
    LeakedErrorText "leaked-error-text" Should FAIL
        "what `GetErrorText` gives is freed with `FreeErrorText` before `Exit`";
    LeakedParams "leaked-params" Should FAIL
        "what `AllocateConnectParams` and `GetConnectParams` give is freed with `FreeConnectParams` before `Exit`";
    DoubleFree "double-free" Must INVALID_ARG
        "a result is freed once";
    WrongFree "wrong-free" Must INVALID_ARG
        "a result is freed with its own function";
    ForeignFree "foreign-free" Must INVALID_ARG
        "only results of the library are given to its Free functions";
    FreeCallerParams "free-caller-params" Must INVALID_ARG
        "connection parameters in the caller's own memory are not given to `FreeConnectParams`";
    ParamsFreedEarly "params-freed-early" Should OBJECT_IS_BUSY
        "connection parameters are freed after `Disconnect`";
    AccessNotEnded "access-not-ended" Must FAIL
        "every `PrepareForAccess`, failed ones too, has its `EndAccess` before `Exit`";
    EndAccessOpenDisks "end-access-open-disks" Should OBJECT_IS_BUSY
        "`EndAccess` comes after the disks of the virtual machine are closed";
    IdentityTooLong "identity-too-long" Should ARGUMENT_TOO_BIG
        "the identity for `PrepareForAccess` and `EndAccess` has at most 50 characters";
    CleanupVmxSpec "cleanup-vmx-spec" Must INVALID_ARG
        "`Cleanup` gets parameters without a virtual machine: `vmxSpec` is null";
    RelativePath "relative-path" Should FILE_NAME_INVALID
        "the path of a hosted disk is absolute";
    DiskIsOpen "disk-is-open" Must FILE_ALREADY_LOCKED
        "a disk is not open when `Grow`, `Rename` or `Unlink` changes it";
    AttachedParent "attached-parent" Must INVALID_HANDLE
        "after `Attach`, failed or not, the parent's handle reads and writes nothing";
    WriteToParent "write-to-parent" Must FILE_READ_ONLY
        "a disk is not written after `CreateChild` made a child of it";
    ErrorTextLocale "error-text-locale" Must INVALID_ARG
        "the locale for `GetErrorText` is null";
    ProgressReturn "progress-return" Advice CANCELLED
        "a progress function returns true: its answer is ignored, so false cancels nothing";
}

impl Rule {
    /// The rule of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }
}
