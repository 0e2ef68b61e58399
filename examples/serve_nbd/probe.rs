//! Facts about the library, for scripts: one `key=value` in a line.

use std::io::{self, Write};

use vixdisklib::{Backend, Library};

use crate::Result;

/// Prints what is known without a disk.
///
/// Keys stay as they are; later versions may add some. A key whose value is not known is left out, so
/// `sed -n 's/^version=//p'` prints the value or nothing.
pub(crate) fn print(library: &Library) -> Result<()> {
    let mut out = io::stdout().lock();
    let name = match library.backend() {
        Backend::Embedded => "embedded",
        _ => "loaded",
    };
    writeln!(out, "library={name}")?;
    if let Some(file) = library.file() {
        writeln!(out, "path={}", file.display())?;
    }
    let release: Vec<_> = library.release().iter().map(u32::to_string).collect();
    match library.backend() {
        Backend::Embedded => writeln!(out, "version={}", env!("CARGO_PKG_VERSION"))?,
        _ if release.is_empty() => {}
        _ => writeln!(out, "version={}", release.join("."))?,
    }
    writeln!(out, "transports={}", library.transport_modes())?;
    let can = library.capabilities();
    for (name, can) in [
        ("async_io", can.async_io),
        ("allocated_blocks", can.allocated_blocks),
        ("write_zeroes", can.write_zeroes),
        ("trim", can.trim),
        ("exact_extents", can.exact_extents),
    ] {
        writeln!(out, "{name}={}", u8::from(can))?;
    }
    for function in library.functions() {
        writeln!(out, "{function}=1")?;
    }
    Ok(out.flush()?)
}
