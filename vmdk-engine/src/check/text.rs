//! The text of a descriptor: what is missing in it, and the text that it should have.

use disk_units::{SectorCount, SectorRange};

use super::finding::{FindingKind, Notes, Repair, Severity, impossible, possible};
use super::link::{fatal, length_of};
use crate::create::{ContentId, NewExtent, NewFormat, NewText};
use crate::descriptor::{Descriptor, ExtentKind, MAX_TEXT};
use crate::draft::{draft_of, make_draft};
use crate::error::{Error, ErrorKind, IoFault};
use crate::extent::header::SparseShape;
use crate::gate::{OpenGate, OpenedFile};
use crate::geometry::Geometry;
use crate::info::{Adapter, DiskKind};
use crate::storage::Storage;
use crate::units::{buffer_len, byte_position};

/// A text that was looked at, with all that a repair of it needs.
#[derive(Debug)]
pub(super) struct Text {
    file: OpenedFile,
    /// Where in the file the text is, if something else is there too.
    area: Option<SectorRange>,
    descriptor: Option<Descriptor>,
    /// The text, if it is to be another.
    new: Option<Vec<u8>>,
    /// What the text is now, as far as it goes.
    old: Vec<u8>,
}

impl Text {
    /// The text of a descriptor in a file of its own.
    pub(super) fn alone(file: &OpenedFile, notes: &mut Notes<'_>) -> Result<Self, Error> {
        let most = u64::try_from(MAX_TEXT)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let length = length_of(&*file.storage)?.get().min(most);
        let mut old = vec![0; usize::try_from(length).unwrap_or(0)];
        file.storage
            .read_exact_at(&mut old, disk_units::ByteLen::ZERO)
            .map_err(|error| IoFault::new("reading the descriptor", error))?;
        let mut text = Self::new(file, None, old);
        match Descriptor::parse(&text.old) {
            Ok(descriptor) => {
                text.descriptor = Some(descriptor);
                text.check_content_id(notes)?;
            }
            Err(error) => fatal(notes, FindingKind::Descriptor, error.into())?,
        }
        Ok(text)
    }

    /// The text in the file of the extent with this shape.
    pub(super) fn embedded(
        file: &OpenedFile,
        area: SectorRange,
        shape: &SparseShape,
        notes: &mut Notes<'_>,
    ) -> Result<Self, Error> {
        let mut old = vec![0; buffer_len(area.count())];
        file.storage
            .read_exact_at(&mut old, byte_position(area.start()))
            .map_err(|error| IoFault::new("reading the descriptor", error))?;
        let mut text = Self::new(file, Some(area), old);
        if text.old.first() == Some(&0) {
            let repair = notes.with_permission(
                "it becomes a disk of its own, with a descriptor made from the header",
            );
            let what = "there is no descriptor: the file may be one extent of a disk";
            text.rescue(what.to_owned(), repair, shape, notes)?;
            return Ok(text);
        }
        match Descriptor::parse(&text.old) {
            Ok(descriptor) => {
                let is_one = matches!(
                    descriptor.extents(),
                    [line] if line.kind == ExtentKind::Sparse
                );
                let is_child = descriptor.parent().is_some();
                text.descriptor = Some(descriptor);
                if is_one {
                    text.check_content_id(notes)?;
                    text.check_size(0, shape, notes);
                } else if is_child {
                    notes.add(
                        Severity::Fatal,
                        FindingKind::Descriptor,
                        None,
                        "the descriptor does not name the one extent that it stands in",
                        impossible("a new descriptor would lose what it says of the parent"),
                    );
                } else {
                    let what = "the descriptor does not name the one extent that it stands in";
                    let repair = possible(RESCUED);
                    text.rescue(what.to_owned(), repair, shape, notes)?;
                }
            }
            Err(error) => {
                let error = Error::from(error);
                let what = error.reason().to_string();
                if error.kind() != ErrorKind::InvalidDisk {
                    fatal(notes, FindingKind::Descriptor, error)?;
                } else if mentions_parent(&text.old) || shape.is_compressed {
                    notes.add(
                        Severity::Fatal,
                        FindingKind::Descriptor,
                        None,
                        what,
                        impossible("a new descriptor would lose what it says of a parent"),
                    );
                } else {
                    text.rescue(what, possible(RESCUED), shape, notes)?;
                }
            }
        }
        Ok(text)
    }

    fn new(file: &OpenedFile, area: Option<SectorRange>, old: Vec<u8>) -> Self {
        Self {
            file: file.clone(),
            area,
            descriptor: None,
            new: None,
            old,
        }
    }

    pub(super) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    pub(super) fn is_child(&self) -> bool {
        let parent = self
            .descriptor
            .as_ref()
            .map(|descriptor| descriptor.parent());
        parent.flatten().is_some() || mentions_parent(&self.old)
    }

