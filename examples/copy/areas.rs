//! Lists of changed areas, as text and as JSON.

use std::fs;
use std::path::Path;

use serde_json::Value;
use vixdisklib::{ByteLen, ChangedAreas, SectorCount};

use crate::common::Result;

/// Start and length in bytes.
type Area = (ByteLen, ByteLen);

/// Reads the list of a disk of `capacity` sectors.
pub(crate) fn read(file: &Path, capacity: SectorCount) -> Result<ChangedAreas> {
    let named =
        |error: &dyn std::fmt::Display| format!("--changed-areas {}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    // What should have written the list may have failed.
    if text.trim().is_empty() {
        return Err(named(&"it is empty; [] says that nothing has changed").into());
    }
    let areas = match text.trim_start().starts_with(['{', '[']) {
        true => of_json(&text, capacity),
        false => of_lines(&text),
    };
    let areas = areas.map_err(|error| named(&error))?;
    ChangedAreas::from_bytes(capacity, areas).map_err(|error| named(&error).into())
}

fn of_lines(text: &str) -> Result<Vec<Area>> {
    let areas = text.lines().enumerate().map(|(index, line)| {
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
        match numbers.as_deref() {
            Some([start, length]) => Ok((ByteLen::new(*start), ByteLen::new(*length))),
            _ => Err(format!("line {} is not a start and a length in bytes", index + 1).into()),
        }
    });
    areas.collect()
}

/// A `DiskChangeInfo` of vSphere's Web Services API (`startOffset`, `length`, `changedArea`), or an array of them; or an
/// array of areas.
fn of_json(text: &str, capacity: SectorCount) -> Result<Vec<Area>> {
    let list = match serde_json::from_str(text)? {
        Value::Array(list) => list,
        single => vec![single],
    };
    let mut areas = Vec::new();
    let mut answers = Vec::new();
    for part in &list {
        if part.get("startOffset").is_none() {
            areas.push(area(part, "start")?);
            continue;
        }
        answers.push(area(part, "startOffset")?);
        match &part["changedArea"] {
            // Where nothing changed it may be absent.
            Value::Null => (),
            Value::Array(list) => {
                for changed in list {
                    areas.push(area(changed, "start")?);
                }
            }
            // What makes JSON of XML does not know that a list of one is a list.
            single => areas.push(area(single, "start")?),
        }
    }
    if !answers.is_empty() {
        check_cover(answers, capacity)?;
    }
    Ok(areas)
}

fn area(value: &Value, start: &str) -> Result<Area> {
    match (value[start].as_u64(), value["length"].as_u64()) {
        (Some(start), Some(length)) => Ok((ByteLen::new(start), ByteLen::new(length))),
        _ => Err(format!("there is no {start} and length in {value}").into()),
    }
}

/// One answer may be about the first part of the disk alone: what it does not speak of may have changed as well.
fn check_cover(mut answers: Vec<Area>, capacity: SectorCount) -> Result<()> {
    answers.sort_unstable();
    let mut end = 0;
    for (start, length) in answers {
        if start.get() <= end {
            end = end.max(start.get().saturating_add(length.get()));
        }
    }
    let capacity = capacity.bytes().unwrap_or_default().get();
    if end < capacity {
        let text = format!(
            "it says nothing of what is behind byte {end} of {capacity}: ask with startOffset={end} too, and put all \
             answers in one array"
        );
        return Err(text.into());
    }
    Ok(())
}
