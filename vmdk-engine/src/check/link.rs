//! One link: its descriptor, and the extents that it names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk_units::{ByteLen, Sector, SectorCount, SectorRange};

use super::finding::{FindingKind, Notes, Repair, Severity, impossible};
use super::header::Header;
use super::sesparse;
use super::sparse::Sparse;
use super::stream::Stream;
use super::text::Text;
use crate::descriptor::{Access, Descriptor, ExtentKind, ExtentLine};
use crate::error::{Error, ErrorKind, IoFault};
use crate::extent::header::Signature;
use crate::gate::{ExtentRefused, FileAccess, OpenGate, OpenedFile};
use crate::link::expect_openable;
use crate::lock::{FileLock, LockKind, LockRequest};
use crate::storage::Storage;
use crate::units::clamped;

/// A link that was looked at, with all that a repair of it needs.
#[derive(Debug)]
pub(super) struct Link {
    gate: Arc<dyn OpenGate>,
    access: FileAccess,
    text: Option<Text>,
    extents: Vec<Sparse>,
    streams: Vec<Stream>,
    flats: Vec<ShortFile>,
    is_child: bool,
    has_streams: bool,
    locks: Vec<FileLock>,
}

/// A flat file that ends before its extent does.
#[derive(Debug)]
struct ShortFile {
    file: OpenedFile,
    length: ByteLen,
}

impl Link {
    /// Looks at the link whose descriptor is in `file`.
    pub(super) fn check(
        file: OpenedFile,
        gate: Arc<dyn OpenGate>,
        access: FileAccess,
        notes: &mut Notes<'_>,
    ) -> Result<Self, Error> {
        let mut link = Self {
            gate,
            access,
            text: None,
            extents: Vec::new(),
            streams: Vec::new(),
            flats: Vec::new(),
            is_child: false,
            has_streams: false,
            locks: Vec::new(),
        };
        link.lock(&file)?;
        let mut first = [0; 8];
        let length = length_of(&*file.storage)?.get().min(8);
        let first = first
            .get_mut(..usize::try_from(length).unwrap_or(0))
            .unwrap_or_default();
        file.storage
            .read_exact_at(first, ByteLen::ZERO)
            .map_err(|error| IoFault::new("reading the descriptor", error))?;
        match Signature::of(first) {
            Err(error) => fatal(notes, FindingKind::Header, error.into())?,
            Ok(Signature::HostedSparse) => link.check_embedded(file, notes)?,
            Ok(Signature::Cowd) => link.check_bare_cowd(file, notes)?,
            Ok(Signature::SeSparse) => notes.add(
                Severity::Fatal,
                FindingKind::Descriptor,
                None,
                "the file is one extent of a disk",
                impossible("check the descriptor that names it"),
            ),
            Ok(Signature::Text) => link.check_text(file, notes)?,
        }
        link.check_rules(notes);
        Ok(link)
    }

    fn lock(&mut self, file: &OpenedFile) -> Result<(), Error> {
        let request = LockRequest {
            kind: match self.access {
                FileAccess::Read => LockKind::Look,
                FileAccess::ReadWrite => LockKind::Exclusive,
            },
            patience: Duration::ZERO,
        };
        self.locks.push(request.take(&*self.gate, file)?);
        Ok(())
    }

    /// What the descriptor says may keep the disk from being opened, though each of its parts is in order.
    fn check_rules(&self, notes: &mut Notes<'_>) {
        let descriptor = self.text.as_ref().and_then(Text::descriptor);
        let result = descriptor.map(|descriptor| expect_openable(descriptor, self.has_streams));
        if let Some(Err(error)) = result {
            notes.add(
                Severity::Fatal,
                FindingKind::Descriptor,
                None,
                error.reason().to_string(),
                impossible("what kind of disk it is, no repair changes"),
            );
        }
    }

    /// Whether the link has, or should have, a parent.
    pub(super) fn is_child(&self) -> bool {
        self.is_child
    }

