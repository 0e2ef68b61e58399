//! The file itself, and what a descriptor may name.

use std::fs;
use std::path::Path;

use super::support::image::descriptor;
use super::*;
use vmdk_engine::OpenOptions;

fn kind_of(path: &Path) -> (ErrorKind, String) {
    let error = Disk::open(path, &OpenOptions::new()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn the_file_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("disk.vmdk");
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(
        text,
        format!(
            "opening failed: {}: the file does not exist",
            path.display()
        )
    );
    assert_eq!(kind_of(scratch.path()).0, ErrorKind::AccessRefused);
    assert_eq!(kind_of(Path::new("/dev/null")).0, ErrorKind::AccessRefused);

    fs::write(
        &path,
        descriptor("monolithicFlat", &["RW 1 FLAT \"/etc/hostname\" 0"]),
    )
    .unwrap();
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::AccessRefused, "{text}");
    assert!(text.contains("outside the folder"), "{text}");
    fs::write(
        &path,
        descriptor("monolithicFlat", &["RW 1 FLAT \"gone-flat.vmdk\" 0"]),
    )
    .unwrap();
    let (kind, text) = kind_of(&path);
    assert_eq!(kind, ErrorKind::ExtentNotFound);
    assert_eq!(
        text,
        format!(
            "opening failed: {}: the extent \"gone-flat.vmdk\" that the descriptor names: the file does not exist",
            path.display()
        )
    );
}
