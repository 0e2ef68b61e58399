//! One line of the extent description: `ACCESS SECTORS TYPE ["NAME" [OFFSET]]`.

use std::ops::Range;

use disk_units::{Sector, SectorCount};

use super::DescriptorError;

/// What the descriptor lets a virtual machine do with an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
    None,
}

/// The format of an extent's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtentKind {
    Flat,
    Sparse,
    Zero,
    Vmfs,
    VmfsSparse,
    VmfsRdm,
    VmfsRaw,
    SeSparse,
}

impl ExtentKind {
    const ALL: [(&str, Self); 8] = [
        ("FLAT", Self::Flat),
        ("SPARSE", Self::Sparse),
        ("ZERO", Self::Zero),
        ("VMFS", Self::Vmfs),
        ("VMFSSPARSE", Self::VmfsSparse),
        ("VMFSRDM", Self::VmfsRdm),
        ("VMFSRAW", Self::VmfsRaw),
        ("SESPARSE", Self::SeSparse),
    ];

    fn from_keyword(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(keyword, _)| word.eq_ignore_ascii_case(keyword.as_bytes()))
            .map(|(_, kind)| kind)
    }

    /// Whether the name is that of a device of the host which wrote it.
    pub(crate) fn is_device(self) -> bool {
        matches!(self, Self::VmfsRdm | Self::VmfsRaw)
    }

    /// Whether the data is raw sectors.
    pub(crate) fn is_flat(self) -> bool {
        matches!(self, Self::Flat | Self::Vmfs) || self.is_device()
    }

    /// The keyword of the descriptor.
    pub(crate) fn keyword(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(keyword, _)| keyword)
    }
}

/// Where a name stands in a text, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePlace {
    pub(super) range: Range<usize>,
    pub(super) is_quoted: bool,
}

/// Where parts of a line stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinePlace {
    pub(super) size: Range<usize>,
    pub(super) name: Option<NamePlace>,
}

/// A parsed extent line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtentLine {
    pub(crate) access: Access,
    pub(crate) sectors: SectorCount,
    pub(crate) kind: ExtentKind,
    /// The file name as bytes of the descriptor's encoding; empty for extents without a file.
    pub(crate) name: Vec<u8>,
    /// Where in the file the extent begins.
    pub(crate) offset: Sector,
    pub(super) place: LinePlace,
}

impl ExtentLine {
    /// `None` if the line is no extent line. One whose access word is not known is an error all the same: without it,
    /// all that follows would move.
    pub(super) fn parse(line: &[u8], number: usize) -> Result<Option<Self>, DescriptorError> {
        let bad = |problem| DescriptorError::BadExtent {
            line: number,
            problem,
        };
        let (word, rest) = split_word(line);
        let access = match word.to_ascii_uppercase().as_slice() {
            b"RW" => Access::ReadWrite,
            b"RDONLY" => Access::ReadOnly,
            b"NOACCESS" => Access::None,
            _ if has_size_and_type(rest) => return Err(bad("the access word is not known")),
            _ => return Ok(None),
        };
        // Words and names are parts of the line, which end where the rest begins.
        let ending_before = |rest: &[u8], length: usize| {
            let end = line.len().saturating_sub(rest.len());
            end.saturating_sub(length)..end
        };
        let (word, rest) = split_word(rest);
        let size = ending_before(rest, word.len());
        let sectors = decimal(word).ok_or_else(|| bad("the size is not a number of sectors"))?;
        let (word, rest) = split_word(rest);
        let kind =
            ExtentKind::from_keyword(word).ok_or_else(|| DescriptorError::UnknownExtentType {
                line: number,
                kind: String::from_utf8_lossy(word).into_owned(),
            })?;
        let (name, rest) = split_name(rest).ok_or_else(|| bad("the name has no closing quote"))?;
        let is_quoted = line.get(ending_before(rest, 1)) == Some(b"\"");
        let quote = usize::from(is_quoted);
        let name_place = ending_before(rest, name.len().saturating_add(quote));
        let name_place = NamePlace {
            range: name_place.start..name_place.end.saturating_sub(quote),
            is_quoted,
        };
        let (word, _) = split_word(rest);
        let offset = match word {
            b"" => None,
            word => {
                Some(decimal(word).ok_or_else(|| bad("the offset is not a number of sectors"))?)
            }
        };
        match (kind, offset) {
            (ExtentKind::Vmfs, Some(_)) => return Err(bad("a VMFS extent has no offset")),
            (ExtentKind::Sparse | ExtentKind::VmfsSparse | ExtentKind::SeSparse, Some(1..)) => {
                return Err(bad("a sparse extent has no offset"));
            }
            _ => {}
        }
        Ok(Some(Self {
            access,
            sectors: SectorCount::new(sectors),
            kind,
            name: name.to_vec(),
            offset: Sector::new(offset.unwrap_or(0)),
            place: LinePlace {
                size,
                name: (!name.is_empty()).then_some(name_place),
            },
        }))
    }
}