    /// The header of an extent, and the descriptor in it.
    fn check_embedded(&mut self, file: OpenedFile, notes: &mut Notes<'_>) -> Result<(), Error> {
        let Some(header) = Header::load(&*file.storage, notes)? else {
            return Ok(());
        };
        let Some(area) = header.shape.descriptor else {
            notes.add(
                Severity::Fatal,
                FindingKind::Descriptor,
                None,
                "the file is one extent of a disk",
                impossible("check the descriptor that names it"),
            );
            return Ok(());
        };
        let text = Text::embedded(&file, area, &header.shape, notes)?;
        self.is_child = text.is_child();
        let size = text.size().unwrap_or(header.shape.capacity);
        self.text = Some(text);
        let range = SectorRange::whole(size);
        self.check_hosted(file, header, range, notes)
    }

    fn check_bare_cowd(&mut self, file: OpenedFile, notes: &mut Notes<'_>) -> Result<(), Error> {
        let loaded = crate::extent::cowd::load_with_identity(&*file.storage)
            .and_then(|(shape, identity)| Ok(Descriptor::of_cowd(identity, shape.capacity)?));
        match loaded {
            Ok(descriptor) => self.is_child = descriptor.parent().is_some(),
            Err(error) => return fatal(notes, FindingKind::Header, error),
        }
        self.check_cowd(file, None, Sector::ZERO, notes)
    }

    fn check_text(&mut self, file: OpenedFile, notes: &mut Notes<'_>) -> Result<(), Error> {
        let text = Text::alone(&file, notes)?;
        self.is_child = text.is_child();
        let descriptor = text.descriptor().cloned();
        self.text = Some(text);
        let Some(descriptor) = descriptor else {
            return Ok(());
        };
        let mut seen = BTreeSet::from([file.identity]);
        let mut start = Sector::ZERO;
        for (number, line) in descriptor.extents().iter().enumerate() {
            let range = clamped(start, line.sectors);
            start = range.end();
            if line.kind == ExtentKind::Zero || line.access == Access::None {
                continue;
            }
            let Some(extent) = self.open_extent(&descriptor, line, &file.path, range, notes)?
            else {
                continue;
            };
            if !seen.insert(extent.identity) {
                notes.about(&extent.path).add(
                    Severity::Error,
                    FindingKind::Descriptor,
                    Some(range),
                    "the descriptor names the file more than once",
                    impossible("nothing says which of its extents it belongs to"),
                );
                continue;
            }
            self.lock(&extent)?;
            let path = extent.path.clone();
            let mut notes = notes.about(&path);
            match line.kind {
                ExtentKind::Flat | ExtentKind::Vmfs => {
                    self.check_flat(extent, line, range, &mut notes)?;
                }
                ExtentKind::Sparse => {
                    let Some(header) = Header::load(&*extent.storage, &mut notes)? else {
                        continue;
                    };
                    if let Some(text) = &mut self.text {
                        text.check_size(number, &header.shape, &mut notes);
                    }
                    self.check_hosted(extent, header, range, &mut notes)?;
                }
                ExtentKind::VmfsSparse => {
                    self.check_cowd(extent, Some(line.sectors), range.start(), &mut notes)?;
                }
                ExtentKind::SeSparse => {
                    sesparse::check(&extent, line.sectors, range.start(), &mut notes)?;
                }
                _ => notes.add(
                    Severity::Info,
                    FindingKind::Descriptor,
                    Some(range),
                    format!("extents of type {} are not checked", line.kind.keyword()),
                    Repair::NotNeeded,
                ),
            }
        }
        Ok(())
    }

