//! The configuration of a library, as types.

mod entry;
mod file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use disk_units::ByteLen;

pub(crate) use file::PrivateFile;

use crate::error::{Error, ErrorKind, Operation, Result};
use entry::{Entry, device_list, phone_home_text, refused};

const TEMPORARY_DIRECTORY: &str = "tmpDirectory";

/// The unit of the buffers of NFC sessions.
const BUFFER_UNIT: u64 = 64 << 10;

/// With more buffers than this in a session, disks fail to open (release notes of VDDK 7.0.3).
const MOST_BUFFERED: u64 = 16 << 20;

/// How much the transports log, from nothing but failures that end the process up to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum TransportLogLevel {
    /// Only what ends the process.
    Panic = 0,
    /// Errors too.
    Error = 1,
    /// Warnings too.
    Warning = 2,
    /// What is of interest later, too.
    Audit = 3,
    /// Information too.
    Info = 4,
    /// Details too.
    Verbose = 5,
    /// Everything.
    Trivia = 6,
}

/// How much the NFC client logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum NfcLogLevel {
    /// Nothing.
    Quiet = 0,
    /// Errors.
    Error = 1,
    /// Warnings too.
    Warning = 2,
    /// Information too.
    Info = 3,
    /// Everything.
    Debug = 4,
}

/// What a library reads when it is initialised: the configuration file of VDDK, as types.
///
/// What is not set keeps the library's own default. The file is written when the library starts, into a folder of its
/// own that only this user can read, and removed when the library is gone. There is no way to put a [`Secret`] into it.
/// The embedded engine reads no configuration. Keys, defaults and limits are those of the Virtual Disk Programming Guide
/// and of VDDK's release notes, as far as no other source is named.
///
/// ```
/// use std::time::Duration;
/// use vixdisklib::{Backend, ByteLen, Configuration, Library, NfcLogLevel};
///
/// # let folder = tempfile::tempdir()?;
/// # let state = folder.path().join("vddk");
/// let configuration = Configuration::new()
///     .temporary_directory(&state)
///     .nfc_log_level(NfcLogLevel::Warning)
///     .nfc_accept_timeout(Duration::from_secs(180))
///     .nfc_buffers(ByteLen::new(1 << 20), 4);
/// let library = Library::builder(Backend::Embedded).configuration(configuration).open()?;
/// assert!(state.is_dir());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Secret`]: crate::Secret
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Configuration {
    temporary_directory: Option<PathBuf>,
    entries: Vec<Entry>,
    /// The first thing that is wrong with the arguments; told when the library starts.
    wrong: Option<String>,
}

