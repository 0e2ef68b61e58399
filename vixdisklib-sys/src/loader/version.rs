//! The release of a library, from its file name.

use std::ffi::OsStr;
use std::fmt;

/// The release of a library, as its file name gives it: `libvixDiskLib.so.8.0.3` is 8.0.3.
///
/// VixDiskLib has no function that tells its version; callers read it from the name of the real file (source: nbdkit's
/// vddk plugin does so). Three numbers up to VDDK 8, four from VDDK 9 on. Releases compare number by number.
///
/// ```
/// use vixdisklib_sys::loader::Version;
///
/// let version = Version::from_file_name("libvixDiskLib.so.9.0.0.0".as_ref()).expect("has numbers");
/// assert_eq!(version.major(), 9);
/// assert_eq!(version.to_string(), "9.0.0.0");
/// assert!(version > Version::from_file_name("libvixDiskLib.so.8.0.3".as_ref()).expect("has numbers"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    numbers: Vec<u32>,
}

impl Version {
    /// Reads the numbers behind `.so.` in a file name; `None` if there is anything else, or nothing.
    #[must_use]
    pub fn from_file_name(name: &OsStr) -> Option<Self> {
        let (_, numbers) = name.to_str()?.split_once(".so.")?;
        let numbers: Result<Vec<u32>, _> = numbers.split('.').map(str::parse).collect();
        numbers.ok().map(|numbers| Self { numbers })
    }

    /// The first number. VDDK counts its `VixDiskLibInfo` members by it: from 7 on there are sector sizes.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.numbers.first().copied().unwrap_or(0)
    }

    /// All numbers: at least one.
    #[must_use]
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
        formatter.write_str(&numbers.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Option<String> {
        Version::from_file_name(name.as_ref()).map(|version| version.to_string())
    }

    #[test]
    fn names_of_published_releases() {
        assert_eq!(version("libvixDiskLib.so.6.7.0").as_deref(), Some("6.7.0"));
        assert_eq!(
            version("libvixDiskLib.so.9.1.0.0").as_deref(),
            Some("9.1.0.0")
        );
        assert_eq!(version("libvixDiskLib.so.8").as_deref(), Some("8"));
    }

    #[test]
    fn names_without_a_version() {
        for name in [
            "libvixDiskLib.so",
            "libvixDiskLib.so.",
            "a.so.8.x",
            "a.so.8..1",
            "vixDiskLib.dll",
        ] {
            assert_eq!(version(name), None, "{name}");
        }
    }
}
