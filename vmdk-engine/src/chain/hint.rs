//! Where a parent may be, going by the hint in its child.
//!
//! Disks are moved between folders, hosts and systems, which the hints in their children do not follow.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Places to look for a parent, relative to the child's folder unless absolute, the most likely first.
///
/// The hint as it is; its last part beside the child; and the same in a folder beside the child's with the name of the
/// parent's folder.
pub(super) fn candidates(hint: &OsStr) -> Vec<OsString> {
    let mut places = vec![hint.to_owned()];
    let mut parts = hint
        .as_bytes()
        .rsplit(|byte| matches!(byte, b'/' | b'\\'))
        .filter(|part| !part.is_empty());
    // A datastore is written in brackets: `[name] folder/disk.vmdk`.
    let name = parts.next().map_or(b"".as_slice(), without_datastore);
    if is_name(name) {
        places.push(OsStr::from_bytes(name).to_owned());
        let folder = parts.next().map_or(b"".as_slice(), without_datastore);
        if is_name(folder) {
            let place = [b"..", folder, name].join(b"/".as_slice());
            places.push(OsStr::from_bytes(&place).to_owned());
        }
    }
    let mut known = Vec::new();
    for place in places {
        if !known.contains(&place) {
            known.push(place);
        }
    }
    known
}

fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b"..")
}

fn without_datastore(part: &[u8]) -> &[u8] {
    if !part.starts_with(b"[") {
        return part;
    }
    match part.split(|byte| *byte == b']').nth(1) {
        Some(rest) => rest.trim_ascii_start(),
        None => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_all_systems_are_searched_in_order() {
        for (hint, expected) in [
            ("base.vmdk", vec!["base.vmdk"]),
            ("../base/disk.vmdk", vec!["../base/disk.vmdk", "disk.vmdk"]),
            (
                "/vmfs/volumes/5f/vm/disk.vmdk",
                vec![
                    "/vmfs/volumes/5f/vm/disk.vmdk",
                    "disk.vmdk",
                    "../vm/disk.vmdk",
                ],
            ),
            (
                r"C:\VMs\Base\disk.vmdk",
                vec![r"C:\VMs\Base\disk.vmdk", "disk.vmdk", "../Base/disk.vmdk"],
            ),
            (
                "[store 1] vm/disk.vmdk",
                vec!["[store 1] vm/disk.vmdk", "disk.vmdk", "../vm/disk.vmdk"],
            ),
            ("[store] disk.vmdk", vec!["[store] disk.vmdk", "disk.vmdk"]),
            (
                "nbd://host/disk",
                vec!["nbd://host/disk", "disk", "../host/disk"],
            ),
            ("../..", vec!["../.."]),
            ("/", vec!["/"]),
            ("", vec![""]),
        ] {
            let expected: Vec<OsString> = expected.into_iter().map(OsString::from).collect();
            assert_eq!(candidates(OsStr::new(hint)), expected, "{hint}");
        }
    }
}
