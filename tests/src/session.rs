//! One NBD connection of libnbd, request by request.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::artefact;
use crate::map::Run;
use crate::need::PYTHON;

/// A connected client: a process of its own, which speaks libnbd.
#[derive(Debug)]
pub struct Session {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

/// What the server said no with: the name of an errno, or `EOF` when it is gone.
pub type Refusal = String;

impl Session {
    /// Connects.
    #[must_use]
    pub fn connect(uri: &str) -> Self {
        let script = artefact::repository().join("tests/python/session.py");
        let mut child = Command::new(PYTHON)
            .args([script.as_os_str(), uri.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let requests = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Self {
            child,
            requests,
            replies,
        }
    }

    /// What the server offers, by name: `size`, `minimum`, `read_only`, `multi_conn`, ….
    pub fn facts(&mut self) -> Value {
        self.ask(&json!({"op": "facts"}), &[])
            .expect("no request is sent for it")
            .0
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// What the server refused with; so in every other call.
    pub fn read(&mut self, offset: u64, count: u64) -> Result<Vec<u8>, Refusal> {
        let request = json!({"op": "read", "offset": offset, "count": count});
        Ok(self.ask(&request, &[])?.1)
    }

    /// Writes bytes; `flags`: `fua`.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn write(&mut self, offset: u64, bytes: &[u8], flags: &[&str]) -> Result<(), Refusal> {
        let request = json!({"op": "write", "offset": offset, "flags": flags});
        self.ask(&request, bytes).map(drop)
    }

    /// Writes zeroes; `flags`: `fua`, `no-hole`, `fast-zero`.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn zero(&mut self, offset: u64, count: u64, flags: &[&str]) -> Result<(), Refusal> {
        let request = json!({"op": "zero", "offset": offset, "count": count, "flags": flags});
        self.ask(&request, &[]).map(drop)
    }

    /// Trims; `flags`: `fua`.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn trim(&mut self, offset: u64, count: u64, flags: &[&str]) -> Result<(), Refusal> {
        let request = json!({"op": "trim", "offset": offset, "count": count, "flags": flags});
        self.ask(&request, &[]).map(drop)
    }

    /// Flushes.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn flush(&mut self) -> Result<(), Refusal> {
        self.ask(&json!({"op": "flush"}), &[]).map(drop)
    }

    /// The block status of a range, one reply of the server: it may cover less than asked for.
    ///
    /// # Errors
    /// As [`Session::read`].
    pub fn extents(&mut self, offset: u64, count: u64) -> Result<Vec<Run>, Refusal> {
        let request = json!({"op": "extents", "offset": offset, "count": count});
        let (reply, _) = self.ask(&request, &[])?;
        let mut offset = offset;
        let runs = reply["extents"].as_array().expect("a list").iter();
        Ok(runs
            .map(|run| {
                let length = run[0].as_u64().expect("a length");
                let flags = run[1].as_u64().expect("flags");
                offset += length;
                Run {
                    offset: offset - length,
                    length,
                    hole: flags == 3,
                }
            })
            .collect())
    }

    fn ask(&mut self, request: &Value, payload: &[u8]) -> Result<(Value, Vec<u8>), Refusal> {
        let mut request = request.clone();
        request["payload"] = payload.len().into();
        let pipe = self.requests.as_mut().expect("taken only by drop");
        writeln!(pipe, "{request}")
            .and_then(|()| pipe.write_all(payload))
            .and_then(|()| pipe.flush())
            .expect("the client takes requests");
        let mut line = String::new();
        self.replies
            .read_line(&mut line)
            .expect("the client answers");
        let reply: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the client failed, see above ({error})"));
        if let Some(error) = reply["error"].as_str() {
            return Err(error.to_owned());
        }
        let length = reply["payload"].as_u64().expect("a reply says its length");
        let mut content = vec![0; usize::try_from(length).expect("it fits in memory")];
        self.replies
            .read_exact(&mut content)
            .expect("the client sends what it announced");
        Ok((reply, content))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
