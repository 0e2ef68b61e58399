//! A program that uses the library, for the tests: few words for each call, and what was found.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use std::{fs, thread};

use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;
use vixdisklib_sys::{
    Bool, VaList, VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibGenericLogFunc,
    VixDiskLibHandle, VixError, va_list,
};

use crate::rule::Rule;
use crate::settings::{self, Settings};
use crate::state;
use crate::table::TABLE;

/// Sectors of every test disk: a whole number of chunks, and one more.
pub(super) const CAPACITY: u64 = 257;

/// The library of the process is one, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// No test waits longer for another thread.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the warning function got.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes the next log function say that it was called, and wait.
static GATE: Mutex<Option<(Sender<()>, Receiver<()>)>> = Mutex::new(None);

pub(super) unsafe extern "C" fn quiet(_: *const c_char, _: VaList) {}

unsafe extern "C" fn on_warn(format: *const c_char, arguments: VaList) {
    let mut buffer = [0; 4096];
    // SAFETY: a log callback gets a format and its list.
    let length = unsafe { va_list::format(format, arguments, &mut buffer) };
    let text = String::from_utf8_lossy(&buffer[..length.min(4095)]).into_owned();
    LINES.lock().push(text);
    stop_at_gate();
}

unsafe extern "C" fn on_log(_: *const c_char, _: VaList) {
    stop_at_gate();
}

fn stop_at_gate() {
    let gate = GATE.lock().take();
    if let Some((entered, release)) = gate {
        entered.send(()).expect("somebody waits");
        release.recv_timeout(PATIENCE).expect("somebody lets go");
    }
}

/// A disk handle that may go to other threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk(usize);

impl Disk {
    pub(super) fn invented(address: usize) -> Self {
        Self(address)
    }

    pub(super) fn raw(self) -> VixDiskLibHandle {
        ptr::without_provenance_mut(self.0)
    }
}

/// A connection that may go to other threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection(usize);

impl Connection {
    pub(super) fn invented(address: usize) -> Self {
        Self(address)
    }

    pub(super) fn raw(self) -> VixDiskLibConnection {
        ptr::without_provenance_mut(self.0)
    }
}

/// A request whose callback waits.
pub(super) struct Held {
    release: Sender<()>,
    disk: Disk,
    /// What the callback gets; the library has it until the request is over.
    _closure: Box<Closure>,
    _buffer: Box<[u8; 512]>,
}

impl Held {
    /// Lets the callback return, and waits for the request.
    pub(super) fn release(self, caller: &Caller) {
        self.release.send(()).expect("the callback waits");
        assert!(caller.wait(self.disk).is_ok());
    }
}

/// What [`on_done`] runs.
pub(super) type Closure = Box<dyn FnMut() + Send>;

/// A completion callback whose data is a [`Closure`].
pub(super) unsafe extern "C" fn on_done(data: *mut c_void, _: VixError) {
    // SAFETY: the tests submit it with a closure of this type, which outlives the request.
    let closure = unsafe { &mut *data.cast::<Closure>() };
    closure();
}

/// A progress function whose data is a [`Closure`].
pub(super) unsafe extern "C" fn on_progress(data: *mut c_void, _: c_int) -> Bool {
    // SAFETY: as in `on_done`.
    let closure = unsafe { &mut *data.cast::<Closure>() };
    closure();
    1
}

/// The program. What it finds is collected and passed on, unless a test says otherwise.
pub(super) struct Caller {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Caller {
    /// Checks this rule, and all others but these and the advice.
    pub(super) fn checking(rule: Rule, off: &[Rule]) -> Self {
        let off: Vec<&str> = off.iter().map(|rule| rule.name()).collect();
        Self::with(&[
            ("VIXDISKLIB_RULES", "report"),
            ("VIXDISKLIB_RULES_ON", rule.name()),
            ("VIXDISKLIB_RULES_OFF", &off.join(",")),
            ("VIXDISKLIB_RULES_REPORT", "/dev/null"),
        ])
    }