    /// The size that the one line of an embedded descriptor has.
    pub(super) fn size(&self) -> Option<SectorCount> {
        match self.descriptor.as_ref()?.extents() {
            [line] => Some(line.sectors),
            _ => None,
        }
    }

    /// A descriptor made from the header, in place of one that cannot be used.
    fn rescue(
        &mut self,
        what: String,
        repair: Repair,
        shape: &SparseShape,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let repair = match repair {
            Repair::Possible(done) => {
                let name = self.file.path.file_name().unwrap_or_default();
                let text = rescued(&name.to_string_lossy(), shape.capacity)?;
                if text.len() > self.old.len() {
                    impossible("a new one does not fit where it stands")
                } else {
                    self.new = Some(text);
                    Repair::Possible(done)
                }
            }
            other => other,
        };
        notes.add(Severity::Fatal, FindingKind::Descriptor, None, what, repair);
        Ok(())
    }

    fn check_content_id(&mut self, notes: &mut Notes<'_>) -> Result<(), Error> {
        let Some(descriptor) = &self.descriptor else {
            return Ok(());
        };
        if descriptor.mark().is_some() {
            return Ok(());
        }
        let id = ContentId::new()?.short();
        // In front of the parent's, which some programs take for it otherwise.
        let new = insert_behind_version(&self.text(), &format!("CID={id:08x}\n"));
        let repair = if self.fits(&new) {
            self.new = Some(new);
            possible("it gets one")
        } else {
            impossible("it does not fit where the descriptor stands")
        };
        let what = "the descriptor has no content id";
        notes.add(Severity::Error, FindingKind::Descriptor, None, what, repair);
        Ok(())
    }

    /// Compares the size in extent line `number` with that in the header.
    pub(super) fn check_size(&mut self, number: usize, shape: &SparseShape, notes: &mut Notes<'_>) {
        let is_child = self.is_child();
        let line = self
            .descriptor
            .as_ref()
            .and_then(|descriptor| descriptor.extents().get(number));
        let Some(line) = line.filter(|line| !shape.grain.agree(line.sectors, shape.capacity))
        else {
            return;
        };
        let (line, header) = (line.sectors, shape.capacity);
        let new = replace_size(&self.text(), number, header);
        let repair = match new {
            _ if header < line => impossible("the header has no place for the sectors in between"),
            _ if is_child => impossible("nothing says which of the two the parent has"),
            Some(new) if self.fits(&new) => {
                self.new = Some(new);
                possible("the descriptor gets the size of the header, which grows first")
            }
            _ => impossible("the new size does not fit where the descriptor stands"),
        };
        notes.add(
            Severity::Fatal,
            FindingKind::Size,
            None,
            format!("the descriptor gives the extent {line} sectors, its header {header}"),
            repair,
        );
    }

    /// The text as it will be.
    fn text(&self) -> Vec<u8> {
        let text = self.new.as_ref().unwrap_or(&self.old);
        let text = text.split(|byte| *byte == 0).next();
        text.unwrap_or_default().to_vec()
    }

    fn fits(&self, text: &[u8]) -> bool {
        match self.area {
            Some(area) => text.len() <= buffer_len(area.count()),
            None => text.len() <= MAX_TEXT,
        }
    }

    /// Writes the text that the check has found possible.
    pub(super) fn repair(&self, gate: &dyn OpenGate) -> Result<(), Error> {
        let Some(new) = &self.new else {
            return Ok(());
        };
        match self.area {
            Some(area) => {
                let mut bytes = new.clone();
                bytes.resize(buffer_len(area.count()), 0);
                write(&*self.file.storage, &bytes, byte_position(area.start()))
            }
            None => self.replace(gate, new),
        }
        .map_err(|error| error.at(&self.file.path))
    }

    fn replace(&self, gate: &dyn OpenGate, text: &[u8]) -> Result<(), Error> {
        let path = &self.file.path;
        let draft = make_draft(gate, path)?;
        write(&*draft.storage, text, disk_units::ByteLen::ZERO)?;
        gate.replace(&draft_of(path), path)?;
        gate.sync_folder(path)?;
        Ok(())
    }
}

const RESCUED: &str = "a new one is made from the header; what else the old one said is lost, and nothing of the disk";

fn write(storage: &dyn Storage, bytes: &[u8], position: disk_units::ByteLen) -> Result<(), Error> {
    storage
        .write_all_at(bytes, position)
        .and_then(|()| storage.sync_data())
        .map_err(|error| IoFault::new("writing the descriptor", error).into())
}

