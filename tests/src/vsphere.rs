//! A simulated vCenter or ESXi host with its demonstration, in a process of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::artefact;

/// The datastore of the demonstration.
const DATASTORE: &str = "[datastore1] ";

/// A running simulator; when dropped, it is killed.
#[derive(Debug)]
pub struct Vsphere {
    child: Child,
    folder: TempDir,
    /// What it said when it started.
    facts: Vec<(String, String)>,
}

impl Vsphere {
    /// Starts it with these options besides `--demo`, and waits until it is ready.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = |name: &str| folder.path().join(name);
        let errors = File::create(path("errors")).expect("there is room for temporary files");
        let mut child = Command::new(artefact::simulator())
            .args(["--demo", "--exit-with-parent", "--folder"])
            .arg(path("datastore"))
            .arg("--transcript")
            .arg(path("transcript"))
            .arg("--control")
            .arg(path("control"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the simulator starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut ready = false;
        let facts = lines
            .inspect(|line| ready |= line == "ready")
            .take_while(|line| line != "ready")
            .filter_map(|line| {
                let (key, value) = line.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect();
        let errors = || fs::read_to_string(path("errors")).unwrap_or_default();
        assert!(ready, "the simulator is not ready: {}", errors());
        Self {
            child,
            folder,
            facts,
        }
    }

    /// The first value of a key that it said when it started.
    #[must_use]
    pub fn fact(&self, key: &str) -> &str {
        let found = self.facts.iter().find(|(own, _)| own == key);
        let (_, value) = found.unwrap_or_else(|| panic!("no {key} in {:?}", self.facts));
        value
    }

    /// The moref behind `vm=` or `snapshot=` that goes with a name.
    #[must_use]
    pub fn moref(&self, key: &str, name: &str) -> String {
        let values = self.facts.iter().filter(|(own, _)| own == key);
        let mut words = values.map(|(_, value)| value.split_whitespace());
        let found = words.find_map(|mut words| {
            let moref = words.next()?;
            (words.next() == Some(name)).then(|| moref.to_owned())
        });
        found.unwrap_or_else(|| panic!("no {key} {name} in {:?}", self.facts))
    }

    /// Host and port of the management.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}", self.fact("server"), self.fact("port"))
    }

    /// The options of the examples that log in.
    #[must_use]
    pub fn login(&self) -> Vec<OsString> {
        self.login_with(&[])
    }

    /// The same with some of them replaced.
    #[must_use]
    pub fn login_with(&self, others: &[(&str, &str)]) -> Vec<OsString> {
        let server = self.server();
        let usual = [
            ("--server", server.as_str()),
            ("--nfc-port", self.fact("nfc-port")),
            ("--user", self.fact("user")),
            ("--password-file", self.fact("password-file")),
            ("--thumbprint", self.fact("thumbprint")),
        ];
        let usual = usual
            .into_iter()
            .filter(|(option, _)| !others.iter().any(|(other, _)| option == other));
        usual
            .chain(others.iter().copied())
            .flat_map(|(option, value)| [option.into(), value.into()])
            .collect()
    }

    /// The options that log in and name a machine of the demonstration.
    #[must_use]
    pub fn options(&self, vm: &str) -> Vec<OsString> {
        let moref = format!("moref={}", self.moref("vm", vm));
        self.login_with(&[("--vm", &moref)])
    }

    /// The parameters of nbdkit's plug-in for the same.
    #[must_use]
    pub fn parameters(&self, vm: &str) -> Vec<OsString> {
        let parameters = [
            format!("server={}", self.fact("server")),
            format!("port={}", self.fact("port")),
            format!("nfchostport={}", self.fact("nfc-port")),
            format!("user={}", self.fact("user")),
            format!("password=+{}", self.fact("password-file")),
            format!("thumbprint={}", self.fact("thumbprint")),
            format!("vm=moref={}", self.moref("vm", vm)),
        ];
        parameters.into_iter().map(OsString::from).collect()
    }

    /// The password, to look for where it must not be.
    #[must_use]
    pub fn password(&self) -> String {
        let text = fs::read_to_string(self.fact("password-file")).expect("it says where it is");
        text.trim_end().to_owned()
    }

    /// Where the disk at a datastore path is on this machine.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        let path = path.strip_prefix(DATASTORE).expect("the only datastore");
        self.folder.path().join("datastore").join(path)
    }

    /// A place for files of the test.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives a command at run time, which must succeed.
    pub fn tell(&self, command: &str) {
        let mut stream = UnixStream::connect(self.path("control")).expect("it takes commands");
        writeln!(stream, "{command}").expect("it takes commands");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.ends_with("ok\n"), "{command}: {answer}");
    }

    /// What clients did so far, one event in a line.
    #[must_use]
    pub fn transcript(&self) -> String {
        fs::read_to_string(self.path("transcript")).expect("it is written")
    }

    /// How often a method of the management was called with success.
    #[must_use]
    pub fn calls(&self, method: &str) -> usize {
        self.events(|event| event["method"] == method && event["fault"].is_null())
    }

    /// Whether nobody keeps machines from being moved: after the last time there was an end.
    #[must_use]
    pub fn may_move(&self) -> bool {
        let transcript = self.transcript();
        let last = |method: &str| transcript.rfind(&format!("\"{method}\""));
        last("DisableMethods") <= last("EnableMethods")
    }

    /// How many events of a name there are.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.events(|event| event["event"] == name)
    }

    fn events(&self, is_it: impl Fn(&Value) -> bool) -> usize {
        let transcript = self.transcript();
        let events = transcript
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
        events.filter(is_it).count()
    }
}

impl Drop for Vsphere {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
