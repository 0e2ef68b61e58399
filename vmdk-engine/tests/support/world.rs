//! A folder of files whose changes, of bytes and of names, are recorded in one order, so that a test can stop time
//! anywhere.
//!
//! Two ends can be tried behind every change. A process that is killed loses nothing that it had done:
//! [`World::killed`]. A machine that is cut off loses what was not synced: [`World::crashed`]; of the changes of a file
//! behind its last sync each sector is there, lost or torn off, in any order, and of the changes of names behind the
//! last sync of the folder the first few are there, as file systems with a journal have it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use vmdk_engine::{
    ByteLen, FileAccess, FileIdentity, GateError, MemoryStorage, OpenGate, OpenOptions, OpenedFile,
    Storage,
};

use super::Numbers;
use super::recording::{Change, crash};

/// A change of the folder.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change of one file, by its number.
    File(usize, Change),
    /// A file came to be under a name.
    Create(PathBuf, usize),
    /// A file got another name, over whatever had it.
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncFolder,
}

/// Files by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct World {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What there was when recording began.
    first_names: BTreeMap<PathBuf, usize>,
    first_bytes: Vec<Vec<u8>>,
    /// What there is now.
    names: BTreeMap<PathBuf, usize>,
    files: Vec<MemoryStorage>,
    events: Vec<Event>,
    /// From so many events on, every change fails.
    limit: Option<usize>,
    /// Once so much has happened, one change fails.
    hiccup: Option<usize>,
}

impl Shared {
    fn record(&mut self, event: Event) -> io::Result<()> {
        if self.limit.is_some_and(|limit| self.events.len() >= limit) {
            return Err(io::Error::other("stopped here by the test"));
        }
        if self.hiccup.is_some_and(|limit| self.events.len() >= limit) {
            self.hiccup = None;
            return Err(io::Error::other("failed once, by the test"));
        }
        self.events.push(event);
        Ok(())
    }
}

impl World {
    /// Puts a file there before anything is recorded.
    pub fn with(self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        {
            let mut shared = self.shared();
            assert!(shared.events.is_empty(), "recording has begun");
            let number = shared.files.len();
            shared.first_names.insert(name.into(), number);
            shared.first_bytes.push(bytes.clone());
            shared.names.insert(name.into(), number);
            shared.files.push(MemoryStorage::new(bytes));
        }
        self
    }

    /// A folder with the files of this one as they are now, and nothing recorded.
    pub fn restarted(&self) -> Self {
        let shared = self.shared();
        let names = shared.names.iter();
        names.fold(Self::default(), |world, (name, number)| {
            world.with(name.to_str().unwrap(), shared.files[*number].to_vec())
        })
    }

    pub fn gate(&self) -> Arc<dyn OpenGate> {
        Arc::new(self.clone())
    }

    pub fn options(&self) -> OpenOptions {
        OpenOptions::new().gate(self.gate())
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        let text = |name: &PathBuf| name.to_str().unwrap().to_owned();
        self.shared().names.keys().map(text).collect()
    }

