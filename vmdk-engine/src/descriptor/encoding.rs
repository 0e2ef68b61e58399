//! File names in the character encoding that a descriptor declares.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What windows-1252 has at 0x80..0xA0, where Latin-1 has control characters; 0 where it has nothing.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
    0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc,
    0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
];

/// The name as a file name of this system; `None` if it needs a character set that is not known here.
///
/// Without a declared encoding, and in UTF-8, names are the bytes that they are: on Unix those are file names.
pub(super) fn file_name(bytes: &[u8], encoding: &str) -> Option<OsString> {
    let is_plain = bytes.is_ascii() || encoding.is_empty();
    if is_plain || encoding.eq_ignore_ascii_case("UTF-8") {
        return Some(OsString::from_vec(bytes.to_vec()));
    }
    if !encoding.eq_ignore_ascii_case("windows-1252") {
        return None;
    }
    let text: Option<String> = bytes.iter().map(|byte| windows_1252(*byte)).collect();
    text.map(OsString::from)
}

fn windows_1252(byte: u8) -> Option<char> {
    let special = byte
        .checked_sub(0x80)
        .and_then(|index| WINDOWS_1252.get(usize::from(index)));
    match special {
        Some(0) => None,
        Some(code) => char::from_u32(u32::from(*code)),
        None => Some(char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_encodings_give_names_and_others_only_for_ascii() {
        assert_eq!(
            file_name(b"\x80uro \xfc.vmdk", "windows-1252"),
            Some("€uro ü.vmdk".into())
        );
        assert_eq!(file_name("ü".as_bytes(), "utf-8"), Some("ü".into()));
        assert_eq!(file_name(b"plain", "Big5"), Some("plain".into()));
        assert_eq!(file_name(b"\xa4\xa4", "Big5"), None);
        assert_eq!(file_name(b"\x81", "windows-1252"), None);
        assert_eq!(file_name(b"\xff", ""), Some(OsString::from_vec(vec![0xff])));
    }
}
