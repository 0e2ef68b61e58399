//! What lies between a disk and its clients: changed areas, a window, a limit of the rate.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use vixdisklib::nbd::{DiskExport, Export, RateLimit, Window};
use vixdisklib::{ByteLen, ChangedAreas, SharedDisk};

use crate::Result;
use crate::options::DiskOptions;

/// The export of a disk, as the options want it.
pub(crate) fn export(disk: SharedDisk, options: &DiskOptions) -> Result<Arc<dyn Export>> {
    let capacity = disk.capacity();
    let mut export = DiskExport::new(disk)?;
    if options.no_extents {
        export = export.without_extents();
    }
    for bitmap in &options.bitmaps {
        let Bitmap { name, file } = bitmap;
        let areas = bitmap.areas()?;
        let added = ChangedAreas::from_bytes(capacity, areas)
            .and_then(|areas| export.with_bitmap(name, areas));
        export = added.map_err(|error| format!("--bitmap {name}={}: {error}", file.display()))?;
    }
    let mut export: Arc<dyn Export> = Arc::new(export);
    if let Some(Part { offset, size }) = options.window {
        let window = Window::new(export, offset, size);
        export = Arc::new(window.map_err(|error| format!("--window {offset},{size}: {error}"))?);
    }
    if let Some(rate) = options.rate {
        export = Arc::new(RateLimit::new(export).reads(rate).writes(rate));
    }
    Ok(export)
}

/// Of `--window`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) offset: ByteLen,
    pub(crate) size: ByteLen,
}

/// Of `--bitmap`: a name, and the file with the changed areas.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    name: String,
    file: PathBuf,
}

impl FromStr for Bitmap {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Self {
                name: name.to_owned(),
                file: file.into(),
            }),
            _ => Err(
                "NAME=FILE, the name that clients ask for and a file of changed areas".to_owned(),
            ),
        }
    }
}

impl Bitmap {
    /// Offsets and lengths in bytes.
    fn areas(&self) -> Result<Vec<(ByteLen, ByteLen)>> {
        let Self { name, file } = self;
        let failed =
            |error: &dyn std::fmt::Display| format!("--bitmap {name}={}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| {
                area(line).ok_or_else(|| {
                    let text = format!("line {} is not an offset and a length in bytes", index + 1);
                    failed(&text).into()
                })
            })
            .collect()
    }
}

/// Two numbers with white space between them.
fn area(line: &str) -> Option<(ByteLen, ByteLen)> {
    let mut words = line
        .split_whitespace()
        .map(|word| word.parse().map(ByteLen::new).ok());
    let area = (words.next()??, words.next()??);
    words.next().is_none().then_some(area)
}
