//! What the tests share: the table with less typing, a log that can be asked, and disks made from scratch.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    Bool, VaList, VixDiskLibAdapterType, VixDiskLibBlock, VixDiskLibConnection,
    VixDiskLibCreateParams, VixDiskLibDiskType, VixDiskLibExtExtent, VixDiskLibHandle,
    VixDiskLibInfo, VixError, va_list,
};

/// Open flags.
pub(crate) const READ_WRITE: u32 = 0;
pub(crate) const READ_ONLY: u32 = vixdisklib_sys::VIXDISKLIB_FLAG_OPEN_READ_ONLY;
pub(crate) const SINGLE_LINK: u32 = vixdisklib_sys::VIXDISKLIB_FLAG_OPEN_SINGLE_LINK;

pub(crate) const SECTOR: usize = 512;

/// Every line that the library logged in this process, with the function that got it.
static LINES: Mutex<Vec<(&str, String)>> = Mutex::new(Vec::new());

unsafe extern "C" fn on_log(format: *const c_char, arguments: VaList) {
    // SAFETY: a log callback gets a format and its list.
    unsafe { record("log", format, arguments) };
}

unsafe extern "C" fn on_warn(format: *const c_char, arguments: VaList) {
    // SAFETY: a log callback gets a format and its list.
    unsafe { record("warn", format, arguments) };
}

/// # Safety
/// The arguments of a log callback.
unsafe fn record(kind: &'static str, format: *const c_char, arguments: VaList) {
    let mut buffer = [0; 4096];
    // SAFETY: the caller's promise.
    let length = unsafe { va_list::format(format, arguments, &mut buffer) };
    let line = String::from_utf8_lossy(&buffer[..length.min(buffer.len() - 1)]).into_owned();
    assert!(line.ends_with('\n'), "a line ends: {line:?}");
    LINES
        .lock()
        .expect("no panic under this lock")
        .push((kind, line.trim_end().to_owned()));
}

/// The lines so far that contain all of these words. Tests share the log, so they ask for words of their own.
pub(crate) fn logged(words: &[&str]) -> Vec<(&'static str, String)> {
    let lines = LINES.lock().expect("no panic under this lock");
    lines
        .iter()
        .filter(|(_, line)| words.iter().all(|word| line.contains(word)))
        .cloned()
        .collect()
}

/// One use of the library, from `InitEx` to `Exit`.
pub(crate) struct Session(());

impl Session {
    pub(crate) fn start() -> Self {
        assert_eq!(init(8, 0), VixError::OK);
        Self(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        exit();
    }
}

pub(crate) fn init(major: u32, minor: u32) -> VixError {
    // SAFETY: the callbacks live as long as the process; directories may be null.
    unsafe {
        (TABLE.init_ex)(
            major,
            minor,
            Some(on_log),
            Some(on_warn),
            None,
            ptr::null(),
            ptr::null(),
        )
    }
}

pub(crate) fn exit() {
    // SAFETY: needs nothing.
    unsafe { (TABLE.exit)() };
}

pub(crate) fn connect() -> VixDiskLibConnection {
    connect_ex(false).expect("connected")
}

pub(crate) fn connect_ex(read_only: bool) -> Result<VixDiskLibConnection, VixError> {
    let mut connection = ptr::null_mut();
    // SAFETY: null parameters mean local; the output is ours.
    let code = unsafe {
        (TABLE.connect_ex)(
            ptr::null(),
            read_only.into(),
            ptr::null(),
            ptr::null(),
            &raw mut connection,
        )
    };
    assert_eq!(connection.is_null(), !code.is_ok());
    ok(code).map(|()| connection)
}

pub(crate) fn disconnect(connection: VixDiskLibConnection) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { (TABLE.disconnect)(connection) }
}

pub(crate) fn open(
    connection: VixDiskLibConnection,
    path: &Path,
    flags: u32,
) -> Result<VixDiskLibHandle, VixError> {
    let path = c_path(path);
    let mut disk = ptr::dangling_mut();
    // SAFETY: a string and an output of ours.
    let code = unsafe { (TABLE.open)(connection, path.as_ptr(), flags, &raw mut disk) };
    assert_eq!(disk.is_null(), !code.is_ok(), "null on failure only");
    ok(code).map(|()| disk)
}

