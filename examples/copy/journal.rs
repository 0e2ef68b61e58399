//! What of a copy is durable: a text beside it, which survives the process and the machine.
//!
//! ```text
//! vixdisklib copy 1
//! the capacity in sectors=32776
//! ...
//! begun
//! done 4096
//! whole
//! ```
//!
//! The job comes first, and `begun` when there is something to resume. Then, each time after the target was made durable, up
//! to which sector it is done; at last `whole`. The last line that is complete counts.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use vixdisklib::Sector;

use crate::common::Result;

const TITLE: &str = "vixdisklib copy 1";

/// What a copy is of: names and values, one line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Job(Vec<(String, String)>);

impl Job {
    pub(crate) fn add(&mut self, what: &str, value: impl Display) {
        // A name may have any character; a line has one end.
        let value = value.to_string().replace('\n', "\\n");
        self.0.push((what.to_owned(), value));
    }

    /// Why a copy of this is none of `other`.
    fn difference(&self, other: &Self) -> Option<String> {
        let value = |job: &Self, what: &str| {
            let found = job.0.iter().find(|(name, _)| name == what);
            found.map_or("none", |(_, value)| value).to_owned()
        };
        let names = self.0.iter().chain(&other.0).map(|(name, _)| name);
        names
            .map(|what| (what, value(self, what), value(other, what)))
            .find(|(_, before, now)| before != now)
            .map(|(what, before, now)| format!("{what} was {before}, and is {now}"))
    }
}

/// The open journal. Who has it open is the only one who works on the copy.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    state: State,
}

/// What the text says.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    /// Present when there is something to resume.
    job: Option<Job>,
    done: Sector,
    whole: bool,
    /// The bytes that are complete lines.
    length: u64,
}

impl Journal {
    /// Opens the journal, or begins an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let named = |error: io::Error| format!("\"{}\": {error}", path.display());
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(named)?;
        if file.try_lock().is_err() {
            let text = format!("another process is at work there: \"{}\"", path.display());
            return Err(text.into());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(named)?;
        Ok(Self {
            state: State::of(&String::from_utf8_lossy(&text)),
            path: path.to_owned(),
            file,
        })
    }

    /// Whether there is something to resume.
    pub(crate) fn is_begun(&self) -> bool {
        self.state.job.is_some()
    }

    /// Whether nothing was left to do but to give the copy its name.
    pub(crate) fn is_whole(&self) -> bool {
        self.state.whole
    }

    /// Up to where the copy of this job is done.
    pub(crate) fn resume(&self, job: &Job) -> Result<Sector> {
        let difference = self.state.job.as_ref().and_then(|own| own.difference(job));
        match difference {
            None => Ok(self.state.done),
            Some(difference) => {
                let folder = self.path.parent().unwrap_or(&self.path).display();
                let text = format!(
                    "--resume: the interrupted copy was another one: {difference}; remove \"{folder}\" to begin again"
                );
                Err(text.into())
            }
        }
    }

    /// Begins an empty one.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.state = State::default();
        self.append("")
    }

    /// From now on there is something to resume.
    pub(crate) fn begin(&mut self, job: &Job) -> io::Result<()> {
        let lines = job
            .0
            .iter()
            .map(|(what, value)| format!("{what}={value}\n"));
        let text = format!("{TITLE}\n{}begun\n", lines.collect::<String>());
        self.state = State::default();
        self.append(&text)?;
        self.state = State::of(&text);
        Ok(())
    }

    /// All before `sector` is durable.
    pub(crate) fn done(&mut self, sector: Sector) -> io::Result<()> {
        self.append(&format!("done {}\n", sector.get()))?;
        self.state.done = sector;
        Ok(())
    }

    /// There is nothing left to do but to give the copy its name.
    pub(crate) fn whole(&mut self) -> io::Result<()> {
        self.append("whole\n")?;
        self.state.whole = true;
        Ok(())
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        // Over what was not complete.
        self.file.set_len(self.state.length)?;
        self.file.seek(SeekFrom::Start(self.state.length))?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        self.state.length += text.len() as u64;
        Ok(())
    }
}

impl State {
    fn of(text: &str) -> Self {
        let mut state = Self::default();
        let mut lines = text.split_inclusive('\n');
        let mut length = 0;
        let mut complete = || {
            let line = lines.next()?;
            length += line.len() as u64;
            Some((line.strip_suffix('\n')?, length))
        };
        if complete().is_none_or(|(line, _)| line != TITLE) {
            return state;
        }
        let mut job = Job::default();
        loop {
            match complete() {
                Some(("begun", length)) => {
                    state.length = length;
                    break;
                }
                Some((line, _)) => match line.split_once('=') {
                    Some((what, value)) => job.add(what, value),
                    None => return state,
                },
                None => return state,
            }
        }
        state.job = Some(job);
        while let Some((line, length)) = complete() {
            let sector = line.strip_prefix("done ").map(str::parse);
            match (line, sector) {
                ("whole", _) => state.whole = true,
                (_, Some(Ok(sector))) => state.done = Sector::new(sector),
                _ => break,
            }
            state.length = length;
        }
        state
    }
}

/// A number that tells texts apart (FNV-1a, 64 bits); the same in every release.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