fn rescued(name: &str, capacity: SectorCount) -> Result<Vec<u8>, Error> {
    let geometry = Geometry::for_disk(Adapter::LsiLogic, capacity);
    let extent = NewExtent {
        // The name of an embedded descriptor's extent is read by few, and cannot hold quotes.
        name: name.replace(['"', '\n', '\r', '\0'], "_"),
        sectors: capacity,
        format: NewFormat::Monolithic,
    };
    let metadata = [
        ("adapterType", "lsilogic".to_owned()),
        ("geometry.cylinders", geometry.cylinders.to_string()),
        ("geometry.heads", geometry.heads.to_string()),
        ("geometry.sectors", geometry.sectors.to_string()),
    ];
    let text = NewText {
        kind: DiskKind::MonolithicSparse,
        id: ContentId::new()?,
        parent: None,
        extents: &[extent],
        metadata: metadata
            .map(|(key, value)| (key.to_owned(), value))
            .to_vec(),
    };
    Ok(text.build())
}

/// Whether a text, however damaged, says that there is a parent.
fn mentions_parent(text: &[u8]) -> bool {
    let mut words = text.iter().enumerate();
    words.any(|(at, byte)| {
        byte.eq_ignore_ascii_case(&b'p') && names_parent(text.get(at..).unwrap_or_default())
    })
}

/// Whether a text begins with an entry that says so.
fn names_parent(text: &[u8]) -> bool {
    let Some(value) = strip_word(text, b"parentCID") else {
        return strip_word(text, b"parentFileNameHint").is_some();
    };
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    strip_word(value, b"ffffffff").is_none()
}

/// What comes behind a word that a text begins with.
fn strip_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn insert_behind_version(text: &[u8], line: &str) -> Vec<u8> {
    let mut new = Vec::with_capacity(text.len().saturating_add(line.len()));
    let mut is_done = false;
    for old in text.split_inclusive(|byte| *byte == b'\n') {
        new.extend(old);
        let is_version = old
            .trim_ascii_start()
            .get(..7)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"version"));
        if is_version && !is_done {
            if !new.ends_with(b"\n") {
                new.push(b'\n');
            }
            new.extend(line.as_bytes());
            is_done = true;
        }
    }
    new
}

/// The text with another size in its extent line `number`; `None` if that line is not found.
fn replace_size(text: &[u8], number: usize, size: SectorCount) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(text.len().saturating_add(20));
    let mut lines = 0_usize;
    let mut is_done = false;
    for old in text.split_inclusive(|byte| *byte == b'\n') {
        let size = extent_size(old)
            .filter(|_| {
                let is_it = lines == number;
                lines = lines.saturating_add(1);
                is_it
            })
            .map(|range| (range, size.to_string()));
        match size {
            Some((range, size)) => {
                new.extend(old.get(..range.start)?);
                new.extend(size.as_bytes());
                new.extend(old.get(range.end..)?);
                is_done = true;
            }
            None => new.extend(old),
        }
    }
    is_done.then_some(new)
}

/// Where the size stands in an extent line; `None` in any other line.
fn extent_size(line: &[u8]) -> Option<std::ops::Range<usize>> {
    let indent = line.len().saturating_sub(line.trim_ascii_start().len());
    let rest = line.get(indent..)?;
    let access = rest.iter().position(u8::is_ascii_whitespace)?;
    let known: [&[u8]; 3] = [b"RW", b"RDONLY", b"NOACCESS"];
    let word = rest.get(..access)?;
    if !known.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        return None;
    }
    let behind = rest.get(access..)?;
    let blank = behind.len().saturating_sub(behind.trim_ascii_start().len());
    let start = indent.saturating_add(access).saturating_add(blank);
    let digits = line
        .get(start..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (digits > 0).then(|| start..start.saturating_add(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n\n RW 10 SPARSE \"a\"\nrdonly\t7 ZERO\n";

    #[test]
    fn sizes_are_replaced_in_their_line() {
        let replaced = |number| {
            replace_size(TEXT.as_bytes(), number, SectorCount::new(123))
                .map(|text| String::from_utf8(text).expect("ASCII"))
        };
        assert_eq!(replaced(0), Some(TEXT.replace("10", "123")));
        assert_eq!(replaced(1), Some(TEXT.replace("7 Z", "123 Z")));
        assert_eq!(replaced(2), None);
    }

    #[test]
    fn a_content_id_stands_in_front_of_the_parents() {
        let text = insert_behind_version(TEXT.as_bytes(), "CID=12345678\n");
        let expected = TEXT.replace("version=1\n", "version=1\nCID=12345678\n");
        assert_eq!(String::from_utf8(text).expect("ASCII"), expected);
        assert_eq!(
            insert_behind_version(b"version=1", "CID=1\n"),
            b"version=1\nCID=1\n"
        );
    }

    #[test]
    fn signs_of_a_parent_are_seen_in_a_wreck() {
        assert!(!mentions_parent(TEXT.as_bytes()));
        assert!(!mentions_parent(b"version=1\nparentCID = \"FFFFFFFF\"\n"));
        for wreck in [
            &b"\xff\xffparentCID=12345678\n"[..],
            b"parentcid = 1",
            b"x\0parentFileNameHint=\"base\"",
            b"parentCID",
        ] {
            assert!(mentions_parent(wreck));
        }
    }
}