pub(crate) fn close(disk: VixDiskLibHandle) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { (TABLE.close)(disk) }
}

pub(crate) fn read(disk: VixDiskLibHandle, start: u64, count: u64) -> Result<Vec<u8>, VixError> {
    // A request that must fail may be larger than any buffer.
    let sectors = usize::try_from(count).expect("64 bits").min(1 << 16);
    let mut buffer = vec![0xEE; sectors * SECTOR];
    // SAFETY: the buffer is as long as the request, or the request past any end of the disk.
    let code = unsafe { (TABLE.read)(disk, start, count, buffer.as_mut_ptr()) };
    ok(code).map(|()| buffer)
}

pub(crate) fn write(disk: VixDiskLibHandle, start: u64, data: &[u8]) -> Result<(), VixError> {
    let count = u64::try_from(data.len() / SECTOR).expect("fits");
    // SAFETY: the buffer is as long as the request.
    ok(unsafe { (TABLE.write)(disk, start, count, data.as_ptr()) })
}

pub(crate) fn flush(disk: VixDiskLibHandle) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { (TABLE.flush)(disk) }
}

pub(crate) fn wait(disk: VixDiskLibHandle) -> VixError {
    // SAFETY: handles are looked up.
    unsafe { (TABLE.wait)(disk) }
}

/// The info of a disk, as the closure sees it before it is freed.
pub(crate) fn with_info<T>(disk: VixDiskLibHandle, look: impl FnOnce(&VixDiskLibInfo) -> T) -> T {
    let mut info = ptr::null_mut();
    // SAFETY: the output is ours.
    let code = unsafe { (TABLE.get_info)(disk, &raw mut info) };
    assert_eq!(code, VixError::OK);
    // SAFETY: on loan to us until it is freed.
    let result = look(unsafe { &*info });
    // SAFETY: on loan, and not used again.
    unsafe { (TABLE.free_info)(info) };
    result
}

pub(crate) fn capacity(disk: VixDiskLibHandle) -> u64 {
    with_info(disk, |info| info.capacity)
}

/// The runs of `QueryAllocatedBlocks` as offset and length.
pub(crate) fn allocated(
    disk: VixDiskLibHandle,
    start: u64,
    count: u64,
    chunk: u64,
) -> Result<Vec<(u64, u64)>, VixError> {
    let query = TABLE.query_allocated_blocks.expect("there");
    let mut list = ptr::dangling_mut();
    // SAFETY: the output is ours.
    let code = unsafe { query(disk, start, count, chunk, &raw mut list) };
    assert_eq!(list.is_null(), !code.is_ok(), "null on failure only");
    ok(code)?;
    // SAFETY: on loan to us.
    let length = unsafe { (*list).numBlocks } as usize;
    // SAFETY: on loan to us; only an address is taken.
    let blocks = unsafe { &raw const (*list).blocks }.cast::<VixDiskLibBlock>();
    // SAFETY: the array really is as long as the list says.
    let runs = unsafe { std::slice::from_raw_parts(blocks, length) }
        .iter()
        .map(|block| (block.offset, block.length))
        .collect();
    // SAFETY: on loan, and not used again.
    let code = unsafe { TABLE.free_block_list.expect("there")(list) };
    assert_eq!(code, VixError::OK);
    Ok(runs)
}

/// What `QueryExtents` fills into an array of `room` elements.
pub(crate) fn extents(
    disk: VixDiskLibHandle,
    start: u64,
    count: u64,
    room: usize,
) -> Result<Vec<VixDiskLibExtExtent>, VixError> {
    let query = TABLE.ext_query_extents.expect("there");
    let mut found = vec![VixDiskLibExtExtent::default(); room];
    let mut number = usize::MAX;
    // SAFETY: the array has as many elements as stated, and the output is ours.
    let code = unsafe {
        query(
            disk,
            start,
            count,
            found.as_mut_ptr(),
            room,
            &raw mut number,
        )
    };
    ok(code)?;
    found.truncate(number);
    Ok(found)
}

