//! The public sample disks: those of the kinds that work give the content of their list, the others are refused.

use std::time::{Duration, Instant};

use conformance::artefact;
use conformance::backend::Backend;
use conformance::checksum;
use conformance::client::{nbdcopy, output, same_content};
use conformance::need;
use conformance::sample::{Content, Sample, Samples};
use conformance::server::Serve;

/// Above this a checksum takes long, and the sample has a test of its own.
const LARGE: u64 = 1 << 21;

fn is_large(sample: &Sample) -> bool {
    sample.sectors.is_some_and(|sectors| sectors > LARGE)
}

/// The checksum of all that a client reads.
fn served(sample: &Sample, backend: &Backend) -> String {
    let server = Serve::disk(&sample.disk)
        .backend(backend)
        .read_only()
        .start();
    let folder = tempfile::tempdir().expect("there is room");
    let copy = folder.path().join("copy");
    nbdcopy(server.uri(), &copy);
    server.stop();
    let length = copy.metadata().expect("nbdcopy made it").len();
    assert_eq!(Some(length / 512), sample.sectors, "{}", sample.name);
    checksum::file(&copy)
}

fn every_small_sample_is_right(backend: &Backend) {
    let Some(samples) = Samples::copy() else {
        return;
    };
    if !need::have(&["nbdcopy"]) {
        return;
    }
    let before = checksum::folder(samples.folder());
    let mut tried = 0;
    for sample in samples.list().iter().filter(|sample| !is_large(sample)) {
        if let Content::Checksum(expected) = &sample.content {
            let found = served(sample, backend);
            assert_eq!(found, *expected, "{} through {backend:?}", sample.name);
            tried += 1;
        }
    }
    assert!(tried >= 10, "only {tried} samples were tried");
    assert_eq!(checksum::folder(samples.folder()), before);
}

#[test]
fn samples_through_the_embedded_engine() {
    every_small_sample_is_right(&Backend::Embedded);
}

#[test]
fn samples_through_our_shared_library() {
    every_small_sample_is_right(&Backend::ours());
}

#[test]
fn samples_through_a_library_without_extensions() {
    let folder = tempfile::tempdir().expect("there is room");
    every_small_sample_is_right(&Backend::without_extensions(folder.path()));
}

/// A checksum of 16 GiB takes a minute or two: one is made, and each other back end's copy compared with the first.
#[test]
fn a_large_sample_through_every_back_end() {
    let Some(samples) = Samples::copy() else {
        return;
    };
    if !need::have(&["nbdcopy", "qemu-img"]) {
        return;
    }
    for sample in samples.list().iter().filter(|sample| is_large(sample)) {
        let Content::Checksum(expected) = &sample.content else {
            continue;
        };
        let start = Instant::now();
        let folder = tempfile::tempdir().expect("there is room");
        let first = folder.path().join("first");
        for backend in Backend::all() {
            let server = Serve::disk(&sample.disk)
                .backend(&backend)
                .read_only()
                .start();
            let copy = folder.path().join("copy");
            nbdcopy(server.uri(), &copy);
            server.stop();
            if first.exists() {
                assert!(
                    same_content(&first, &copy),
                    "{} through {backend:?}",
                    sample.name
                );
            } else {
                std::fs::rename(&copy, &first).expect("both are in one folder");
            }
        }
        assert_eq!(checksum::file(&first), *expected, "{}", sample.name);
        println!(
            "{} took {:.1} s",
            sample.name,
            start.elapsed().as_secs_f64()
        );
    }
}

/// Refused soon, in little memory, with one line that names the file, and with nothing changed.
#[test]
fn samples_to_refuse_are_refused() {
    let Some(samples) = Samples::copy() else {
        return;
    };
    let before = checksum::folder(samples.folder());
    let refused = samples.list().iter();
    let refused: Vec<&Sample> = refused
        .filter(|sample| sample.content == Content::Refused)
        .collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    let socket = tempfile::tempdir().expect("there is room");
    for sample in refused {
        for backend in Backend::all() {
            for name in ["dump_extents", "serve_nbd"] {
                let mut program = std::process::Command::new("sh");
                // The address space is limited to 512 MiB; the threads' stacks count, what an afl9 asks for does not fit.
                program
                    .args(["-c", "ulimit -v 524288 && exec \"$0\" \"$@\""])
                    .arg(artefact::program(name))
                    .args(backend.arguments());
                if name == "serve_nbd" {
                    program.arg("--unix").arg(socket.path().join("socket"));
                }
                let start = Instant::now();
                let output = output(program.arg(&sample.disk));
                let took = start.elapsed();
                let said = String::from_utf8_lossy(&output.stderr);
                let file = sample.disk.file_name().expect("a disk has a name");
                assert!(!output.status.success(), "{name} took {}", sample.name);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(output.stdout.is_empty(), "{name} {}", sample.name);
                assert_eq!(said.lines().count(), 1, "{said}");
                assert!(said.contains(&*file.to_string_lossy()), "{said}");
                assert!(took < Duration::from_secs(5), "{name} took {took:?}");
            }
        }
    }
    assert_eq!(checksum::folder(samples.folder()), before);
}

/// A text whose extents are absent: the error says which file is looked for.
#[test]
fn a_missing_extent_is_named() {
    let Some(samples) = Samples::copy() else {
        return;
    };
    for (sample, missing) in [
        ("vmdk-forensic/ms3-win.vmdk", "-s001.vmdk"),
        (
            "vmdk-rs/vmfs_thick-000001.vmdk",
            "vmfs_thick-000001-delta.vmdk",
        ),
    ] {
        let disk = &samples.named(sample).disk;
        let output = output(artefact::dump_extents().arg(disk));
        let said = String::from_utf8_lossy(&output.stderr);
        let text = std::fs::read_to_string(disk).expect("the sample is a text");
        assert!(text.contains(missing), "{text}");
        assert!(said.contains(missing), "{said}");
    }
}
