//! Errors: which kind, what they name, and what they keep to themselves.

use std::fs;

use vixdisklib::{
    ConnectOptions, ConnectParams, Credentials, ErrorKind, OpenFlags, Operation, Secret, Sector,
    Spec, VixError,
};

use crate::subject::on_every_backend;
use crate::support::{flat_disk, pattern};

#[test]
fn a_missing_disk_is_not_found_whatever_detail_the_code_has() {
    on_every_backend(|subject| {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = subject.library.connect_local().expect("local");
        let missing = folder.path().join("missing.vmdk");
        let error = connection
            .open_disk(&missing, OpenFlags::empty())
            .expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.operation(), Operation::Open);
        let code = error.code().expect("the library's");
        assert_eq!(code.code(), VixError::FILE_NOT_FOUND.code());
        assert!(error.to_string().contains("missing.vmdk"), "{error}");
    });
}

#[test]
fn log_lines_name_the_file_that_is_meant() {
    on_every_backend(|subject| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = flat_disk(folder.path(), &pattern(8));
        fs::remove_file(folder.path().join("disk-flat.vmdk")).expect("removed");
        let connection = subject.library.connect_local().expect("local");
        let error = connection
            .open_disk(&path, OpenFlags::empty())
            .expect_err("an extent is missing");
        let lines = error.log_lines();
        assert!(
            lines
                .iter()
                .any(|line| line.text().contains("disk-flat.vmdk")),
            "{error}: {lines:?}"
        );
    });
}

#[test]
fn a_server_fails_at_connect_or_at_open_and_no_secret_is_told() {
    on_every_backend(|subject| {
        let credentials = Credentials::Password {
            user: "backup".to_owned(),
            password: Secret::new("open-sesame-2002".to_owned()).expect("no NUL"),
        };
        let spec = Spec::Vm {
            moref: "vm-16".to_owned(),
        };
        let params = ConnectParams::builder(spec)
            .server("vcenter.invalid")
            .credentials(credentials)
            .build()
            .expect("complete");
        let connected = subject.library.connect(params, &ConnectOptions::default());
        let error = if subject.release.is_some() {
            // VDDK only notes what to connect to.
            let connection = connected.expect("later");
            let error = connection
                .open_disk("[ds] vm/vm.vmdk", OpenFlags::READ_ONLY)
                .expect_err("the certificate is not the one");
            assert_eq!(error.code().expect("a code").code(), VixError::FAIL.code());
            let mut lines = error.log_lines().iter();
            assert!(
                lines.any(|line| line.text().contains("thumbprint")),
                "{error}"
            );
            error
        } else {
            connected.expect_err("there is no such server")
        };
        assert!(!format!("{error} {error:?}").contains("sesame"));
    });
}

#[test]
fn bad_requests_do_not_reach_the_library() {
    on_every_backend(|subject| {
        let (_folder, disk) = subject.disk(&pattern(1000));
        for (start, length, kind) in [
            (0, 0, ErrorKind::InvalidArgument),
            (0, 511, ErrorKind::InvalidArgument),
            (1000, 512, ErrorKind::OutOfRange),
            (999, 1024, ErrorKind::OutOfRange),
            (u64::MAX, 512, ErrorKind::OutOfRange),
        ] {
            let error = disk
                .read_at(Sector::new(start), &mut vec![0; length])
                .expect_err("refused");
            assert_eq!((error.kind(), error.code()), (kind, None), "{error}");
        }
    });
}
