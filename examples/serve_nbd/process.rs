//! The process among others: signals, its parent, whom it belongs to.

use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Scope;

use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setgroups, setuid};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals as Incoming};

use crate::Result;
use crate::options::PrivilegeOptions;

/// SIGINT and SIGTERM. The first is for the program; the next one ends the process at once, whatever still runs.
pub(crate) struct Signals {
    incoming: Mutex<Incoming>,
    handle: Handle,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self> {
        let caught = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal does not see its own mark.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&caught))?;
            flag::register(signal, Arc::clone(&caught))?;
        }
        let incoming = Incoming::new([SIGINT, SIGTERM])?;
        Ok(Self {
            handle: incoming.handle(),
            incoming: Mutex::new(incoming),
        })
    }

    /// Does something when the first signal comes, unless [`stop`](Self::stop) comes before.
    pub(crate) fn on_first<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        react: impl FnOnce(i32) + Send + 'scope,
    ) {
        scope.spawn(move || {
            if let Some(signal) = self.incoming.lock().forever().next() {
                tracing::info!(signal, "stopping");
                react(signal);
            }
        });
    }

    /// Ends the wait for a signal.
    pub(crate) fn stop(&self) {
        self.handle.close();
    }
}

/// Who started the process.
pub(crate) struct Parent(Option<Pid>);

impl Parent {
    pub(crate) fn now() -> Self {
        Self(getppid())
    }

    /// From now on, the process gets SIGTERM when its parent ends.
    pub(crate) fn follow(&self) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::TERM))
            .map_err(|error| format!("--exit-with-parent: {error}"))?;
        // It may have ended just before; somebody else is the parent then.
        if getppid() != self.0 {
            return Err("--exit-with-parent: the parent has ended already".into());
        }
        Ok(())
    }
}

/// Becomes the user and the group of the options, for good. `files` go with it.
pub(crate) fn drop_privileges<'a>(
    options: &PrivilegeOptions,
    files: impl Iterator<Item = &'a Path>,
) -> Result<()> {
    let user = options.user_name.as_deref().map(user).transpose()?;
    let group = options.group_name.as_deref().map(group).transpose()?;
    let (uid, gid) = (
        user.as_ref().map(|user| user.uid),
        group.or(user.as_ref().map(|user| user.gid)),
    );
    for path in files {
        chown(path, uid.map(Uid::as_raw), gid.map(Gid::as_raw)).map_err(|error| {
            format!(
                "--become-user or --become-group: {}: {error}",
                path.display()
            )
        })?;
    }
    let failed = |error| {
        format!(
            "--become-user or --become-group: {error}; only root may become another user or group"
        )
    };
    match (&user, group) {
        (_, Some(gid)) => setgroups(&[gid]).map_err(failed)?,
        (Some(user), None) => {
            let name = std::ffi::CString::new(user.name.as_str())?;
            initgroups(&name, user.gid).map_err(failed)?;
        }
        (None, None) => {}
    }
    if let Some(gid) = gid {
        setgid(gid).map_err(failed)?;
    }
    if let Some(uid) = uid {
        setuid(uid).map_err(failed)?;
    }
    Ok(())
}

fn user(name: &str) -> Result<User> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let found = found.map_err(|error| format!("--become-user {name}: {error}"))?;
    found.ok_or_else(|| format!("--become-user {name}: there is no such user").into())
}

fn group(name: &str) -> Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found =
        Group::from_name(name).map_err(|error| format!("--become-group {name}: {error}"))?;
    let group = found.ok_or_else(|| format!("--become-group {name}: there is no such group"))?;
    Ok(group.gid)
}
