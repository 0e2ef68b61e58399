//! What `serve_nbd` says of its options: each refusal is one line that names the option and what to do, `--probe` is for
//! scripts, `--help` for people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use conformance::artefact;
use conformance::client::{command, output, run};
use conformance::disk::{GRAIN, Kind};
use conformance::need;

/// What it says when it refuses these arguments, without the name of the program.
fn refused(arguments: &[&str]) -> String {
    let mut program = command(artefact::program("serve_nbd"));
    let output = output(program.args(arguments).env_remove("LISTEN_PID"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?} printed something");
    // What clap finds takes several lines, of which the first says it.
    let line = said.lines().next().unwrap_or_default();
    let line = line
        .strip_prefix("serve_nbd: ")
        .or(line.strip_prefix("error: "));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn what_does_not_fit_is_explained() {
    let remote = [
        "--server",
        "vc.invalid",
        "--user",
        "backup",
        "--vm",
        "vm-16",
    ];
    let with = |more: &[&str]| {
        let mut arguments = remote.to_vec();
        arguments.extend(more);
        refused(&arguments)
    };
    let disk = "[datastore1] vm/vm.vmdk";
    let snapshots = [
        (
            refused(&["--vm", "vm-16", "disk.vmdk"]),
            "--vm needs --server, the machine it is about",
        ),
        (
            refused(&["--server", "vc.invalid", disk]),
            "--server needs --user, the account to log in with",
        ),
        (
            refused(&["--server", "vc.invalid", "--user", "backup", disk]),
            "--server needs a password: --password-file, --password-fd or --password-prompt; or the cookie of a \
             session: --cookie-file or --cookie-fd",
        ),
        (
            with(&["--password-file", "/no/such/file", disk]),
            "--password-file /no/such/file: No such file or directory (os error 2)",
        ),
        (
            with(&["--password-file", "/dev/null", disk]),
            "--password-file /dev/null: the first line is empty",
        ),
        (
            with(&["--cookie-fd", "99", disk]),
            "--cookie-fd /dev/fd/99: No such file or directory (os error 2)",
        ),
        (
            refused(&["--listen", "nonsense", "disk.vmdk"]),
            "--listen nonsense: invalid socket address; it takes ADDR:PORT",
        ),
        (
            refused(&["--create", "1000", "disk.vmdk"]),
            "invalid value '1000' for '--create <SIZE>': no multiple of 512 bytes, the size of a sector",
        ),
        (
            refused(&["-t", "0", "disk.vmdk"]),
            "invalid value '0' for '--threads <COUNT>': a number from 1 to 1024",
        ),
        (
            refused(&["-U", "-", "-p", "10809"]),
            "the argument '--unix <PATH>' cannot be used with '--port <PORT>'",
        ),
        (
            refused(&["-s", "--run", "true"]),
            "the argument '--single' cannot be used with '--run <COMMAND>'",
        ),
    ];
    for (said, expected) in snapshots {
        assert_eq!(said, expected);
    }
}

/// Everything reaches the library, which finds no such server and says so without the secrets.
#[test]
fn remote_parameters_reach_the_library() {
    let folder = tempfile::tempdir().expect("there is room");
    let secret = folder.path().join("secret");
    fs::write(&secret, "geheim-4711\nsecond line\n").expect("there is room");
    let secret = secret.to_string_lossy();
    let thumbprint = vec!["ab"; 20].join(":");
    let all = [
        "--server",
        "vc.invalid",
        "--user",
        "backup",
        "--password-file",
        &secret,
        "--thumbprint",
        &thumbprint,
        "--transports",
        "nbdssl:nbd",
        "--server-port",
        "8443",
        "--nfc-port",
        "903",
        "--compression",
        "fastlz",
        "-r",
        "-U",
        "-",
        "-v",
    ];
    let whats: [&[&str]; 4] = [
        &[
            "--vm",
            "vm-16",
            "--snapshot",
            "snapshot-2",
            "[datastore1] vm/vm.vmdk",
        ],
        &["--vm", "moref=vm-16", "[datastore1] vm/vm.vmdk"],
        &[
            "--vm",
            "web/web.vmx?dcPath=Europe/Berlin&dsName=datastore1",
            "[datastore1] web/web.vmdk",
        ],
        &[
            "--fcd",
            "id-1",
            "--datastore",
            "datastore-11",
            "--fcd-snapshot",
            "snap-1",
        ],
    ];
    for what in whats {
        for cookie in [None, Some(["--cookie-file", &secret])] {
            let mut program = command(artefact::program("serve_nbd"));
            let output = output(
                program
                    .args(all)
                    .args(what)
                    .args(cookie.into_iter().flatten()),
            );
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("vc.invalid"), "{said}");
            assert!(!said.contains("geheim"), "{said}");
        }
    }
    // Spaces belong to a password, the end of the line does not.
    fs::write(&*secret, "  \r\n").expect("there is room");
    let mut program = command(artefact::program("serve_nbd"));
    let spaces = output(program.args(all).args(whats[0]));
    let said = String::from_utf8_lossy(&spaces.stderr).into_owned();
    assert!(said.contains("vc.invalid"), "{said}");
    // A password comes from a pipe as well, and nobody waits for more than its line.
    let script = "printf 'geheim-4711\\n' | \"$@\" --password-fd 0";
    let piped = output(
        command("sh")
            .args(["-c", script, "sh"])
            .arg(artefact::program("serve_nbd"))
            .args([
                "-U",
                "-",
                "--server",
                "vc.invalid",
                "--user",
                "backup",
                "--vm",
                "vm-16",
                "disk",
            ]),
    );
    let said = String::from_utf8_lossy(&piped.stderr).into_owned();
    assert!(
        said.contains("vc.invalid") && !said.contains("--password-fd"),
        "{said}"
    );
}

fn probe(arguments: &[&Path]) -> BTreeMap<String, String> {
    let printed = run(command(artefact::program("serve_nbd"))
        .arg("--probe")
        .args(arguments));
    let lines = printed.lines().map(|line| {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        (key.to_owned(), value.to_owned())
    });
    lines.collect()
}

#[test]
fn a_probe_tells_which_library_there_is() {
    let embedded = probe(&[]);
    assert_eq!(embedded["library"], "embedded");
    assert_eq!(embedded["transports"], "file:nbdssl:nbd");
    assert_eq!(embedded["exact_extents"], "1");
    assert_eq!(embedded["VixDiskLib_QueryAllocatedBlocks"], "1");
    assert!(!embedded.contains_key("path"));

    let loaded = probe(&["--libdir".as_ref(), &artefact::libdir()]);
    assert_eq!(loaded["library"], "loaded");
    let newest = artefact::libdir().join("lib64/libvixDiskLib.so");
    let newest = newest.canonicalize().expect("it is there");
    assert_eq!(Path::new(&loaded["path"]), newest);
    assert!(loaded["version"].starts_with('9'), "{loaded:?}");
    assert_eq!(loaded["VixDiskLibExt_QueryExtents"], "1");

    let missing = tempfile::tempdir().expect("there is room");
    let less =
        conformance::backend::distribution_without(missing.path(), "VixDiskLib_ListTransportModes");
    let less = probe(&["--libdir".as_ref(), &less]);
    assert!(!less.contains_key("VixDiskLib_ListTransportModes"));
    assert_eq!(less["VixDiskLib_Open"], "1");
}

#[test]
fn help_is_in_groups() {
    let help = run(command(artefact::program("serve_nbd")).arg("--help"));
    for heading in [
        "Disks",
        "New disks",
        "Addresses",
        "Encryption",
        "Limits",
        "Library",
        "Process",
        "Output",
    ] {
        let found = help
            .lines()
            .any(|line| line.starts_with(heading) && line.ends_with(':'));
        assert!(found, "no {heading}: {help}");
    }
}

/// Limits are passed on: who says nothing for long is cut off, who comes when all places are taken waits outside.
#[test]
fn limits_are_kept() {
    if !need::have(&["qemu-img"]) || !need::have_libnbd() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let disk = Kind::MonolithicSparse.create(folder.path(), GRAIN);
    let serve = conformance::server::Serve::disk(&disk);
    let server = serve
        .arguments(["--idle-timeout", "1", "--connections", "1", "-t", "2"])
        .start();
    let mut session = conformance::session::Session::connect(server.uri());
    let _ = session.read(0, 512).expect("a read works");
    let other = output(command("nbdinfo").args(["--size", server.uri()]));
    assert!(!other.status.success(), "there is one place");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(
        session.read(0, 512),
        Err("EOF".to_owned()),
        "it said nothing for too long"
    );
    assert!(server.stderr().contains("too many connections"));
}
