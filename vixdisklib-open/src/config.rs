//! The configuration file that `InitEx` may name.
//!
//! A line is `name = value` or `name = "value"`; `#` begins a comment. Names are case-sensitive, and the last line with a
//! name counts (source: Virtual Disk Programming Guide, "Initialize Virtual Disk API"; that blanks in a value want quotes
//! is not insisted on). Known are `vixDiskLib.transport.LogLevel`, and of `vixDiskLib.nfc` and `vixDiskLib.nfcAio` how long
//! hosts are waited for and the buffers that they are asked for. All others are ignored: they set caches and temporary
//! folders, which this library does not have.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::log::Level;

/// More than any such file has; nothing behind it is read.
const LONGEST: u64 = 1 << 20;

/// Bytes in which the size of buffers is given.
const BUFFER_UNIT: u32 = 64 << 10;

/// The most bytes of buffers that a host gives to one disk (source: release notes of VDDK 7.0.3).
const MOST_BUFFERS: u32 = 16 << 20;

/// What the file sets about networks. Where it says nothing, this library has its own usual values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// For each reply before a disk is open.
    pub(crate) accept: Option<Duration>,
    /// For each answer of the management plane.
    pub(crate) request: Option<Duration>,
    /// For the next bytes of a reply.
    pub(crate) read: Option<Duration>,
    /// For the host to take the next bytes.
    pub(crate) write: Option<Duration>,
    /// The largest buffer that hosts are asked for, in bytes.
    pub(crate) buffer_size: Option<u32>,
    /// How many of them.
    pub(crate) buffer_count: Option<u32>,
}

/// What the file sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The least important lines that the caller wants to have.
    pub(crate) level: Level,
    pub(crate) network: Network,
    /// What is wrong with the file. It is no reason not to go on.
    pub(crate) complaints: Vec<String>,
}

impl Config {
    /// Reads the file. One that cannot be read sets nothing.
    pub(crate) fn read(path: &Path) -> Self {
        match text(path) {
            Ok(text) => Self::parse(&text),
            Err(error) => Self {
                complaints: vec![format!("it cannot be read, and sets nothing: {error}")],
                ..Self::default()
            },
        }
    }

    fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                config
                    .complaints
                    .push(format!("line {number} has no equals sign, it is ignored"));
                continue;
            };
            if let Err(wanted) = config.set(name.trim_end(), value_of(value)) {
                config.complaints.push(format!(
                    "line {number}: {} {wanted}, the line is ignored",
                    name.trim_end()
                ));
            }
        }
        config.check_buffers();
        config
    }

    /// Takes one value, or says what it must be.
    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let network = &mut self.network;
        match name {
            "vixDiskLib.transport.LogLevel" => {
                let level = value.parse().ok().and_then(Level::from_number);
                self.level = level.ok_or("is from 0 to 6")?;
            }
            "vixDiskLib.nfc.AcceptTimeoutMs" => network.accept = Some(patience(value)?),
            "vixDiskLib.nfc.RequestTimeoutMs" => network.request = Some(patience(value)?),
            "vixDiskLib.nfc.ReadTimeoutMs" => network.read = Some(patience(value)?),
            "vixDiskLib.nfc.WriteTimeoutMs" => network.write = Some(patience(value)?),
            "vixDiskLib.nfcAio.Session.BufSizeIn64KB" => {
                let units = value.parse().ok().filter(|units| (1..=32).contains(units));
                let units: u32 = units.ok_or("is from 1 to 32")?;
                network.buffer_size = Some(units * BUFFER_UNIT);
            }
            "vixDiskLib.nfcAio.Session.BufCount" => {
                let count = value.parse().ok().filter(|count| (1..=256).contains(count));
                network.buffer_count = Some(count.ok_or("is from 1 to 256")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes back sizes and numbers of buffers that no host would give together.
    fn check_buffers(&mut self) {
        let network = &mut self.network;
        let (Some(size), Some(count)) = (network.buffer_size, network.buffer_count) else {
            return;
        };
        if size * count > MOST_BUFFERS {
            self.complaints.push(format!(
                "{count} buffers of {size} bytes are more than the {MOST_BUFFERS} bytes that a disk gets; both are ignored"
            ));
            (network.buffer_size, network.buffer_count) = (None, None);
        }
    }
}

/// A time in milliseconds, up to a day.
fn patience(value: &str) -> Result<Duration, &'static str> {
    let millis = value
        .parse()
        .ok()
        .filter(|millis| (1..=86_400_000).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or("is from 1 to 86400000")
}

/// The text of the file; what is not UTF-8 in it matters to nobody.
fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A value without its quotes, and without a comment behind it.
fn value_of(text: &str) -> &str {
    let text = text.trim_start();
    let (quoted, end) = match text.strip_prefix('"') {
        Some(quoted) => (quoted, '"'),
        None => (text, '#'),
    };
    quoted.split(end).next().unwrap_or(quoted).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(text: &str) -> Level {
        let config = Config::parse(text);
        assert_eq!(config.complaints, [""; 0], "{text}");
        config.level
    }

    #[test]
    fn values_stand_with_and_without_quotes() {
        for text in [
            "vixDiskLib.transport.LogLevel=1",
            "  vixDiskLib.transport.LogLevel = \"1\"  # errors only",
            "# a comment\r\n\r\nvixDiskLib.transport.LogLevel=1 # errors only\r\n",
            "vixDiskLib.transport.LogLevel=5\nvixDiskLib.transport.LogLevel=1",
        ] {
            assert_eq!(level(text), Level::Error, "{text}");
        }
    }

    #[test]
    fn networks_have_times_and_buffers() {
        let config = Config::parse(
            "vixDiskLib.nfc.AcceptTimeoutMs=1\nvixDiskLib.nfc.RequestTimeoutMs = 2\n\
             vixDiskLib.nfc.ReadTimeoutMs=\"3\"\nvixDiskLib.nfc.WriteTimeoutMs=86400000\n\
             vixDiskLib.nfcAio.Session.BufSizeIn64KB=16\nvixDiskLib.nfcAio.Session.BufCount=4",
        );
        let millis = |number| Some(Duration::from_millis(number));
        let network = Network {
            accept: millis(1),
            request: millis(2),
            read: millis(3),
            write: millis(86_400_000),
            buffer_size: Some(1 << 20),
            buffer_count: Some(4),
        };
        assert_eq!((config.network, config.complaints.len()), (network, 0));
        for (text, complaint) in [
            ("vixDiskLib.nfc.ReadTimeoutMs=0", "from 1 to 86400000"),
            ("vixDiskLib.nfc.WriteTimeoutMs=soon", "from 1 to 86400000"),
            ("vixDiskLib.nfcAio.Session.BufSizeIn64KB=33", "from 1 to 32"),
            ("vixDiskLib.nfcAio.Session.BufCount=0", "from 1 to 256"),
            (
                "vixDiskLib.nfcAio.Session.BufCount=9\nvixDiskLib.nfcAio.Session.BufSizeIn64KB=32",
                "both are ignored",
            ),
        ] {
            let config = Config::parse(text);
            assert_eq!(config.network, Network::default(), "{text}");
            assert_eq!(config.complaints.len(), 1, "{text}");
            assert!(config.complaints[0].contains(complaint), "{config:?}");
        }
    }

    #[test]
    fn other_names_are_ignored() {
        for text in [
            "",
            "tmpDirectory=\"/var/tmp/my backup\"",
            "vixDiskLib.nfc.LogLevel = \"0\"\nvixDiskLib.disklib.EnableCache = \"1\"",
            "VixDiskLib.transport.LogLevel=0",
            "#vixDiskLib.transport.LogLevel=0",
        ] {
            assert_eq!(level(text), Level::default(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_ignored() {
        for text in [
            "vixDiskLib.transport.LogLevel=7",
            "vixDiskLib.transport.LogLevel=",
            "vixDiskLib.transport.LogLevel=\"verbose\"",
            "vixDiskLib.transport.LogLevel",
        ] {
            let config = Config::parse(&format!("#\n{text}"));
            assert_eq!(config.level, Level::default(), "{text}");
            assert_eq!(config.complaints.len(), 1, "{text}");
            assert!(config.complaints[0].contains("line 2"), "{config:?}");
        }
    }

    #[test]
    fn a_file_that_is_none_sets_nothing() {
        for path in ["/no/such/file", "/"] {
            let config = Config::read(path.as_ref());
            assert_eq!(config.level, Level::default());
            assert_eq!(config.complaints.len(), 1, "{path}");
        }
    }
}
