//! Changing the text: what changes is cut out and put in, and every other byte stays.
//!
//! A [`Rewrite`] collects changes; [`Rewrite::finish`] makes them all and reads the result, so that nothing is written
//! that would not be understood.

use std::ffi::OsStr;
use std::ops::Range;

use disk_units::SectorCount;

use super::encoding::Charset;
use super::extent_line::NamePlace;
use super::{Descriptor, DescriptorError, Entry, MAX_TEXT};
use crate::error::{Cause, ErrorKind};

/// Why a text cannot be changed as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(
        "the key {0:?} cannot be written: it is empty, or has other than letters, digits and signs of ASCII"
    )]
    Key(String),
    #[error("{0:?} cannot be written: quotes and line ends have no place in a descriptor")]
    NotQuotable(String),
    #[error("{text:?} cannot be written in the descriptor's encoding \"{encoding}\"")]
    NotEncodable { text: String, encoding: String },
    #[error("with it, the disk could not be used any more: {0}")]
    Useless(#[source] DescriptorError),
    #[error("with it, the descriptor would name other files")]
    OtherFiles,
    #[error("the descriptor would be longer than 1 MiB")]
    TooLong,
}

impl Cause for RewriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong => ErrorKind::NoRoom,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

/// Changes of a text that are being put together.
#[derive(Debug)]
pub(crate) struct Rewrite<'a> {
    descriptor: &'a Descriptor,
    /// What takes the place of which bytes.
    changes: Vec<(Range<usize>, Vec<u8>)>,
}

impl<'a> Rewrite<'a> {
    pub(crate) fn new(descriptor: &'a Descriptor) -> Self {
        Self {
            descriptor,
            changes: Vec::new(),
        }
    }

