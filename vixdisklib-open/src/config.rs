//! The configuration file that `InitEx` may name.
//!
//! A line is `name = value` or `name = "value"`; `#` begins a comment. Names are case-sensitive, and the last line with a
//! name counts (source: Virtual Disk Programming Guide, "Initialize Virtual Disk API"; that blanks in a value want quotes
//! is not insisted on). One name means something to a library for local disks, `vixDiskLib.transport.LogLevel`. All others
//! are ignored: they set networks, caches and temporary folders, none of which this library has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::log::Level;

/// More than any such file has; nothing behind it is read.
const LONGEST: u64 = 1 << 20;

/// What the file sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The least important lines that the caller wants to have.
    pub(crate) level: Level,
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
            if name.trim_end() == "vixDiskLib.transport.LogLevel" {
                match value_of(value).parse().ok().and_then(Level::from_number) {
                    Some(level) => config.level = level,
                    None => config.complaints.push(format!(
                        "line {number}: vixDiskLib.transport.LogLevel is from 0 to 6, the line is ignored"
                    )),
                }
            }
        }
        config
    }
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