impl Configuration {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the library keeps its state, and what it needs to clean up after a process that died (`tmpDirectory`).
    ///
    /// Set it to the same path in all processes that may have to clean up for each other:
    /// [`Library::cleanup`](crate::Library::cleanup) looks there. It is made absolute; if it does not exist, it is made
    /// for this user alone when the library starts.
    pub fn temporary_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.temporary_directory = Some(path.into());
        self
    }

    /// How much the transports log (`vixDiskLib.transport.LogLevel`).
    pub fn transport_log_level(self, level: TransportLogLevel) -> Self {
        self.number("vixDiskLib.transport.LogLevel", level as u64)
    }

    /// How much the NFC client logs (`vixDiskLib.nfc.LogLevel`).
    pub fn nfc_log_level(self, level: NfcLogLevel) -> Self {
        self.number("vixDiskLib.nfc.LogLevel", level as u64)
    }

    /// Whether the library caches blocks (`vixDiskLib.disklib.EnableCache`). Off is right for backup: a cache gains
    /// nothing there, and may be stale.
    pub fn block_cache(self, on: bool) -> Self {
        self.number("vixDiskLib.disklib.EnableCache", on.into())
    }

    /// How long to wait for a host to accept a session (`vixDiskLib.nfc.AcceptTimeoutMs`); whole milliseconds, rounded
    /// up. A host closes idle sessions when time-outs are set: then read a sector now and then.
    pub fn nfc_accept_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfc.AcceptTimeoutMs", timeout)
    }

    /// How long to wait for an answer (`vixDiskLib.nfc.RequestTimeoutMs`); as
    /// [`nfc_accept_timeout`](Self::nfc_accept_timeout).
    pub fn nfc_request_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfc.RequestTimeoutMs", timeout)
    }

    /// How long to wait for data (`vixDiskLib.nfc.ReadTimeoutMs`); as
    /// [`nfc_accept_timeout`](Self::nfc_accept_timeout).
    pub fn nfc_read_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfc.ReadTimeoutMs", timeout)
    }

    /// How long to wait for data to be taken (`vixDiskLib.nfc.WriteTimeoutMs`); as
    /// [`nfc_accept_timeout`](Self::nfc_accept_timeout).
    pub fn nfc_write_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfc.WriteTimeoutMs", timeout)
    }

    /// How long the file system service may be idle (`vixDiskLib.nfcFssrvr.TimeoutMs`); zero is for ever.
    pub fn nfc_file_service_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfcFssrvr.TimeoutMs", timeout)
    }

    /// How long a write of the file system service may take (`vixDiskLib.nfcFssrvrWrite.TimeoutMs`); zero is for ever.
    pub fn nfc_file_service_write_timeout(self, timeout: Duration) -> Self {
        self.timeout("vixDiskLib.nfcFssrvrWrite.TimeoutMs", timeout)
    }

    /// The buffers of each NFC session: `count` of `size` bytes, a multiple of 64 KiB, together at most 16 MiB
    /// (`vixDiskLib.nfcAio.Session.BufSizeIn64KB` and `BufCount`, VDDK 7.0.3). Hosts pay for them with memory; 4 of
    /// 1 MiB are recommended where the storage is slow to answer.
    pub fn nfc_buffers(self, size: ByteLen, count: u32) -> Self {
        let bytes = size.get();
        if bytes == 0 || !bytes.is_multiple_of(BUFFER_UNIT) || count == 0 {
            return self
                .wrong("the size of NFC buffers is no multiple of 64 KiB, or their count is zero");
        }
        if bytes
            .checked_mul(count.into())
            .is_none_or(|all| all > MOST_BUFFERED)
        {
            return self.wrong("NFC buffers take more than 16 MiB together");
        }
        self.number(
            "vixDiskLib.nfcAio.Session.BufSizeIn64KB",
            bytes / BUFFER_UNIT,
        )
        .number("vixDiskLib.nfcAio.Session.BufCount", count.into())
    }

    /// The only LUNs that the SAN transport tries, by device path; `all` stands for all of them
    /// (`vixDiskLib.transport.san.allowList`, before VDDK 8.0 `whitelist`).
    pub fn san_allow<D: AsRef<str>>(self, devices: impl IntoIterator<Item = D>) -> Self {
        self.devices("allowList", "whitelist", devices)
    }

    /// The LUNs that the SAN transport leaves alone, by device path; `all` stands for all of them
    /// (`vixDiskLib.transport.san.denyList`, before VDDK 8.0 `blacklist`).
    pub fn san_deny<D: AsRef<str>>(self, devices: impl IntoIterator<Item = D>) -> Self {
        self.devices("denyList", "blacklist", devices)
    }

    /// Whether HotAdd does without an NFC session, as VMware Cloud needs it
    /// (`vixDiskLib.transport.hotadd.NoNfcSession`, VDDK 6.7).
    pub fn hotadd_without_nfc_session(self, without: bool) -> Self {
        self.number("vixDiskLib.transport.hotadd.NoNfcSession", without.into())
    }

    /// Whether the library reports its usage to VMware (`vixDiskLib.phoneHome.EnablePhoneHome`); VDDK 7.0 and later do
    /// not ask.
    pub fn phone_home(self, on: bool) -> Self {
        self.number("vixDiskLib.phoneHome.EnablePhoneHome", on.into())
    }

    /// The product that reports of usage name (`vixDiskLib.phoneHome.ProductName`): letters, digits, `_`, `-`, `.` and
    /// blanks of ASCII.
    pub fn product_name(self, name: impl Into<String>) -> Self {
        self.phone_home_entry("vixDiskLib.phoneHome.ProductName", name.into())
    }

    /// The version that reports of usage name (`vixDiskLib.phoneHome.ProductVersion`); characters as in
    /// [`product_name`](Self::product_name).
    pub fn product_version(self, version: impl Into<String>) -> Self {
        self.phone_home_entry("vixDiskLib.phoneHome.ProductVersion", version.into())
    }

    /// Where the library collects reports of usage (`vixDiskLib.phoneHome.DatabaseDir`, VDDK 7.0).
    pub fn phone_home_directory(self, path: impl AsRef<Path>) -> Self {
        match path.as_ref().to_str() {
            Some(path) => self.text("vixDiskLib.phoneHome.DatabaseDir", path),
            None => self.wrong("the directory for reports of usage is not UTF-8"),
        }
    }

    /// Any other key, word for word. Never give it a password.
    ///
    /// Names are of letters, digits, `_`, `-` and `.`; values hold no line breaks or other control characters and no
    /// double quotes. Of a key that is set twice the last value counts. `tmpDirectory` is
    /// [`temporary_directory`](Self::temporary_directory).
    pub fn raw(self, key: &str, value: impl AsRef<str>) -> Self {
        if key == TEMPORARY_DIRECTORY {
            return self.temporary_directory(value.as_ref());
        }
        self.entry(Entry::text(key, value.as_ref()))
    }

    fn number(self, key: &'static str, value: u64) -> Self {
        self.entry(Ok(Entry::number(key, value)))
    }

    fn text(self, key: &'static str, value: &str) -> Self {
        self.entry(Entry::text(key, value))
    }

    fn timeout(self, key: &'static str, timeout: Duration) -> Self {
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        match i32::try_from(milliseconds) {
            Ok(milliseconds) => self.number(key, milliseconds.unsigned_abs().into()),
            Err(_) => self.wrong("a time-out is longer than 24 days"),
        }
    }

    fn devices<D: AsRef<str>>(
        self,
        new: &str,
        old: &str,
        devices: impl IntoIterator<Item = D>,
    ) -> Self {
        let prefix = "vixDiskLib.transport.san.";
        let entry = device_list(devices).and_then(|list| {
            Entry::renamed(&format!("{prefix}{new}"), &format!("{prefix}{old}"), &list)
        });
        self.entry(entry)
    }

    fn phone_home_entry(self, key: &'static str, value: String) -> Self {
        match phone_home_text(&value) {
            true => self.text(key, &value),
            false => self.wrong(&format!(
                "{value:?} has other characters than letters, digits, _, -, . and blanks"
            )),
        }
    }

    fn entry(mut self, entry: std::result::Result<Entry, String>) -> Self {
        match entry {
            Ok(entry) => {
                self.entries.retain(|known| !known.same_key(&entry));
                self.entries.push(entry);
                self
            }
            Err(wrong) => self.wrong(&wrong),
        }
    }

    fn wrong(mut self, text: &str) -> Self {
        self.wrong.get_or_insert_with(|| text.to_owned());
        self
    }

    pub(crate) fn has_temporary_directory(&self) -> bool {
        self.temporary_directory.is_some()
    }

    /// The text of the file for a library of this major version; without one, for any. Makes the temporary directory.
    pub(crate) fn prepare(&self, major: Option<u32>) -> Result<String> {
        if let Some(wrong) = &self.wrong {
            return Err(refused(wrong.clone()));
        }
        let mut text = String::new();
        if let Some(path) = &self.temporary_directory {
            let path = temporary_directory(path)?;
            let path = path
                .to_str()
                .ok_or_else(|| refused("the temporary directory is not UTF-8".to_owned()))?;
            text += &Entry::text(TEMPORARY_DIRECTORY, path)
                .map_err(refused)?
                .line(major);
        }
        text.extend(self.entries.iter().map(|entry| entry.line(major)));
        Ok(text)
    }
}

/// The directory, absolute, and made if there is none.
fn temporary_directory(path: &Path) -> Result<PathBuf> {
    let failed = |cause| {
        let text = "the temporary directory cannot be made";
        Error::new(ErrorKind::InvalidArgument, Operation::Configure, text)
            .with_path(path)
            .with_cause(cause)
    };
    let path = std::path::absolute(path).map_err(failed)?;
    if !path.is_dir() {
        file::private_folder(&path, true).map_err(failed)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
