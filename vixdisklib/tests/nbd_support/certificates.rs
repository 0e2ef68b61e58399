//! Certificates for tests, made by the `openssl` command in folders of the layout that servers and clients share.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, and a folder with certificates that it signed.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

/// Whether there is an `openssl`; says so if not.
pub(crate) fn possible() -> bool {
    let found = Command::new("openssl").arg("version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no openssl");
    eprintln!("SKIPPED: openssl is not installed");
    false
}

impl Authority {
    /// With certificates for a server called `localhost` and for one client.
    pub(crate) fn new() -> Self {
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -keyout ca-key.pem -out ca-cert.pem -subj /CN=authority",
        );
        authority.sign("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
        authority.sign("client", "extendedKeyUsage=clientAuth\n");
        authority
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str, extensions: &str) {
        fs::write(self.file("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
             -keyout {name}-key.pem -out {name}.csr -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial \
             -out {name}-cert.pem -days 2 -extfile extensions"
        ));
    }

    /// Writes `ca-crl.pem`, in which the client's certificate is revoked.
    pub(crate) fn revoke_client(&self) {
        fs::write(self.file("index"), "").unwrap();
        fs::write(self.file("number"), "01\n").unwrap();
        let configuration = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=number\n\
            default_md=sha256\ndefault_crl_days=2\ncrl_extensions=e\n\
            [e]\nauthorityKeyIdentifier=keyid\n";
        fs::write(self.file("configuration"), configuration).unwrap();
        let ca = "ca -config configuration -cert ca-cert.pem -keyfile ca-key.pem";
        self.openssl(&format!("{ca} -revoke client-cert.pem"));
        self.openssl(&format!("{ca} -gencrl -out ca-crl.pem"));
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    }
}