/// The text that goes with a code.
pub(crate) fn error_text(code: VixError) -> String {
    // SAFETY: the locale may be null.
    let text = unsafe { (TABLE.get_error_text)(code, ptr::null()) };
    // SAFETY: a string on loan to us.
    let copy = unsafe { CStr::from_ptr(text) }
        .to_str()
        .expect("English")
        .to_owned();
    // SAFETY: on loan, and not used again.
    unsafe { (TABLE.free_error_text)(text) };
    copy
}

pub(crate) fn ok(code: VixError) -> Result<(), VixError> {
    if code.is_ok() { Ok(()) } else { Err(code) }
}

/// A pointer that no library gave out.
pub(crate) fn invented<T>(address: usize) -> *mut T {
    ptr::without_provenance_mut(address)
}

/// Counts the callbacks of asynchronous requests and keeps their codes.
#[derive(Default)]
pub(crate) struct Callbacks(Mutex<Vec<VixError>>);

impl Callbacks {
    /// The callback; its data is the address of a `Callbacks`.
    pub(crate) unsafe extern "C" fn on_done(data: *mut c_void, code: VixError) {
        // SAFETY: the tests pass an address that outlives their requests.
        let callbacks = unsafe { &*data.cast_const().cast::<Self>() };
        callbacks.0.lock().expect("no panic under it").push(code);
    }

    pub(crate) fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    pub(crate) fn codes(&self) -> Vec<VixError> {
        self.0.lock().expect("no panic under it").clone()
    }
}

/// A path as the library wants it.
pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path")
}

/// Hears of progress; the address of one is the data of its function.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<c_int>>);

impl Heard {
    /// The progress function. It asks for the operation to stop, in vain.
    pub(crate) unsafe extern "C" fn on_progress(data: *mut c_void, percent: c_int) -> Bool {
        // SAFETY: the tests pass an address that outlives their calls.
        let heard = unsafe { &*data.cast_const().cast::<Self>() };
        heard.0.lock().expect("no panic under it").push(percent);
        0
    }

    pub(crate) fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Panics unless the percentages went from 0 up to 100; forgets them.
    pub(crate) fn expect_success(&self) {
        let heard = std::mem::take(&mut *self.0.lock().expect("no panic under it"));
        assert_eq!(heard.first(), Some(&0), "{heard:?}");
        assert_eq!(heard.last(), Some(&100), "{heard:?}");
        assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
    }

    /// Panics if anything told of success; forgets the percentages.
    pub(crate) fn expect_failure(&self) {
        let heard = std::mem::take(&mut *self.0.lock().expect("no panic under it"));
        assert!(!heard.contains(&100), "{heard:?}");
    }
}

/// Parameters of a usual disk.
pub(crate) fn create_params(kind: VixDiskLibDiskType, sectors: u64) -> VixDiskLibCreateParams {
    VixDiskLibCreateParams {
        diskType: kind,
        adapterType: VixDiskLibAdapterType::VIXDISKLIB_ADAPTER_SCSI_LSILOGIC,
        hwVersion: 13,
        capacity: sectors,
        ..VixDiskLibCreateParams::default()
    }
}

/// Calls `Create`, and checks what it tells of its progress.
pub(crate) fn create(
    connection: VixDiskLibConnection,
    path: &Path,
    params: &VixDiskLibCreateParams,
) -> Result<(), VixError> {
    let path = c_path(path);
    let heard = Heard::default();
    // SAFETY: strings and structures of ours, and a function whose data outlives the call.
    let code = unsafe {
        (TABLE.create)(
            connection,
            path.as_ptr(),
            params,
            Some(Heard::on_progress),
            heard.data(),
        )
    };
    match ok(code) {
        Ok(()) => heard.expect_success(),
        Err(_) => heard.expect_failure(),
    }
    ok(code)
}

/// Makes a disk of a kind with this content.
pub(crate) fn new_disk(
    connection: VixDiskLibConnection,
    path: &Path,
    kind: VixDiskLibDiskType,
    content: &[u8],
) {
    let sectors = u64::try_from(content.len() / SECTOR).expect("fits");
    assert_eq!(
        create(connection, path, &create_params(kind, sectors)),
        Ok(())
    );
    let disk = open(connection, path, READ_WRITE).expect("opened");
    assert_eq!(write(disk, 0, content), Ok(()));
    assert_eq!(close(disk), VixError::OK);
}

