//! A second name for a loaded library.
//!
//! The dynamic linker matches a bare name against the SONAMEs of loaded libraries, and against the names by which it
//! has found them. A library without SONAME which was opened by path has neither, so nobody finds it by bare name. It
//! gets one when another library needs it by that name and has a `DT_RPATH` to its folder: the linker finds the file,
//! sees that it is loaded, and adds the name. So that other library is made here: a few hundred bytes with two entries
//! in its dynamic section, no code and no symbols, in memory. (Observed with glibc 2.36.)

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use object::pod::{bytes_of, bytes_of_slice};
use object::{I64, LittleEndian as LE, U16, U32, U64, elf};

type FileHeader = elf::FileHeader64<LE>;
type Segment = elf::ProgramHeader64<LE>;
type Entry = elf::Dyn64<LE>;
type Symbol = elf::Sym64<LE>;

/// `MFD_CLOEXEC` of Linux.
const MFD_CLOEXEC: c_uint = 1;

unsafe extern "C" {
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
}

/// Makes the loaded library at `path` known by its file name.
///
/// # Safety
/// The library at `path` is loaded: otherwise this loads it, and runs its initialisers.
pub(super) unsafe fn add_file_name(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // These separate folders, and begin a variable, in a `DT_RPATH`.
    if folder
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b":;$".contains(byte))
    {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut file = memory_file(c"vixdisklib-alias")?;
    file.write_all(&library_that_needs(name, folder.as_os_str()))?;
    let file_path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the file has no initialisers; the caller vouches for the library that it needs.
    let opened = unsafe { Library::open(Some(file_path), RTLD_LAZY | RTLD_LOCAL) };
    // Closed again at once: the name stays with the library that it was given to.
    opened.map(drop).map_err(io::Error::other)
}

fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: the name ends in a zero byte.
    let descriptor = unsafe { memfd_create(name.as_ptr(), MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// An ELF library for x86-64 which needs `name` and looks for it in `folder`. Everything lies in one segment, so that
/// addresses are places in the file.
///
/// Source of the layout: System V ABI, chapters 4 and 5.
fn library_that_needs(name: &OsStr, folder: &OsStr) -> Vec<u8> {
    const DYNAMIC: u64 = (size_of::<FileHeader>() + 3 * size_of::<Segment>()) as u64;
    const SYMBOLS: u64 = DYNAMIC + 8 * size_of::<Entry>() as u64;
    const HASH: u64 = SYMBOLS + size_of::<Symbol>() as u64;
    const STRINGS: u64 = HASH + 16;

    let mut strings = vec![0];
    strings.extend_from_slice(name.as_bytes());
    strings.push(0);
    let folder_at = strings.len() as u64;
    strings.extend_from_slice(folder.as_bytes());
    strings.push(0);
    let strings_length = strings.len() as u64;
    let length = STRINGS + strings_length;

    let header = FileHeader {
        e_ident: elf::Ident {
            magic: elf::ELFMAG,
            class: elf::ELFCLASS64,
            data: elf::ELFDATA2LSB,
            version: elf::EV_CURRENT,
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(LE, elf::ET_DYN),
        e_machine: U16::new(LE, elf::EM_X86_64),
        e_version: U32::new(LE, 1),
        e_entry: U64::new(LE, 0),
        e_phoff: U64::new(LE, size_of::<FileHeader>() as u64),
        e_shoff: U64::new(LE, 0),
        e_flags: U32::new(LE, elf::FileFlags(0)),
        e_ehsize: U16::new(LE, 64),
        e_phentsize: U16::new(LE, 56),
        e_phnum: U16::new(LE, 3),
        e_shentsize: U16::new(LE, 0),
        e_shnum: U16::new(LE, 0),
        e_shstrndx: U16::new(LE, elf::SHN_UNDEF),
    };
    let segments = [
        segment(elf::PT_LOAD, 0, length, 0x1000),
        segment(elf::PT_DYNAMIC, DYNAMIC, SYMBOLS - DYNAMIC, 8),
        // Without this one the linker would make the stacks of the process executable.
        segment(elf::PT_GNU_STACK, 0, 0, 16),
    ];
    let entries = [
        entry(elf::DT_NEEDED, 1),
        entry(elf::DT_RPATH, folder_at),
        entry(elf::DT_HASH, HASH),
        entry(elf::DT_SYMTAB, SYMBOLS),
        entry(elf::DT_SYMENT, size_of::<Symbol>() as u64),
        entry(elf::DT_STRTAB, STRINGS),
        entry(elf::DT_STRSZ, strings_length),
        entry(elf::DT_NULL, 0),
    ];

    let mut image = Vec::new();
    image.extend_from_slice(bytes_of(&header));
    image.extend_from_slice(bytes_of_slice(&segments));
    image.extend_from_slice(bytes_of_slice(&entries));
    image.extend_from_slice(bytes_of(&Symbol::default()));
    // The hash table: one bucket and one chain, both empty.
    for word in [1u32, 1, 0, 0] {
        image.extend_from_slice(&word.to_le_bytes());
    }
    image.extend_from_slice(&strings);
    image
}

fn segment(kind: elf::ProgramType, start: u64, length: u64, alignment: u64) -> Segment {
    Segment {
        p_type: U32::new(LE, kind),
        p_flags: U32::new(LE, elf::PF_R | elf::PF_W),
        p_offset: U64::new(LE, start),
        p_vaddr: U64::new(LE, start),
        p_paddr: U64::new(LE, start),
        p_filesz: U64::new(LE, length),
        p_memsz: U64::new(LE, length),
        p_align: U64::new(LE, alignment),
    }
}

fn entry(tag: elf::DynamicTag, value: u64) -> Entry {
    Entry {
        d_tag: I64::new(LE, tag),
        d_val: U64::new(LE, value),
    }
}
