//! What a shared library says of itself: its name, and the names of those it needs.

use std::fs::File;
use std::path::Path;

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef, StringTable};

use super::LoadError;

/// The dynamic section of a shared library, as far as the loader needs it.
#[derive(Debug)]
pub(super) struct SharedObject {
    /// `DT_SONAME`: the name by which the dynamic linker knows it once it is loaded.
    pub(super) soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub(super) needed: Vec<String>,
}

/// Reads a shared library for this machine.
pub(super) fn read(path: &Path) -> Result<SharedObject, LoadError> {
    let file = File::open(path).map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let data = &ReadCache::new(file);
    let malformed = |error: object::Error| LoadError::NotALibrary {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let machine = match FileKind::parse(data).map_err(malformed)? {
        FileKind::Elf64 => {
            let header = elf::FileHeader64::<Endianness>::parse(data).map_err(malformed)?;
            header.e_machine(header.endian().map_err(malformed)?)
        }
        FileKind::Elf32 => {
            let header = elf::FileHeader32::<Endianness>::parse(data).map_err(malformed)?;
            return Err(LoadError::WrongArchitecture {
                path: path.to_owned(),
                found: format!(
                    "32-bit {}",
                    machine_name(header.e_machine(header.endian().map_err(malformed)?))
                ),
            });
        }
        other => {
            return Err(LoadError::NotALibrary {
                path: path.to_owned(),
                reason: format!("it is a file of kind {other:?}"),
            });
        }
    };
    if machine != elf::EM_X86_64 {
        return Err(LoadError::WrongArchitecture {
            path: path.to_owned(),
            found: machine_name(machine),
        });
    }
    dynamic_section(data).map_err(malformed)
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_386 => "x86".into(),
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_ARM => "Arm".into(),
        elf::EM_AARCH64 => "AArch64".into(),
        elf::EM_PPC64 => "PowerPC".into(),
        elf::EM_S390 => "IBM Z".into(),
        elf::EM_RISCV => "RISC-V".into(),
        other => format!("machine {}", other.0),
    }
}

fn dynamic_section<'data, R: ReadRef<'data>>(data: R) -> object::Result<SharedObject> {
    let header = elf::FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;

    let mut entries: &[elf::Dyn64<Endianness>] = &[];
    for segment in segments {
        if let Some(found) = segment.dynamic(endian, data)? {
            entries = found;
        }
    }
    let mut object = SharedObject {
        soname: None,
        needed: Vec::new(),
    };
    let value_of = |tag| {
        entries
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| entry.val(endian))
    };
    let (Some(address), Some(size)) = (value_of(elf::DT_STRTAB), value_of(elf::DT_STRSZ)) else {
        return Ok(object);
    };
    // The entry holds the address at run time; the segment that is mapped there gives the place in the file.
    let start = segments.iter().find_map(|segment| {
        let inside = address.checked_sub(segment.p_vaddr(endian))?;
        (segment.p_type(endian) == elf::PT_LOAD && inside < segment.p_filesz(endian))
            .then(|| segment.p_offset(endian).checked_add(inside))
            .flatten()
    });
    let Some((start, end)) = start.and_then(|start| Some((start, start.checked_add(size)?))) else {
        return Ok(object);
    };
    let strings = StringTable::new(data, start, end);
    for entry in entries {
        let text = || {
            let offset = u32::try_from(entry.val(endian)).ok()?;
            let bytes = strings.get(offset).ok()?;
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        };
        match entry.tag(endian) {
            elf::DT_SONAME => object.soname = text(),
            elf::DT_NEEDED => object.needed.extend(text()),
            elf::DT_NULL => break,
            _ => {}
        }
    }
    Ok(object)
}