    /// Gives a key of the data base, named without its prefix, a value. Of repeated lines only one stays.
    pub(crate) fn metadata(&mut self, key: &str, value: &str) -> Result<(), RewriteError> {
        let is_sign = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b'"');
        if key.is_empty() || !key.bytes().all(is_sign) {
            return Err(RewriteError::Key(key.to_owned()));
        }
        let value = self.encoded(OsStr::new(value))?;
        let full_key = format!("ddb.{key}");
        let descriptor = self.descriptor;
        let mut known = descriptor
            .entries
            .iter()
            .filter(|entry| descriptor.has_key(entry, &full_key));
        match known.next() {
            Some(entry) => self.value(entry, value),
            None => {
                let mut line = format!("{full_key} = \"").into_bytes();
                line.extend(value);
                line.push(b'"');
                self.add_metadata_line(line);
            }
        }
        for repeated in known {
            let line = self.line_of(repeated.key.start);
            self.changes.push((line, Vec::new()));
        }
        Ok(())
    }

    /// Gives a key of the header a value, if it has one: a name or a way.
    pub(crate) fn name(&mut self, key: &str, name: &OsStr) -> Result<(), RewriteError> {
        let value = self.encoded(name)?;
        if let Some(entry) = self.descriptor.find(key) {
            self.value(entry, value);
        }
        Ok(())
    }

    /// Gives the file of an extent another name.
    pub(crate) fn extent_name(&mut self, extent: usize, name: &OsStr) -> Result<(), RewriteError> {
        let name = self.encoded(name)?;
        let place = self
            .descriptor
            .extents
            .get(extent)
            .and_then(|line| line.place.name.clone());
        match place {
            Some(NamePlace {
                range,
                is_quoted: true,
            }) => self.changes.push((range, name)),
            Some(NamePlace { range, .. }) => self.changes.push((range, quoted(name))),
            None => {}
        }
        Ok(())
    }

    /// Gives an extent another size.
    pub(crate) fn extent_size(&mut self, extent: usize, sectors: SectorCount) {
        if let Some(line) = self.descriptor.extents.get(extent) {
            let digits = sectors.to_string().into_bytes();
            self.changes.push((line.place.size.clone(), digits));
        }
    }

    /// Adds extents behind the last one; the lines are without line ends.
    pub(crate) fn add_extents(&mut self, lines: &[String]) {
        let last = self.descriptor.extents.last();
        let Some(last) = last.map(|line| self.line_of(line.place.size.start)) else {
            return;
        };
        let lines = lines.iter().map(|line| line.clone().into_bytes());
        self.insert_lines(last.end, lines);
    }

    /// The new descriptor.
    pub(crate) fn finish(mut self) -> Result<Descriptor, RewriteError> {
        self.changes.sort_by_key(|(range, _)| range.start);
        let old = &self.descriptor.text;
        let mut text = Vec::with_capacity(old.len());
        let mut done = 0;
        for (range, bytes) in &self.changes {
            text.extend(old.get(done..range.start).unwrap_or_default());
            text.extend(bytes);
            done = range.end.max(done);
        }
        text.extend(old.get(done..).unwrap_or_default());
        if text.len() > MAX_TEXT {
            return Err(RewriteError::TooLong);
        }
        Descriptor::parse(&text).map_err(RewriteError::Useless)
    }

    /// The bytes of a name or value in the character set of the text.
    fn encoded(&self, text: &OsStr) -> Result<Vec<u8>, RewriteError> {
        let encoding = &self.descriptor.encoding;
        let readable = || text.to_string_lossy().into_owned();
        let bytes = Charset::named(encoding).encode(text);
        let bytes = bytes.ok_or_else(|| RewriteError::NotEncodable {
            text: readable(),
            encoding: encoding.clone(),
        })?;
        if bytes
            .iter()
            .any(|byte| matches!(byte, b'"' | b'\n' | b'\r' | 0))
        {
            return Err(RewriteError::NotQuotable(readable()));
        }
        Ok(bytes)
    }

    /// Puts a value in the place of another, and quotes around it where there are none.
    fn value(&mut self, entry: &Entry, value: Vec<u8>) {
        let quote_at = |index: Option<usize>| {
            index.and_then(|index| self.descriptor.text.get(index)) == Some(&b'"')
        };
        let is_open = quote_at(entry.value.start.checked_sub(1));
        let is_closed = quote_at(Some(entry.value.end));
        let value = match (is_open, is_closed) {
            (true, true) => value,
            (true, false) => [value, vec![b'"']].concat(),
            _ => quoted(value),
        };
        self.changes.push((entry.value.clone(), value));
    }

    fn add_metadata_line(&mut self, line: Vec<u8>) {
        let descriptor = self.descriptor;
        let last = descriptor.metadata_entries().map(|(_, entry)| entry).last();
        if let Some(last) = last {
            let end = self.line_of(last.key.start).end;
            self.insert_lines(end, [line].into_iter());
            return;
        }
        let end = descriptor.text.len();
        let mut lines = Vec::new();
        if !super::contains(&descriptor.text, b"#DDB") {
            for heading in ["", "# The Disk Data Base ", "#DDB", ""] {
                lines.push(heading.as_bytes().to_vec());
            }
        }
        lines.push(line);
        self.insert_lines(end, lines.into_iter());
    }

    /// Puts whole lines behind a line that ends at `end`, with the line ends of the text.
    fn insert_lines(&mut self, end: usize, lines: impl Iterator<Item = Vec<u8>>) {
        let text = &self.descriptor.text;
        let line_end: &[u8] = if super::contains(text, b"\r\n") {
            b"\r\n"
        } else {
            b"\n"
        };
        let mut bytes = Vec::new();
        // The last line of a text may have no end.
        if text
            .get(..end)
            .is_some_and(|before| before.last().is_some_and(|last| *last != b'\n'))
        {
            bytes.extend(line_end);
        }
        for line in lines {
            bytes.extend(line);
            bytes.extend(line_end);
        }
        self.changes.push((end..end, bytes));
    }

    /// The line around a position, with its end.
    fn line_of(&self, position: usize) -> Range<usize> {
        let text = &self.descriptor.text;
        let (before, behind) = text.split_at_checked(position).unwrap_or((text, &[]));
        let start = before.iter().rposition(|byte| *byte == b'\n');
        let start = start.map_or(0, |end| end.saturating_add(1));
        let length = behind.iter().position(|byte| *byte == b'\n');
        let length = length.map_or(behind.len(), |end| end.saturating_add(1));
        start..position.saturating_add(length)
    }
}

impl Descriptor {
    /// The descriptor with another value in its data base; all that it says of files stays.
    pub(crate) fn with_metadata(&self, key: &str, value: &str) -> Result<Self, RewriteError> {
        let mut rewrite = Rewrite::new(self);
        rewrite.metadata(key, value)?;
        let new = rewrite.finish()?;
        // Another character set would give the same bytes another meaning.
        let files = |descriptor: &Self| {
            let names = descriptor.extents.iter();
            let names: Vec<_> = names.map(|line| descriptor.file_name(line).ok()).collect();
            let hint = descriptor.parent().map(|parent| parent.file_name().ok());
            (names, hint)
        };
        if files(&new) != files(self) {
            return Err(RewriteError::OtherFiles);
        }
        Ok(new)
    }
}