impl LinePlace {
    /// The same with positions counted from `start` bytes in front of the line.
    pub(super) fn shifted(self, start: usize) -> Self {
        let shift = |range: Range<usize>| {
            range.start.saturating_add(start)..range.end.saturating_add(start)
        };
        Self {
            size: shift(self.size),
            name: self.name.map(|name| NamePlace {
                range: shift(name.range),
                ..name
            }),
        }
    }
}

/// Whether a line goes on behind its first word as extent lines do.
fn has_size_and_type(rest: &[u8]) -> bool {
    let (size, rest) = split_word(rest);
    let (kind, _) = split_word(rest);
    decimal(size).is_some() && ExtentKind::from_keyword(kind).is_some()
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted name, or a bare word where a writer left the quotes out; `None` if a quote never closes.
fn split_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = text.trim_ascii_start().strip_prefix(b"\"") else {
        return Some(split_word(text));
    };
    let end = quoted.iter().position(|byte| *byte == b'"')?;
    let (name, rest) = quoted.split_at(end);
    Some((name, rest.split_first()?.1))
}

/// Digits only: no sign, no overflow.
fn decimal(word: &[u8]) -> Option<u64> {
    if !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let line = br#"RW 2048 FLAT "a b-flat.vmdk" 63 {uuid} device"#;
        let parsed = ExtentLine::parse(line, 1)
            .expect("valid")
            .expect("an extent");
        assert_eq!(parsed.access, Access::ReadWrite);
        assert_eq!(parsed.sectors, SectorCount::new(2048));
        assert_eq!(parsed.kind, ExtentKind::Flat);
        assert_eq!(parsed.name, b"a b-flat.vmdk");
        assert_eq!(parsed.offset, Sector::new(63));
        assert_eq!(line[parsed.place.size], *b"2048");
        let name = parsed.place.name.expect("a name");
        assert!(name.is_quoted);
        assert_eq!(line[name.range], *b"a b-flat.vmdk");
        let bare = br"RW 7  FLAT name 0";
        let parsed = ExtentLine::parse(bare, 1)
            .expect("valid")
            .expect("an extent");
        assert_eq!(bare[parsed.place.size], *b"7");
        let name = parsed.place.name.expect("a name");
        assert!(!name.is_quoted);
        assert_eq!(bare[name.range], *b"name");
        for other in ["comment 1 2", "RWX", "ddb.x = \"1 ZERO\""] {
            assert_eq!(
                ExtentLine::parse(other.as_bytes(), 1).expect("not one"),
                None
            );
        }
        let zero = ExtentLine::parse(b"RDONLY\t0  zero", 1)
            .expect("valid")
            .expect("an extent");
        assert_eq!(
            (zero.kind, zero.sectors),
            (ExtentKind::Zero, SectorCount::ZERO)
        );
    }

    #[test]
    fn broken_lines_are_errors() {
        for line in [
            "RW",
            "RW -5 FLAT \"x\" 0",
            "RW 18446744073709551616 FLAT \"x\" 0",
            "RW 1",
            "RW 1 FLAT \"x",
            "RW 1 FLAT \"x\" y",
            "RW 1 VMFS \"x\" 0",
            "RW 1 SPARSE \"x\" 8",
            "RWX 1 ZERO",
            "W 4192256 sparse \"x-s001.vmdk\"",
        ] {
            assert!(ExtentLine::parse(line.as_bytes(), 3).is_err(), "{line}");
        }
    }
}
