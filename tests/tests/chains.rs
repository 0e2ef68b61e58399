//! Snapshot chains that QEMU makes: read through every link, written in the leaf alone.

use std::fs;
use std::path::{Path, PathBuf};

use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{checks_clean, convert_to_raw, nbdcopy, qemu_img, qemu_io, same_content};
use conformance::disk::{Kind, SECTOR, raw_with_data};
use conformance::need;
use conformance::server::Serve;

/// No multiple of a grain, so that the last one is cut off.
const SECTORS: u64 = 40_001;

/// A base of one kind, and two generations of children above it, each with data of its own.
fn chain(folder: &Path, base: Kind, child: &str) -> Vec<PathBuf> {
    let raw = raw_with_data(folder, SECTORS * SECTOR, 20, 7);
    let mut links = vec![base.convert(folder, &raw)];
    for generation in 1..3_u64 {
        let link = folder.join(format!("child-{generation}.vmdk"));
        let subformat = format!("subformat={child}");
        let parent = links.last().expect("there is a base");
        qemu_img(conformance::arguments![
            "create", "-q", "-f", "vmdk", "-o", subformat, "-F", "vmdk", "-b", parent, link
        ]);
        let writes: Vec<String> = (0..12)
            .map(|write| {
                let start = (write * 3301 + generation * 777) * SECTOR;
                let length = (1 + write % 5 * 60) * SECTOR;
                format!("write -P {} {start} {length}", 16 * generation + write)
            })
            .collect();
        qemu_io("vmdk", &link, &writes);
        links.push(link);
    }
    links
}

fn chains_over(base: Kind) {
    if !need::have(&["qemu-img", "qemu-io", "nbdcopy"]) {
        return;
    }
    for child in ["monolithicSparse", "twoGbMaxExtentSparse"] {
        let folder = tempfile::tempdir().expect("there is room");
        let links = chain(folder.path(), base, child);
        let leaf = links.last().expect("there is a leaf");
        let (oracle, copy) = (folder.path().join("oracle"), folder.path().join("copy"));
        convert_to_raw(leaf, &oracle);

        let before = checksum::folder(folder.path());
        for backend in Backend::all() {
            let server = Serve::disk(leaf).backend(&backend).read_only().start();
            nbdcopy(server.uri(), &copy);
            server.stop();
            assert!(same_content(&oracle, &copy), "{child} through {backend:?}");
            fs::remove_file(&copy).expect("it is there");
        }
        assert_eq!(
            checksum::folder(folder.path()),
            before,
            "reading changed a file"
        );

        // Partial grains take the rest from the parents; zeroes must hide what they hold.
        let server = Serve::disk(leaf).start();
        let commands = [
            format!("write -P 201 {} {}", 5 * SECTOR, SECTOR),
            format!("write -P 202 {} {}", 20_000 * SECTOR + 100, 70_000),
            format!("write -z -u {} {}", 128 * SECTOR, 640 * SECTOR),
            format!("write -z {} {}", 30_001 * SECTOR, 3 * SECTOR),
            format!("write -P 203 {} {SECTOR}", (SECTORS - 1) * SECTOR),
            "flush".to_owned(),
        ];
        qemu_io("raw", server.uri(), &commands);
        nbdcopy(server.uri(), &copy);
        server.stop();

        qemu_io("raw", &oracle, &commands);
        assert!(
            same_content(&oracle, &copy),
            "{child}: what the server reads back"
        );
        let written = folder.path().join("written");
        convert_to_raw(leaf, &written);
        assert!(
            same_content(&oracle, &written),
            "{child}: what QEMU reads afterwards"
        );
        assert!(checks_clean(leaf), "{child}");
        for (file, _, sum) in before.iter().filter(|(file, ..)| is_parent(file, &links)) {
            assert_eq!(
                &checksum::file(&folder.path().join(file)),
                sum,
                "{file:?} changed"
            );
        }
    }
}

/// Whether the file is the descriptor of a link above which there is another.
fn is_parent(file: &Path, links: &[PathBuf]) -> bool {
    let (_, parents) = links.split_last().expect("there is a leaf");
    parents
        .iter()
        .any(|link| link.file_name() == file.file_name())
}

#[test]
fn over_monolithic_sparse() {
    chains_over(Kind::MonolithicSparse);
}

#[test]
fn over_monolithic_flat() {
    chains_over(Kind::MonolithicFlat);
}

#[test]
fn over_two_gb_max_extent_sparse() {
    chains_over(Kind::TwoGbMaxExtentSparse);
}

#[test]
fn over_stream_optimized() {
    chains_over(Kind::StreamOptimized);
}