    /// Has these settings.
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        let turn = TURN.lock();
        let found = |name: &str| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        settings::replace(Settings::from(found));
        state::lock().reset();
        LINES.lock().clear();
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            _turn: turn,
        }
    }

    /// The names of the rules that were broken, in order.
    pub(super) fn seen(&self) -> Vec<&'static str> {
        let state = state::lock();
        state
            .violations
            .iter()
            .map(|found| found.rule.name())
            .collect()
    }

    /// What the warning function got.
    pub(super) fn lines(&self) -> Vec<String> {
        LINES.lock().clone()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder of the test.
    pub(super) fn path(&self, name: &str) -> CString {
        CString::new(self.folder().join(name).as_os_str().as_bytes()).expect("no NUL")
    }

    pub(super) fn init_with(&self, functions: [VixDiskLibGenericLogFunc; 3]) -> VixError {
        let [log, warn, panic] = functions;
        // SAFETY: the functions live as long as the process; directories may be null.
        unsafe { (TABLE.init_ex)(8, 0, log, warn, panic, ptr::null(), ptr::null()) }
    }

    pub(super) fn init(&self) {
        let answer = self.init_with([Some(on_log), Some(on_warn), Some(quiet)]);
        assert!(answer.is_ok());
    }

    pub(super) fn exit(&self) {
        // SAFETY: needs nothing.
        unsafe { (TABLE.exit)() };
    }

    pub(super) fn connect_with(&self, params: *const VixDiskLibConnectParams) -> Connection {
        let mut connection = ptr::null_mut();
        // SAFETY: the tests pass null or whole parameters; the output is ours.
        let answer =
            unsafe { (TABLE.connect_ex)(params, 0, ptr::null(), ptr::null(), &raw mut connection) };
        assert!(answer.is_ok());
        Connection(connection.addr())
    }

    pub(super) fn connect(&self) -> Connection {
        self.connect_with(ptr::null())
    }

    pub(super) fn disconnect(&self, connection: Connection) -> VixError {
        // SAFETY: handles are looked up.
        unsafe { (TABLE.disconnect)(connection.raw()) }
    }

    /// Makes a flat disk of this name and gives back its path.
    pub(super) fn make(&self, name: &str) -> CString {
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n\n# Extent description\nRW {CAPACITY} FLAT \"{name}-flat.vmdk\" 0\n"
        );
        let extent = self.folder().join(format!("{name}-flat.vmdk"));
        fs::write(extent, vec![7; 512 * 257]).expect("an extent");
        let name = format!("{name}.vmdk");
        fs::write(self.folder().join(&name), text).expect("a descriptor");
        self.path(&name)
    }

    pub(super) fn open_path(&self, connection: Connection, path: &CStr, flags: u32) -> Disk {
        let mut disk = ptr::null_mut();
        // SAFETY: a string and an output of ours.
        let answer = unsafe { (TABLE.open)(connection.raw(), path.as_ptr(), flags, &raw mut disk) };
        assert!(answer.is_ok(), "{:?}", self.lines());
        Disk(disk.addr())
    }

    /// Opens a disk that is not there; the engine logs why it cannot.
    pub(super) fn open_nothing(&self, connection: Connection) {
        let (path, mut disk) = (self.path("missing.vmdk"), ptr::null_mut());
        // SAFETY: as in `open_path`.
        let answer = unsafe { (TABLE.open)(connection.raw(), path.as_ptr(), 0, &raw mut disk) };
        assert!(!answer.is_ok());
    }

    pub(super) fn open(&self, connection: Connection) -> Disk {
        let path = self.make("disk");
        self.open_path(connection, &path, 0)
    }

    pub(super) fn close(&self, disk: Disk) -> VixError {
        // SAFETY: handles are looked up.
        unsafe { (TABLE.close)(disk.raw()) }
    }

    /// Runs a test between everything that comes before and behind the use of a disk.
    pub(super) fn with_disk(&self, test: impl FnOnce(Disk)) {
        self.init();
        let connection = self.connect();
        let disk = self.open(connection);
        test(disk);
        self.close(disk);
        self.disconnect(connection);
        self.exit();
    }

    pub(super) fn read(&self, disk: Disk, start: u64, count: u64) -> VixError {
        let sectors = usize::try_from(count.max(1)).expect("fits");
        let mut buffer = vec![0; sectors * 512];
        // SAFETY: the buffer is as long as it says.
        unsafe { (TABLE.read)(disk.raw(), start, count, buffer.as_mut_ptr()) }
    }

    pub(super) fn write(&self, disk: Disk, start: u64) -> VixError {
        // SAFETY: one sector is there.
        unsafe { (TABLE.write)(disk.raw(), start, 1, [9; 512].as_ptr()) }
    }

    pub(super) fn wait(&self, disk: Disk) -> VixError {
        // SAFETY: handles are looked up.
        unsafe { (TABLE.wait)(disk.raw()) }
    }

    pub(super) fn transport_mode(&self, disk: Disk) -> bool {
        // SAFETY: handles are looked up.
        !unsafe { (TABLE.get_transport_mode)(disk.raw()) }.is_null()
    }

    /// Asks for a metadata key that is not there; the engine logs that.
    pub(super) fn ask_for_nothing(&self, disk: Disk) {
        let read = TABLE.read_metadata.expect("there");
        let mut required = 0;
        // SAFETY: a string of ours and an output of ours.
        let answer = unsafe {
            read(
                disk.raw(),
                c"no.such.key".as_ptr(),
                ptr::null_mut(),
                0,
                &raw mut required,
            )
        };
        assert_eq!(answer.without_detail(), VixError::DISK_KEY_NOTFOUND);
    }

    /// Starts a read of one sector.
    ///
    /// # Safety
    /// Buffer and closure live until the request is over, and nobody else uses them.
    pub(super) unsafe fn submit(&self, disk: Disk, buffer: *mut u8, closure: &mut Closure) {
        let read = TABLE.read_async.expect("there");
        let data = ptr::from_mut(closure).cast();
        // SAFETY: the caller's promise.
        let answer = unsafe { read(disk.raw(), 0, 1, buffer, Some(on_done), data) };
        assert_eq!(answer, VixError::ASYNC);
    }

    /// A request that is in flight until it is released.
    pub(super) fn hold(&self, disk: Disk) -> Held {
        let (release, released) = mpsc::channel();
        let mut closure: Box<Closure> = Box::new(Box::new(move || {
            released.recv_timeout(PATIENCE).expect("let go")
        }));
        let mut buffer = Box::new([0; 512]);
        // SAFETY: both lie in boxes of the result, whose owner releases it.
        unsafe { self.submit(disk, buffer.as_mut_ptr(), &mut closure) };
        Held {
            release,
            disk,
            _closure: closure,
            _buffer: buffer,
        }
    }

    /// Runs `then` while `call` on another thread is inside the library, in a log function.
    pub(super) fn while_it_waits(&self, call: impl FnOnce() + Send, then: impl FnOnce()) {
        let (entered, has_entered) = mpsc::channel();
        let (release, released) = mpsc::channel();
        *GATE.lock() = Some((entered, released));
        thread::scope(|scope| {
            scope.spawn(call);
            has_entered.recv_timeout(PATIENCE).expect("it logs");
            then();
            release.send(()).expect("it waits");
        });
    }

    /// Runs `call` on another thread, to its end.
    pub(super) fn elsewhere(&self, call: impl FnOnce() + Send) {
        thread::scope(|scope| {
            scope.spawn(call);
        });
    }

    /// Runs `child` in a forked process; whether it says that all is well.
    pub(super) fn forked(&self, child: impl FnOnce() -> bool) -> bool {
        unsafe extern "C" {
            fn fork() -> c_int;
            fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
            fn _exit(code: c_int) -> !;
        }
        // SAFETY: the child only runs the closure, which keeps off locks of other threads, and ends.
        let process = unsafe { fork() };
        if process == 0 {
            let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child at once.
            unsafe { _exit(c_int::from(!matches!(fine, Ok(true)))) };
        }
        let mut status = -1;
        // SAFETY: a child of ours, and an output of ours.
        let waited = unsafe { waitpid(process, &raw mut status, 0) };
        waited == process && status == 0
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // What a test left behind ends in the engine, unseen.
        for _ in 0..3 {
            // SAFETY: needs nothing; one too many does nothing.
            unsafe { (vixdisklib_open::TABLE.exit)() };
        }
        state::lock().reset();
    }
}