fn quoted(bytes: Vec<u8>) -> Vec<u8> {
    [vec![b'"'], bytes, vec![b'"']].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=1f2e3d4c\nparentCID=ffffffff\n\
        createType=\"custom\"\nsomething = else\n\n# Extent description\nRW 100 FLAT \"a-flat.vmdk\" 0\n\
        RW 50 FLAT b-flat.vmdk 7\n\n#DDB\n\nddb.first = \"1\"\nddb.bare=5\nddb.open = \"x\n\
        ddb.FIRST = \"2\"\n# the end";

    fn parse(text: &str) -> Descriptor {
        Descriptor::parse(text.as_bytes()).expect("valid")
    }

    fn text(descriptor: &Descriptor) -> String {
        String::from_utf8(descriptor.as_bytes().to_vec()).expect("UTF-8")
    }

    fn set(before: &str, key: &str, value: &str) -> String {
        text(&parse(before).with_metadata(key, value).expect("possible"))
    }

    #[test]
    fn only_the_value_changes() {
        assert_eq!(
            set(TEXT, "First", "one"),
            TEXT.replace("\"1\"", "\"one\"")
                .replace("ddb.FIRST = \"2\"\n", "")
        );
        assert_eq!(set(TEXT, "bare", "6 7"), TEXT.replace("=5", "=\"6 7\""));
        assert_eq!(set(TEXT, "open", ""), TEXT.replace("\"x\n", "\"\"\n"));
        assert_eq!(
            set(TEXT, "new", "ü"),
            TEXT.replace("# the end", "ddb.new = \"ü\"\n# the end")
        );
    }

    #[test]
    fn a_text_without_a_data_base_gets_one() {
        let bare = "version=1\r\nCID=1\r\nparentCID=ffffffff\r\nRW 1 ZERO";
        assert_eq!(
            set(bare, "a", "b"),
            format!("{bare}\r\n\r\n# The Disk Data Base \r\n#DDB\r\n\r\nddb.a = \"b\"\r\n")
        );
        let headed = format!("{bare}\r\n#DDB\r\n");
        assert_eq!(set(&headed, "a", "b"), format!("{headed}ddb.a = \"b\"\r\n"));
    }

    #[test]
    fn extents_get_names_sizes_and_followers() {
        let descriptor = parse(TEXT);
        let mut rewrite = Rewrite::new(&descriptor);
        rewrite.extent_size(0, SectorCount::new(7));
        rewrite
            .extent_name(0, OsStr::new("c.vmdk"))
            .expect("possible");
        rewrite.extent_name(1, OsStr::new("d e")).expect("possible");
        rewrite.add_extents(&["RW 1 ZERO".to_owned(), "RW 2 ZERO".to_owned()]);
        let new = rewrite.finish().expect("valid");
        assert_eq!(new.extents().len(), 4);
        assert_eq!(
            text(&new),
            TEXT.replace("RW 100 FLAT \"a-flat.vmdk\" 0", "RW 7 FLAT \"c.vmdk\" 0")
                .replace(
                    "RW 50 FLAT b-flat.vmdk 7\n",
                    "RW 50 FLAT \"d e\" 7\nRW 1 ZERO\nRW 2 ZERO\n"
                )
        );
    }

    #[test]
    fn the_character_set_is_kept_and_decides_what_can_be_said() {
        let latin = "version=1\nencoding=\"windows-1252\"\nCID=1\nRW 1 ZERO\nddb.x = \"";
        let latin = Descriptor::parse(latin.as_bytes()).expect("valid");
        let new = latin.with_metadata("x", "für 5 €").expect("possible");
        assert!(new.as_bytes().ends_with(b"\"f\xfcr 5 \x80\""));
        assert_eq!(new.metadata("x").as_deref(), Some("für 5 €"));
        latin
            .with_metadata("x", "диск")
            .expect_err("not in Latin-1");
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let descriptor = parse(TEXT);
        for (key, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a=b", "x"),
            ("ä", "x"),
            ("a\"", "x"),
            ("a", "\""),
            ("a", "x\ny"),
            ("a", "x\r"),
            ("a", "\0"),
            ("iofilters", "vmwarevmcrypt"),
        ] {
            let error = descriptor.with_metadata(key, value).expect_err(key);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        let long = descriptor.with_metadata("a", &"x".repeat(MAX_TEXT));
        assert_eq!(long.expect_err("long").kind(), ErrorKind::NoRoom);
        let named = "version=1\nCID=1\nRW 1 FLAT \"größe\"\n";
        let error = parse(named).with_metadata("encoding", "GBK");
        assert!(matches!(error, Err(RewriteError::OtherFiles)), "{error:?}");
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back_and_the_rest_stays(
            body in "version=1\n[ -~\n\"=]{0,200}\nCID=1\nRW 1 ZERO\n(ddb.[a-c] ?= ?\"?[x-z]{0,3}\"?\r?\n){0,4}",
            key in "[a-d]{1,2}",
            value in "[ -!#-~ü]{0,20}",
        ) {
            if let Ok(before) = Descriptor::parse(body.as_bytes())
                && let Ok(after) = before.with_metadata(&key, &value)
            {
                prop_assert_eq!(after.metadata(&key), Some(value));
                for other in before.metadata_keys() {
                    if !other.eq_ignore_ascii_case(&key) {
                        prop_assert_eq!(before.metadata(&other), after.metadata(&other));
                    }
                }
            }
        }
    }
}
