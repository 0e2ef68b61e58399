//! The text descriptor: parsed without losing a byte, edited in place.
//!
//! A [`Descriptor`] keeps the text as it was found and remembers where each value stands, so that it prints back byte
//! for byte and a content id can change without moving anything else.
//!
//! Facts: "Virtual Disk Format 5.0" (VMware technical note), and descriptors written by ESX, Workstation, VirtualBox
//! and qemu-img 10.

mod change_tracking;
mod content_id;
mod cowd;
mod encoding;
mod entry;
mod error;
mod extent_line;
mod mark;
mod parent;
mod rewrite;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::ops::Range;

use crate::extent::cowd::CowdIdentity;

use content_id::NO_PARENT;
use entry::{Entry, split_entry};

pub(crate) use content_id::{fitting_content_id, is_reserved_cid};
pub(crate) use encoding::Charset;
pub(crate) use error::DescriptorError;
pub(crate) use extent_line::{Access, ExtentKind, ExtentLine};
pub(crate) use mark::ContentMark;
pub(crate) use parent::ParentReference;
pub(crate) use rewrite::Rewrite;

/// More text than this is refused; real descriptors have a few hundred bytes, split ones a few hundred KiB.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// More extent lines than this are refused.
pub(crate) const MAX_EXTENTS: usize = 16_384;

/// What stands in a header once.
const HEADER_KEYS: [&str; 8] = [
    "version",
    "encoding",
    "CID",
    "parentCID",
    "isNativeSnapshot",
    "createType",
    "parentFileNameHint",
    "changeTrackPath",
];

/// Bytes to put in place of as many others, `position` bytes into the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) position: usize,
    pub(crate) bytes: Vec<u8>,
}

/// A parsed text descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    text: Vec<u8>,
    entries: Vec<Entry>,
    extents: Vec<ExtentLine>,
    version: u32,
    cid: Option<u32>,
    parent_cid: u32,
    /// The label of the character set of names; empty if there is none.
    encoding: String,
    /// The data base: for each key without its prefix, in small letters, the first line that has it.
    metadata: HashMap<String, Entry>,
    /// What counts instead of ids and hints, in a disk without a text.
    cowd: Option<CowdIdentity>,
}