/// The whole content of a disk, through all its parents.
pub(crate) fn content(connection: VixDiskLibConnection, path: &Path) -> Vec<u8> {
    let disk = open(connection, path, READ_ONLY).expect("opened");
    let sectors = capacity(disk);
    let data = read(disk, 0, sectors).expect("read");
    assert_eq!(data.len() / SECTOR, usize::try_from(sectors).expect("fits"));
    assert_eq!(close(disk), VixError::OK);
    data
}

/// The content of a disk as qemu-img sees it; `None` without qemu-img.
pub(crate) fn content_by_qemu(path: &Path) -> Option<Vec<u8>> {
    let name = path.to_str().expect("UTF-8");
    let raw = path.with_extension("by-qemu.raw");
    let raw_name = raw.to_str().expect("UTF-8");
    qemu_img(&["convert", "-f", "vmdk", "-O", "raw", name, raw_name])?;
    let data = fs::read(&raw).expect("written");
    fs::remove_file(&raw).expect("there");
    Some(data)
}

/// The names in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

/// A flat disk made from the format's public description: a descriptor, and a file of raw sectors.
pub(crate) fn flat_disk(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let sectors = content.len() / SECTOR;
    let path = folder.join(format!("{name}.vmdk"));
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\nparentCID=ffffffff\n\
         createType=\"monolithicFlat\"\n\n# Extent description\nRW {sectors} FLAT \"{name}-flat.vmdk\" 0\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"2\"\n\
         ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n\
         ddb.uuid = \"60 00 c2 9f 4e 7b 1a 05-e0 11 22 33 44 55 66 77\"\n"
    );
    fs::write(&path, descriptor).expect("writable");
    fs::write(folder.join(format!("{name}-flat.vmdk")), content).expect("writable");
    path
}

/// An empty child, of the kind that ESX makes: a descriptor, and a copy-on-write extent with grains of one sector.
pub(crate) fn child_disk(
    folder: &Path,
    name: &str,
    sectors: u32,
    cid: &str,
    parent_cid: &str,
    hint: &str,
) -> PathBuf {
    let path = folder.join(format!("{name}.vmdk"));
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID={cid}\nparentCID={parent_cid}\ncreateType=\"vmfsSparse\"\n\
         parentFileNameHint=\"{hint}\"\n# Extent description\nRW {sectors} VMFSSPARSE \"{name}-delta.vmdk\"\n"
    );
    fs::write(&path, descriptor).expect("writable");
    let mut delta = vec![0; 5 * SECTOR];
    let entries = sectors.div_ceil(4096);
    delta[..4].copy_from_slice(b"COWD");
    let fields = [1, 3, sectors, 1, 4, entries, 5];
    for (field, value) in delta[4..].chunks_exact_mut(4).zip(fields) {
        field.copy_from_slice(&u32::to_le_bytes(value));
    }
    fs::write(folder.join(format!("{name}-delta.vmdk")), delta).expect("writable");
    path
}

/// Bytes that differ from sector to sector and are never zero.
pub(crate) fn pattern(sectors: usize, seed: u8) -> Vec<u8> {
    (0..sectors * SECTOR)
        .map(|index| {
            let mixed = (index / SECTOR * 31 + index).wrapping_add(usize::from(seed)) % 255;
            u8::try_from(mixed).expect("below 255") + 1
        })
        .collect()
}

pub(crate) fn sha256(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

/// Runs qemu-img; `None`, loudly, where it is not installed, which is a failure in CI.
pub(crate) fn qemu_img(arguments: &[&str]) -> Option<Vec<u8>> {
    match Command::new("qemu-img").args(arguments).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "qemu-img {arguments:?}: {errors}");
            Some(output.stdout)
        }
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "qemu-img is needed in CI: {error}"
            );
            eprintln!("SKIPPED: qemu-img is not installed ({error})");
            None
        }
    }
}