    /// Opens the file of a line; `None` if that has been noted as impossible.
    fn open_extent(
        &self,
        descriptor: &Descriptor,
        line: &ExtentLine,
        path: &Path,
        range: SectorRange,
        notes: &mut Notes<'_>,
    ) -> Result<Option<OpenedFile>, Error> {
        let opened = descriptor
            .file_name(line)
            .map_err(Error::from)
            .and_then(|name| {
                self.gate
                    .open_extent(path, &name, self.access)
                    .map_err(|error| ExtentRefused::new(&name, error).into())
            });
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::TooManyOpenFiles => Err(error),
            Err(error) => {
                notes.add(
                    Severity::Fatal,
                    FindingKind::MissingFile,
                    Some(range),
                    error.reason().to_string(),
                    impossible("the file must be brought back"),
                );
                Ok(None)
            }
        }
    }

    fn check_flat(
        &mut self,
        file: OpenedFile,
        line: &ExtentLine,
        range: SectorRange,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let end = clamped(line.offset, line.sectors).end().byte_offset();
        let length = length_of(&*file.storage)?;
        let Some(end) = end.filter(|end| *end > length) else {
            return Ok(());
        };
        let what = format!("the file has {length} bytes where the descriptor needs {end}");
        let sectors = SectorCount::new(length.get() / 512);
        let there = sectors
            .get()
            .saturating_sub(line.offset.get())
            .min(range.count().get());
        let (_, missing) = range.split_at(clamped(range.start(), SectorCount::new(there)).end());
        let repair = notes.with_permission("the file is extended with zeros");
        notes.add(
            Severity::Fatal,
            FindingKind::FileCut,
            Some(missing),
            what,
            repair,
        );
        self.flats.push(ShortFile { file, length: end });
        Ok(())
    }

    fn check_hosted(
        &mut self,
        file: OpenedFile,
        header: Header,
        range: SectorRange,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        if header.shape.is_compressed {
            self.has_streams = true;
            if let Some(stream) = Stream::check(file, &header.shape, range, notes)? {
                self.streams.push(stream);
            }
            return Ok(());
        }
        let extent = Sparse::check_hosted(file, header, range, self.is_child, notes)?;
        self.keep(extent);
        Ok(())
    }

    fn check_cowd(
        &mut self,
        file: OpenedFile,
        line: Option<SectorCount>,
        start: Sector,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let shape = match crate::extent::cowd::load(&*file.storage) {
            Ok(shape) => shape,
            Err(error) => return fatal(notes, FindingKind::Header, error),
        };
        check_equal_size(line, shape.capacity, notes);
        let range = clamped(start, shape.capacity);
        let extent = Sparse::check_cowd(file, shape, range, self.is_child, notes)?;
        self.keep(extent);
        Ok(())
    }

    /// Keeps the file of an extent open, and so locked, if it may be changed.
    fn keep(&mut self, extent: Sparse) {
        if self.access == FileAccess::ReadWrite {
            self.extents.push(extent);
        }
    }

    /// Does all that the check has found possible.
    pub(super) fn repair(&self) -> Result<(), Error> {
        for short in &self.flats {
            let storage = &short.file.storage;
            storage
                .set_len(short.length)
                .and_then(|()| storage.sync_data())
                .map_err(|error| {
                    Error::from(IoFault::new("extending the file", error)).at(&short.file.path)
                })?;
        }
        for extent in &self.extents {
            extent.repair()?;
        }
        for stream in &self.streams {
            stream.repair()?;
        }
        if let Some(text) = &self.text {
            text.repair(&*self.gate)?;
        }
        for extent in &self.extents {
            extent.note_closed()?;
        }
        Ok(())
    }
}

/// ESX keeps the sizes in header and line equal.
pub(super) fn check_equal_size(
    line: Option<SectorCount>,
    header: SectorCount,
    notes: &mut Notes<'_>,
) {
    if let Some(line) = line.filter(|line| *line != header) {
        notes.add(
            Severity::Fatal,
            FindingKind::Size,
            None,
            format!("the descriptor gives the extent {line} sectors, its header {header}"),
            impossible("nothing says which of the two is right"),
        );
    }
}

/// Notes what keeps an extent or descriptor from being used at all; failures of the system end the check.
pub(super) fn fatal(notes: &mut Notes<'_>, kind: FindingKind, error: Error) -> Result<(), Error> {
    if error.kind() == ErrorKind::Io {
        return Err(error);
    }
    notes.add(
        Severity::Fatal,
        kind,
        None,
        error.reason().to_string(),
        impossible("nothing says what it was"),
    );
    Ok(())
}

pub(super) fn length_of(storage: &dyn Storage) -> Result<ByteLen, Error> {
    storage
        .len()
        .map_err(|error| IoFault::new("asking for the length of the file", error).into())
}
