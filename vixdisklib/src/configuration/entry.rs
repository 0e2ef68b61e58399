//! One line of a configuration file.

use crate::error::{Error, ErrorKind, Operation};

/// The release that renamed keys.
const RENAMED_IN: u32 = 8;

/// A key and its value, fit to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    key: String,
    /// What releases before 8 call the key, if they call it something else.
    old_key: Option<String>,
    value: String,
}

impl Entry {
    pub(super) fn number(key: &str, value: u64) -> Self {
        Self {
            key: key.to_owned(),
            old_key: None,
            value: value.to_string(),
        }
    }

    /// A value that is a text. It is quoted; there is no way to write a quote within quotes.
    pub(super) fn text(key: &str, value: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if key.is_empty() || !key.bytes().all(legal) {
            return Err(format!("{key:?} is no name of a key"));
        }
        if value.chars().any(|char| char.is_control() || char == '"') {
            return Err(format!(
                "the value of {key} has a line break, another control character or a double quote"
            ));
        }
        Ok(Self {
            key: key.to_owned(),
            old_key: None,
            value: format!("\"{value}\""),
        })
    }

    /// A text under a key that has had another name before VDDK 8.
    pub(super) fn renamed(key: &str, old_key: &str, value: &str) -> Result<Self, String> {
        Ok(Self {
            old_key: Some(old_key.to_owned()),
            ..Self::text(key, value)?
        })
    }

    pub(super) fn same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// The line for a library of this major version; under both names if it is not known.
    pub(super) fn line(&self, major: Option<u32>) -> String {
        let Self {
            key,
            old_key,
            value,
        } = self;
        let line = |key: &str| format!("{key}={value}\n");
        match (old_key, major) {
            (None, _) => line(key),
            (Some(_), Some(RENAMED_IN..)) => line(key),
            (Some(old), Some(_)) => line(old),
            (Some(old), None) => line(key) + &line(old),
        }
    }
}

/// Whether reports of usage can carry it.
pub(super) fn phone_home_text(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

/// Device paths joined by commas.
pub(super) fn device_list<D: AsRef<str>>(
    devices: impl IntoIterator<Item = D>,
) -> Result<String, String> {
    let mut list = String::new();
    for device in devices {
        let device = device.as_ref();
        if device.trim().is_empty() || device.contains(',') {
            return Err(format!("{device:?} is no path of a device"));
        }
        if !list.is_empty() {
            list.push(',');
        }
        list += device;
    }
    if list.is_empty() {
        return Err("a list of devices is empty".to_owned());
    }
    Ok(list)
}

pub(super) fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, Operation::Configure, text)
}