impl Descriptor {
    /// Parses a text. A NUL ends it, as the rest of a reserved area is filled with NULs.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if text.len() > MAX_TEXT {
            return Err(DescriptorError::TooLong);
        }
        let mut descriptor = Self {
            text: text.to_vec(),
            entries: Vec::new(),
            extents: Vec::new(),
            version: 0,
            cid: None,
            parent_cid: NO_PARENT,
            encoding: String::new(),
            metadata: HashMap::new(),
            cowd: None,
        };
        descriptor.read_lines()?;
        descriptor.note_entries();
        descriptor.read_header()?;
        Ok(descriptor)
    }

    fn read_lines(&mut self) -> Result<(), DescriptorError> {
        let mut start = 0_usize;
        let mut is_first = true;
        for (number, line) in (1_usize..).zip(self.text.split(|byte| *byte == b'\n')) {
            let content = line.strip_suffix(b"\r").unwrap_or(line);
            let trimmed = content.trim_ascii();
            let indent = content
                .len()
                .saturating_sub(content.trim_ascii_start().len());
            let position = start.saturating_add(indent);
            start = start.saturating_add(line.len()).saturating_add(1);
            if trimmed.is_empty() || trimmed.starts_with(b"#") {
                continue;
            }
            let entry = split_entry(trimmed, position);
            if is_first
                && !entry
                    .as_ref()
                    .is_some_and(|entry| self.has_key(entry, "version"))
            {
                return Err(DescriptorError::NotADescriptor);
            }
            is_first = false;
            if trimmed.contains(&b'\r') {
                return Err(DescriptorError::LoneCarriageReturn { line: number });
            }
            if let Some(mut extent) = ExtentLine::parse(trimmed, number)? {
                if self.extents.len() >= MAX_EXTENTS {
                    return Err(DescriptorError::TooManyExtents);
                }
                extent.place = extent.place.shifted(position);
                self.extents.push(extent);
            } else if let Some(entry) = entry {
                self.entries.push(entry);
            } else {
                tracing::debug!(
                    line = number,
                    "a descriptor line that means nothing is kept as it is"
                );
            }
        }
        if is_first {
            return Err(DescriptorError::NotADescriptor);
        }
        Ok(())
    }

    /// Notes what is asked for again and again: a hostile text has tens of thousands of lines.
    fn note_entries(&mut self) {
        // Newer ESX versions have it in the data base.
        let declared = self.find("encoding").or_else(|| self.find("ddb.encoding"));
        let label = declared.map(|entry| self.slice(&entry.value));
        self.encoding = String::from_utf8_lossy(label.unwrap_or_default()).into_owned();
        let mut metadata = HashMap::new();
        for (key, entry) in self.metadata_entries() {
            let key = String::from_utf8_lossy(key).to_ascii_lowercase();
            metadata.entry(key).or_insert_with(|| entry.clone());
        }
        self.metadata = metadata;
    }

    fn read_header(&mut self) -> Result<(), DescriptorError> {
        if self.is_encrypted() {
            return Err(DescriptorError::Encrypted);
        }
        let version = self.header("version").unwrap_or_default();
        self.version = version.parse().ok().filter(|version| *version > 0).ok_or(
            DescriptorError::BadValue {
                key: "version",
                value: version,
            },
        )?;
        if self.version > 3 {
            return Err(DescriptorError::Version(self.version));
        }
        self.cid = self.content_id("CID")?;
        self.parent_cid = self.content_id("parentCID")?.unwrap_or(NO_PARENT);
        if self.extents.is_empty() {
            return Err(DescriptorError::NoExtents);
        }
        self.report_repeated_keys();
        Ok(())
    }

    fn report_repeated_keys(&self) {
        for key in HEADER_KEYS {
            let lines = self.entries.iter().filter(|entry| self.has_key(entry, key));
            if lines.count() > 1 {
                tracing::warn!(key, "the descriptor has a key twice; the first one counts");
            }
        }
    }

    fn content_id(&self, key: &'static str) -> Result<Option<u32>, DescriptorError> {
        let Some(value) = self.header(key) else {
            return Ok(None);
        };
        if !(1..=8).contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DescriptorError::BadValue { key, value });
        }
        Ok(u32::from_str_radix(&value, 16).ok())
    }

    /// Key material in the header, the host's encryption filter in the data base, or a body that is encrypted itself.
    fn is_encrypted(&self) -> bool {
        let is_opaque =
            self.extents.is_empty() && self.text.split(|byte| *byte == b'\n').any(is_opaque);
        is_opaque
            || self.entries.iter().any(|entry| {
                let key = self.slice(&entry.key).to_ascii_lowercase();
                let value = self.slice(&entry.value).to_ascii_lowercase();
                key.starts_with(b"encryption.")
                    || key.ends_with(b"keysafe")
                    || (key == b"ddb.iofilters" && contains(&value, b"vmwarevmcrypt"))
            })
    }

    /// The text, byte for byte as it was parsed, but for patches made since.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn extents(&self) -> &[ExtentLine] {
        &self.extents
    }

    /// The content id of this link; `None` if the text has none.
    #[cfg(test)]
    pub(crate) fn cid(&self) -> Option<u32> {
        self.cid
    }

    /// What its children know the content of this link by.
    pub(crate) fn mark(&self) -> Option<ContentMark> {
        match &self.cowd {
            Some(header) => Some(header.mark()),
            None => self.cid.map(ContentMark::Cid),
        }
    }

    /// What the text says of a parent. A hint alone, with the content id of "no parent", makes no child.
    pub(crate) fn parent(&self) -> Option<ParentReference> {
        if let Some(header) = &self.cowd {
            return header.parent();
        }
        (self.parent_cid != NO_PARENT).then(|| ParentReference {
            mark: ContentMark::Cid(self.parent_cid),
            hint: self
                .find("parentFileNameHint")
                .map(|entry| self.slice(&entry.value).to_vec()),
            encoding: self.encoding.clone(),
        })
    }

    pub(crate) fn create_type(&self) -> Option<String> {
        self.header("createType")
    }

    /// Whether the storage array took the snapshot, so that there is no parent file to follow.
    pub(crate) fn is_native_snapshot(&self) -> bool {
        self.header("isNativeSnapshot")
            .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    /// A value of the disk data base; `key` without its prefix `ddb.`.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        let entry = self.metadata.get(&key.to_ascii_lowercase());
        Some(self.value(entry?))
    }

    /// The keys of the disk data base in file order, without their prefix. What is not UTF-8 in one is replaced, so
    /// that it has a value under the name that it is listed with.
    pub(crate) fn metadata_keys(&self) -> Vec<String> {
        let mut known = HashSet::new();
        self.metadata_entries()
            .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
            .filter(|key| known.insert(key.to_ascii_lowercase()))
            .collect()
    }

    fn metadata_entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().filter_map(|entry| {
            let key = self.slice(&entry.key);
            let (prefix, rest) = key.split_at_checked(4)?;
            prefix
                .eq_ignore_ascii_case(b"ddb.")
                .then_some((rest, entry))
        })
    }

    /// The file name in an extent line, as this system would write it.
    pub(crate) fn file_name(&self, line: &ExtentLine) -> Result<OsString, DescriptorError> {
        file_name(&line.name, &self.encoding)
    }

    fn apply(&mut self, patches: &[Patch]) {
        for patch in patches {
            let end = patch.position.saturating_add(patch.bytes.len());
            if let Some(target) = self.text.get_mut(patch.position..end) {
                target.copy_from_slice(&patch.bytes);
            }
        }
    }

    fn header(&self, key: &str) -> Option<String> {
        self.find(key).map(|entry| self.value(entry))
    }

    /// The first line with this key; a repeated key has no effect.
    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.has_key(entry, key))
    }

    fn has_key(&self, entry: &Entry, key: &str) -> bool {
        self.slice(&entry.key).eq_ignore_ascii_case(key.as_bytes())
    }

    fn value(&self, entry: &Entry) -> String {
        Charset::named(&self.encoding).decode_lossy(self.slice(&entry.value))
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// A name as this system would write it.
fn file_name(bytes: &[u8], encoding: &str) -> Result<OsString, DescriptorError> {
    Charset::named(encoding)
        .decode(bytes)
        .ok_or_else(|| DescriptorError::Encoding {
            name: String::from_utf8_lossy(bytes).into_owned(),
            encoding: encoding.to_owned(),
        })
}

/// Whether a line looks like encoded binary data, which is longer than any key.
fn is_opaque(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.len() >= 60
        && line
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, ErrorKind};
    use proptest::prelude::*;

    const HOSTED: &str = "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=1f2e3d4c\nparentCID=ffffffff\n\
        isNativeSnapshot=\"no\"\ncreateType=\"monolithicSparse\"\n\n# Extent description\n\
        RW 8388608 SPARSE \"disk.vmdk\"\n\n# The Disk Data Base \n#DDB\n\nddb.adapterType = \"lsilogic\"\n\
        ddb.geometry.cylinders = \"522\"\nddb.longContentID = \"00112233445566778899aabb1f2e3d4c\"\n\
        ddb.future.key=\"kept\"\nddb.adapterType = \"ide\"\n";

    fn parse(text: &str) -> Result<Descriptor, DescriptorError> {
        Descriptor::parse(text.as_bytes())
    }

    #[test]
    fn a_text_of_the_longest_is_read_out_in_moments() {
        let mut text = "version=1\nCID=1\n".to_owned();
        for extent in 0..10_000 {
            text.push_str(&format!("RW 1 FLAT \"{extent}\" 0\n"));
        }
        for key in 0..40_000 {
            text.push_str(&format!("ddb.{key}=\n"));
        }
        let started = std::time::Instant::now();
        let descriptor = parse(&text).expect("valid");
        for (extent, line) in descriptor.extents().iter().enumerate() {
            let name = descriptor.file_name(line).expect("readable");
            assert_eq!(name, OsString::from(extent.to_string()));
        }
        let keys = descriptor.metadata_keys();
        assert_eq!(keys.len(), 40_000);
        for key in keys {
            assert_eq!(descriptor.metadata(&key).as_deref(), Some(""));
        }
        let seconds = started.elapsed().as_secs();
        assert!(seconds < 20, "{seconds} seconds");
    }

    #[test]
    fn keys_are_found_in_file_order_and_the_first_wins() {
        let descriptor = parse(HOSTED).expect("valid");
        assert_eq!(descriptor.cid(), Some(0x1f2e_3d4c));
        assert_eq!(descriptor.parent(), None);
        assert_eq!(
            descriptor.create_type().as_deref(),
            Some("monolithicSparse")
        );
        assert_eq!(
            descriptor.metadata("ADAPTERTYPE").as_deref(),
            Some("lsilogic")
        );
        assert_eq!(
            descriptor.metadata_keys(),
            [
                "adapterType",
                "geometry.cylinders",
                "longContentID",
                "future.key"
            ]
        );
        assert_eq!(descriptor.metadata("uuid"), None);
        assert_eq!(descriptor.as_bytes(), HOSTED.as_bytes());
    }

    /// A text full of keys: comparing each with each would take minutes.
    #[test]
    fn as_many_keys_as_a_text_holds_are_listed() {
        let mut text = String::from("version=1\nRW 1 ZERO\n");
        let mut count = 0;
        while text.len() < MAX_TEXT - 20 {
            text.push_str(&format!("ddb.{count:x}=\n"));
            count += 1;
        }
        let keys = parse(&text).expect("valid").metadata_keys();
        assert_eq!(keys.len(), count);
        assert_eq!(keys[255], "ff");
    }

    #[test]
    fn a_key_that_is_not_utf_8_has_a_value_under_its_listed_name() {
        let text = b"version=1\nRW 1 ZERO\nddb.\xffx = \"one\"\nddb.\xfeX = \"two\"\n";
        let descriptor = Descriptor::parse(text).expect("valid");
        let keys = descriptor.metadata_keys();
        assert_eq!(keys, ["\u{fffd}x"]);
        assert_eq!(descriptor.metadata(&keys[0]).as_deref(), Some("one"));
    }

    #[test]
    fn shapes_that_real_writers_leave_are_accepted() {
        for text in [
            "# comment\r\n\r\nversion=1 \r\nCID=7\r\nparentCID=ffffffff\r\nRW 1 ZERO \r\n",
            "VERSION = 1\nCid = \"0000000A\"\nrw 1 zero\n",
            "version=3\nCID=0\nRW 1 ZERO\nchangeTrackPath=\"x-ctk.vmdk\"\n",
            "version=1\nCID=0\nRW 1 ZERO\nnonsense\nddb.x = \"unterminated\n",
            "version=1\nCID=0\nRW 1 ZERO\n\0rubbish\rbehind the end",
        ] {
            let descriptor = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(descriptor.extents().len(), 1, "{text}");
            assert!(text.as_bytes().starts_with(descriptor.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        use ErrorKind::{Encrypted, InvalidDisk, Unsupported, UnsupportedVersion};
        for (text, kind) in [
            ("", InvalidDisk),
            ("\n# only\n", InvalidDisk),
            ("hello", InvalidDisk),
            ("CID=1\nversion=1\nRW 1 ZERO\n", InvalidDisk),
            ("version=1\nCID=1\n", InvalidDisk),
            ("version=0\nRW 1 ZERO\n", InvalidDisk),
            ("version=4\nRW 1 ZERO\n", UnsupportedVersion),
            ("version=1\nCID=xyz\nRW 1 ZERO\n", InvalidDisk),
            ("version=1\nCID=123456789\nRW 1 ZERO\n", InvalidDisk),
            ("version=1\nCID=1\rparentCID=2\nRW 1 ZERO\n", InvalidDisk),
            ("version=1\nRW 1 CLOUD \"x\"\n", Unsupported),
            ("version=1\nencryption.keySafe=\"vmware:key\"\n", Encrypted),
            (
                "version=2\nCID=1\nUXVpdGUgb3BhcXVlLCBhbmQgbG9uZ2VyIHRoYW4gYW55IGtleSBvZiBhIGhlYWRlcg==\n",
                Encrypted,
            ),
            (
                "version=1\nRW 1 ZERO\nddb.iofilters = \"vmwarevmcrypt\"\n",
                Encrypted,
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.kind(), kind, "{text}: {error}");
        }
        let endless = format!("version=1\n#{}\n", "x".repeat(MAX_TEXT));
        assert_eq!(parse(&endless).expect_err("long").kind(), InvalidDisk);
        let lines = format!("version=1\n{}", "RW 1 ZERO\n".repeat(MAX_EXTENTS + 1));
        assert_eq!(parse(&lines).expect_err("many").kind(), InvalidDisk);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_without_a_panic(body in "(version=1\n)?[ -~\n\r\t\"=]{0,400}") {
            if let Ok(mut descriptor) = parse(&body) {
                prop_assert!(body.as_bytes().starts_with(descriptor.as_bytes()));
                let before = descriptor.as_bytes().len();
                let _ = descriptor.renew_content_id([3; 16]);
                prop_assert_eq!(before, descriptor.as_bytes().len());
                descriptor.metadata_keys();
            }
        }
    }
}
