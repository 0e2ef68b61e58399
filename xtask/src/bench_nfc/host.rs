//! A simulator with one machine that has one disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::Result;
use crate::bench::timing;
use crate::shell::{command, target};

/// The disk, as the machine knows it.
pub(super) const DISK: &str = "[datastore1] disk.vmdk";

const PASSWORD: &str = "only for this benchmark";

/// It is killed when dropped.
pub(super) struct Host {
    child: Child,
    told: BTreeMap<String, String>,
    password: PathBuf,
}

impl Host {
    /// Serves the disk in `folder`.
    pub(super) fn start(folder: &Path, latency: u32) -> Result<Self> {
        let inventory = folder.join("inventory.toml");
        let text = format!(
            "profile = \"esxi8-vcenter\"\n\
             [[user]]\nname = \"root\"\npassword = \"{PASSWORD}\"\n\
             [[datastore]]\nname = \"datastore1\"\nfolder = \".\"\n\
             [[vm]]\nname = \"web\"\n[[vm.disk]]\npath = \"{DISK}\"\n"
        );
        fs::write(&inventory, text)?;
        let password = folder.join("password");
        fs::write(&password, PASSWORD)?;
        let mut child = command(target().join("release/vsphere-sim"))
            .arg("--inventory")
            .arg(inventory)
            .args(["--exit-with-parent", "--latency", &latency.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the simulator has no output")?;
        // From here on dropping it ends the simulator.
        let mut host = Self {
            child,
            told: BTreeMap::new(),
            password,
        };
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line == "ready" {
                return Ok(host);
            }
            if let Some((key, value)) = line.split_once('=') {
                host.told.insert(key.to_owned(), value.to_owned());
            }
        }
        Err("the simulator does not start".into())
    }

    /// What a client has to know, as its arguments.
    pub(super) fn keys(&self) -> Vec<String> {
        let told = ["server", "port", "nfc-port", "user", "thumbprint"];
        let mut keys: Vec<String> = told
            .iter()
            .filter_map(|key| Some(format!("{key}={}", self.told.get(*key)?)))
            .collect();
        // After the number comes the name of the machine.
        let vm = self.told.get("vm").and_then(|vm| vm.split(' ').next());
        keys.extend(vm.map(|moref| format!("vm={moref}")));
        keys.push(format!("password-file={}", self.password.display()));
        keys
    }

    /// Seconds of processor time that it took so far, in the program and in the kernel.
    pub(super) fn processor(&self) -> Result<f64> {
        timing::processor(self.child.id())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
