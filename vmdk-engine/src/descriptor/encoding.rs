//! The character set that a descriptor declares: file names and comments from bytes, and back.
//!
//! Keys are ASCII in all of them. Windows and ESX hosts in East Asia write their own sets, under names of Windows code
//! pages or of the set itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use encoding_rs::{BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_8};

/// Code pages that Windows writes and that the standard list of labels does not have.
const CODE_PAGES: [(&str, &Encoding); 7] = [
    ("windows-932", SHIFT_JIS),
    ("windows-936", GBK),
    ("windows-950", BIG5),
    ("cp932", SHIFT_JIS),
    ("cp936", GBK),
    ("cp949", EUC_KR),
    ("cp950", BIG5),
];

/// A declared character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// UTF-8, or none declared: names are the bytes that they are, which on Unix are file names, valid or not.
    Bytes,
    /// Another that is known.
    Known(&'static Encoding),
    /// One that is not: only ASCII can be read.
    Unknown,
}

impl Charset {
    /// The set with this label, in any case; an empty label declares none.
    pub(crate) fn named(label: &str) -> Self {
        let label = label.trim();
        if label.is_empty() {
            return Self::Bytes;
        }
        let code_page = CODE_PAGES
            .iter()
            .find(|(name, _)| label.eq_ignore_ascii_case(name))
            .map(|(_, encoding)| *encoding);
        match code_page.or_else(|| Encoding::for_label(label.as_bytes())) {
            Some(encoding) if encoding == UTF_8 => Self::Bytes,
            // Of others, bytes that look like a quote or the end of a line could be halves of characters.
            Some(encoding) if encoding.is_ascii_compatible() => Self::Known(encoding),
            _ => Self::Unknown,
        }
    }

    /// The name as a file name of this system; `None` if it cannot be read.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<OsString> {
        match self {
            Self::Known(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(bytes)
                .map(|text| OsString::from(text.into_owned())),
            Self::Unknown if !bytes.is_ascii() => None,
            Self::Bytes | Self::Unknown => Some(OsString::from_vec(bytes.to_vec())),
        }
    }

    /// The bytes that read as this file name; `None` if there are none.
    pub(crate) fn encode(self, name: &OsStr) -> Option<Vec<u8>> {
        match self {
            Self::Known(encoding) => {
                let (encoded, _, _) = encoding.encode(name.to_str()?);
                // What cannot be expressed comes out as something else.
                (self.decode(&encoded)? == name).then(|| encoded.into_owned())
            }
            Self::Unknown if !name.as_bytes().is_ascii() => None,
            Self::Bytes | Self::Unknown => Some(name.as_bytes().to_vec()),
        }
    }

    /// Text to show, whatever is wrong with it.
    pub(crate) fn decode_lossy(self, bytes: &[u8]) -> String {
        match self {
            Self::Known(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Self::Bytes | Self::Unknown => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Labels as hosts write them, with a name and its bytes.
    const NAMES: [(&str, &str, &[u8]); 14] = [
        ("windows-1252", "€uro ü.vmdk", b"\x80uro \xfc.vmdk"),
        ("WINDOWS-1250", "ěž", b"\xec\x9e"),
        ("windows-1251", "диск", b"\xe4\xe8\xf1\xea"),
        ("windows-1253", "δίσκος", b"\xe4\xdf\xf3\xea\xef\xf2"),
        ("windows-1254", "ğ", b"\xf0"),
        // The second byte of its first character is that of a backslash.
        ("Shift_JIS", "ソフト", b"\x83\x5c\x83\x74\x83\x67"),
        ("windows-932", "ソ", b"\x83\x5c"),
        ("GBK", "虚拟", b"\xd0\xe9\xc4\xe2"),
        ("windows-936", "虚", b"\xd0\xe9"),
        ("Big5", "中", b"\xa4\xa4"),
        ("windows-950", "功", b"\xa5\x5c"),
        ("EUC-KR", "한", b"\xc7\xd1"),
        ("windows-949", "한", b"\xc7\xd1"),
        ("utf-8", "ü", b"\xc3\xbc"),
    ];

    #[test]
    fn names_are_read_and_written_in_every_set_that_hosts_use() {
        for (label, name, bytes) in NAMES {
            let charset = Charset::named(label);
            assert_eq!(charset.decode(bytes), Some(name.into()), "{label}");
            assert_eq!(
                charset.encode(OsStr::new(name)),
                Some(bytes.to_vec()),
                "{label}"
            );
            assert_eq!(charset.decode_lossy(bytes), name, "{label}");
            assert_eq!(
                charset.decode(b"plain-s001.vmdk"),
                Some("plain-s001.vmdk".into())
            );
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_none() {
        for label in ["Klingon", "UTF-16", "ISO-2022-JP", "replacement"] {
            let charset = Charset::named(label);
            assert_eq!(charset, Charset::Unknown, "{label}");
            assert_eq!(charset.decode(b"plain"), Some("plain".into()));
            assert_eq!(charset.decode(b"\xa4\xa4"), None);
            assert_eq!(charset.encode(OsStr::new("plain")), Some(b"plain".to_vec()));
            assert_eq!(charset.encode(OsStr::new("ü")), None);
        }
        assert_eq!(Charset::named("Shift_JIS").decode(b"\x83"), None);
        assert_eq!(
            Charset::named("windows-1252").encode(OsStr::new("中")),
            None
        );
        let invalid = OsString::from_vec(vec![0xff]);
        assert_eq!(Charset::named("GBK").encode(&invalid), None);
    }

    #[test]
    fn bytes_that_are_no_utf_8_stay_what_they_are() {
        let invalid = OsString::from_vec(vec![b'a', 0xff]);
        for label in ["", " ", "UTF-8", "utf8"] {
            let charset = Charset::named(label);
            assert_eq!(charset.decode(b"a\xff"), Some(invalid.clone()), "{label}");
            assert_eq!(charset.encode(&invalid), Some(b"a\xff".to_vec()), "{label}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(name in "\\PC{0,20}", index in 0..NAMES.len()) {
            let charset = Charset::named(NAMES[index].0);
            if let Some(bytes) = charset.encode(OsStr::new(&name)) {
                prop_assert_eq!(charset.decode(&bytes), Some(OsString::from(name)));
            }
        }

        /// A quoted value must end where its quote is, whatever the set.
        #[test]
        fn no_character_hides_a_quote_or_the_end_of_a_line(
            character in any::<char>().prop_filter("not ASCII", |character| !character.is_ascii()),
            index in 0..NAMES.len(),
        ) {
            let charset = Charset::named(NAMES[index].0);
            let bytes = charset.encode(OsStr::new(&character.to_string())).unwrap_or_default();
            prop_assert!(!bytes.iter().any(|byte| matches!(byte, b'"' | b'\n' | b'\r' | 0)));
        }
    }
}
