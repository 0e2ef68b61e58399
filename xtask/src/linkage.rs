//! How a built library is linked: what it is called and needs, and what the dynamic linker protects.

use std::fs;
use std::path::Path;

use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, elf};

use crate::Result;

/// The libraries of the C library: every program has them.
const C_LIBRARY: [&str; 2] = ["libc.so.6", "ld-linux-x86-64.so.2"];

/// Fails unless the library is called `soname`, needs the C library alone, is stripped, stays loaded, has no executable
/// stack, and has every address that it looked up in memory that is made read-only.
pub(crate) fn check(library: &Path, soname: &str) -> Result {
    let data = fs::read(library)?;
    let faults = faults(&data, soname)?;
    if faults.is_empty() {
        println!("{}: linked as {soname}", library.display());
        return Ok(());
    }
    Err(format!("{}: {}", library.display(), faults.join("; ")).into())
}

fn faults(data: &[u8], soname: &str) -> Result<Vec<String>> {
    let header = elf::FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let (entries, link) = sections
        .dynamic(endian, data)?
        .ok_or("no dynamic section")?;
    let strings = sections.strings(endian, data, link)?;

    let mut faults = Vec::new();
    let (mut name, mut flags, mut flags_1) = (String::new(), 0, 0);
    for entry in entries {
        let value = entry.val(endian);
        let text = || -> Result<String> {
            let bytes = strings
                .get(u32::try_from(value)?)
                .map_err(|()| "no such string")?;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        match entry.tag(endian) {
            elf::DT_SONAME => name = text()?,
            elf::DT_NEEDED => {
                let needed = text()?;
                if !C_LIBRARY.contains(&needed.as_str()) {
                    faults.push(format!("it needs {needed}"));
                }
            }
            elf::DT_RPATH | elf::DT_RUNPATH => faults.push(format!("it looks in {}", text()?)),
            elf::DT_FLAGS => flags = value,
            elf::DT_FLAGS_1 => flags_1 = value,
            _ => {}
        }
    }
    let mut demand = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    demand(
        name == soname,
        &format!("it is called {name:?}, not {soname}"),
    );
    demand(has(flags_1, elf::DF_1_NODELETE.0), "it may be unloaded");
    demand(
        has(flags, elf::DF_BIND_NOW.0) || has(flags_1, elf::DF_1_NOW.0),
        "it looks functions up lazily",
    );
    let segments = header.program_headers(endian, data)?;
    let segment = |kind| {
        segments
            .iter()
            .find(|segment| segment.p_type(endian) == kind)
    };
    demand(
        segment(elf::PT_GNU_RELRO).is_some(),
        "its tables stay writable",
    );
    demand(
        segment(elf::PT_GNU_STACK).is_some_and(|stack| stack.p_flags(endian).0 & elf::PF_X.0 == 0),
        "its stack is executable",
    );
    demand(
        sections
            .iter()
            .all(|section| section.sh_type(endian) != elf::SHT_SYMTAB),
        "it is not stripped",
    );
    Ok(faults)
}

fn has(flags: u64, flag: u64) -> bool {
    flags & flag == flag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very program is none of what a library should be.
    #[test]
    fn another_program_has_faults() {
        let program = std::env::current_exe().expect("it runs");
        let faults = faults(&fs::read(program).expect("readable"), "libvixDiskLib.so.8");
        let faults = faults.expect("an ELF file").join("; ");
        for fault in [
            "it needs libgcc_s.so.1",
            "it is called \"\"",
            "it may be unloaded",
            "it is not stripped",
        ] {
            assert!(faults.contains(fault), "{faults}");
        }
    }
}