    /// The bytes of a file as they are now.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let shared = self.shared();
        shared.files[shared.names[Path::new(name)]].to_vec()
    }

    /// All that has happened.
    pub fn events(&self) -> Vec<Event> {
        self.shared().events.clone()
    }

    /// How much has happened.
    pub fn len(&self) -> usize {
        self.shared().events.len()
    }

    /// Lets every change fail once so much has happened.
    pub fn fail_from(&self, events: usize) {
        self.shared().limit = Some(events);
    }

    /// What is there after the process was killed behind so many events.
    pub fn killed(&self, events: usize) -> Self {
        self.replay(events, usize::MAX, |before, changes| {
            // Everything before a sync survives, so one at the end keeps all.
            let mut changes = changes.to_vec();
            changes.push(Change::Sync);
            crash(before, &changes, &mut Numbers::new(0))
        })
    }

    /// What may be there after the machine was cut off behind so many events.
    pub fn crashed(&self, events: usize, numbers: &mut Numbers) -> Self {
        let (safe, all) = {
            let shared = self.shared();
            let happened = &shared.events[..events.min(shared.events.len())];
            let is_name = |event: &&Event| !matches!(event, Event::File(..) | Event::SyncFolder);
            let synced = happened
                .iter()
                .rposition(|event| matches!(event, Event::SyncFolder));
            let safe = happened[..synced.unwrap_or(0)].iter();
            (
                safe.filter(is_name).count(),
                happened.iter().filter(is_name).count(),
            )
        };
        let unsynced = u64::try_from(all - safe).unwrap();
        let survivors = safe + usize::try_from(numbers.below(unsynced + 1)).unwrap();
        self.replay(events, survivors, |before, changes| {
            crash(before, changes, numbers)
        })
    }

    /// Lets one change fail once so much has happened.
    pub fn fail_once_at(&self, events: usize) {
        self.shared().hiccup = Some(events);
    }

    fn replay(
        &self,
        events: usize,
        mut name_changes: usize,
        mut content: impl FnMut(&[u8], &[Change]) -> Vec<u8>,
    ) -> Self {
        let shared = self.shared();
        let happened = &shared.events[..events.min(shared.events.len())];
        let mut names = shared.first_names.clone();
        let mut changes = vec![Vec::new(); shared.files.len()];
        for event in happened {
            match event {
                Event::File(number, change) => changes[*number].push(change.clone()),
                Event::SyncFolder => {}
                _ if name_changes == 0 => {}
                change => {
                    name_changes -= 1;
                    match change {
                        Event::Create(name, number) => drop(names.insert(name.clone(), *number)),
                        Event::Rename(from, to) => {
                            let number = names.remove(from).unwrap();
                            names.insert(to.clone(), number);
                        }
                        Event::Remove(name) => drop(names.remove(name)),
                        Event::File(..) | Event::SyncFolder => {}
                    }
                }
            }
        }
        names.iter().fold(Self::default(), |world, (name, number)| {
            let before = shared.first_bytes.get(*number);
            let bytes = content(before.map_or(&[], Vec::as_slice), &changes[*number]);
            world.with(name.to_str().unwrap(), bytes)
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn opened(&self, path: &Path, shared: &Shared) -> Result<OpenedFile, GateError> {
        let number = *shared.names.get(path).ok_or(GateError::NotFound)?;
        Ok(OpenedFile {
            path: path.to_owned(),
            identity: FileIdentity::new(0, u64::try_from(number).unwrap()),
            storage: Arc::new(WorldFile {
                number,
                bytes: shared.files[number].clone(),
                world: self.clone(),
            }),
        })
    }

    fn beside(&self, path: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        let path = path.parent().unwrap_or(Path::new("")).join(name);
        self.opened(&path, &self.shared())
    }
}

impl OpenGate for World {
    fn open_disk(&self, path: &Path, _access: FileAccess) -> Result<OpenedFile, GateError> {
        self.opened(path, &self.shared())
    }

    fn open_extent(
        &self,
        descriptor: &Path,
        name: &OsStr,
        _access: FileAccess,
    ) -> Result<OpenedFile, GateError> {
        self.beside(descriptor, name)
    }

    fn open_parent(&self, child: &Path, name: &OsStr) -> Result<OpenedFile, GateError> {
        self.beside(child, name)
    }

    fn create(&self, path: &Path) -> Result<OpenedFile, GateError> {
        let mut shared = self.shared();
        if shared.names.contains_key(path) {
            return Err(GateError::Exists);
        }
        let number = shared.files.len();
        shared.record(Event::Create(path.to_owned(), number))?;
        shared.names.insert(path.to_owned(), number);
        shared.files.push(MemoryStorage::default());
        self.opened(path, &shared)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        if self.shared().names.contains_key(to) {
            return Err(GateError::Exists);
        }
        self.replace(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), GateError> {
        let mut shared = self.shared();
        let number = *shared.names.get(from).ok_or(GateError::NotFound)?;
        shared.record(Event::Rename(from.to_owned(), to.to_owned()))?;
        shared.names.remove(from);
        shared.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), GateError> {
        let mut shared = self.shared();
        if !shared.names.contains_key(path) {
            return Err(GateError::NotFound);
        }
        shared.record(Event::Remove(path.to_owned()))?;
        shared.names.remove(path);
        Ok(())
    }

    fn sync_folder(&self, _path: &Path) -> Result<(), GateError> {
        Ok(self.shared().record(Event::SyncFolder)?)
    }
}

/// An open file of a world.
#[derive(Debug)]
struct WorldFile {
    number: usize,
    bytes: MemoryStorage,
    world: World,
}

impl WorldFile {
    /// Records a change and makes it, with nothing in between.
    fn change(
        &self,
        change: Change,
        make: impl FnOnce(&MemoryStorage) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut shared = self.world.shared();
        shared.record(Event::File(self.number, change))?;
        make(&self.bytes)
    }
}

impl Storage for WorldFile {
    fn read_exact_at(&self, buf: &mut [u8], position: ByteLen) -> io::Result<()> {
        self.bytes.read_exact_at(buf, position)
    }

    fn write_all_at(&self, buf: &[u8], position: ByteLen) -> io::Result<()> {
        self.change(Change::Write(position.get(), buf.to_vec()), |bytes| {
            bytes.write_all_at(buf, position)
        })
    }

    fn len(&self) -> io::Result<ByteLen> {
        self.bytes.len()
    }

    fn set_len(&self, len: ByteLen) -> io::Result<()> {
        self.change(Change::SetLen(len.get()), |bytes| bytes.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Change::Sync, |_| Ok(()))
    }

    fn punch_hole(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.change(Change::Zero(range.start.get()..range.end.get()), |bytes| {
            bytes.punch_hole(range)
        })
    }

    fn zero_range(&self, range: Range<ByteLen>) -> io::Result<()> {
        self.change(Change::Zero(range.start.get()..range.end.get()), |bytes| {
            bytes.zero_range(range)
        })
    }

    fn can_punch_holes(&self) -> bool {
        true
    }

    fn next_data(&self, position: ByteLen) -> io::Result<Option<Range<ByteLen>>> {
        self.bytes.next_data(position)
    }

    fn has_holes(&self) -> io::Result<bool> {
        self.bytes.has_holes()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.bytes.try_lock()
    }
}
