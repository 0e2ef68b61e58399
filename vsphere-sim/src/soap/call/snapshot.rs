//! Tasks that work on the disks of a machine.

use std::sync::Arc;
use std::thread;

use super::{Answer, Caller, Outcome};
use crate::site::Site;
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref, Value};
use crate::world::{self, NewSnapshot, SnapshotError};

/// How a task's work ends.
type Done = Result<Option<Value>, Fault>;

pub(super) fn create(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    caller.may_change(this, "VirtualMachine.State.CreateSnapshot")?;
    let new = NewSnapshot {
        name: arguments.text("name")?.to_owned(),
        description: arguments
            .find("description")
            .map_or("", Arguments::content)
            .to_owned(),
        quiesced: arguments.flag("quiesce"),
    };
    let vm = this.id.clone();
    caller.task(this, "VirtualMachine.createSnapshot", move |site| {
        let taken = world::take_snapshot(site.world_mutex(), &vm, new);
        let id = taken.map_err(|error| fault(&error))?;
        Ok(Some(Value::moref("VirtualMachineSnapshot", id)))
    })
}

pub(super) fn remove(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    caller.may_change(this, "VirtualMachine.State.RemoveSnapshot")?;
    let vm = {
        let world = caller.site.world();
        let (machine, _) = world
            .snapshot(&this.id)
            .ok_or_else(|| Fault::not_found(this))?;
        Moref::new("VirtualMachine", machine.moref.clone())
    };
    let (snapshot, children) = (this.id.clone(), arguments.flag("removeChildren"));
    caller.task(&vm, "vm.Snapshot.remove", move |site| {
        let removed = world::remove_snapshot(site.world_mutex(), &snapshot, children);
        removed.map(|()| None).map_err(|error| fault(&error))
    })
}

pub(super) fn remove_all(caller: &mut Caller<'_>, this: &Moref, _: Arguments<'_>) -> Outcome {
    caller.may_change(this, "VirtualMachine.State.RemoveSnapshot")?;
    let vm = this.id.clone();
    caller.task(this, "VirtualMachine.removeAllSnapshots", move |site| {
        let roots: Vec<String> = {
            let world = site.world();
            let machine = world.machine(&vm);
            let roots = machine.into_iter().flat_map(|machine| machine.after(None));
            roots.map(|snapshot| snapshot.moref.clone()).collect()
        };
        for root in roots {
            let removed = world::remove_snapshot(site.world_mutex(), &root, true);
            removed.map_err(|error| fault(&error))?;
        }
        Ok(None)
    })
}

/// Only change tracking can be changed.
pub(super) fn reconfigure(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    caller.may_change(this, "VirtualMachine.Config.ChangeTracking")?;
    let spec = arguments.get("spec")?;
    let tracking = spec.find("changeTrackingEnabled").is_some();
    let enabled = spec.flag("changeTrackingEnabled");
    if !tracking {
        return Err(Fault::invalid_argument("spec"));
    }
    let vm = this.id.clone();
    caller.task(this, "VirtualMachine.reconfigure", move |site| {
        if let Some(machine) = site.world().machine_mut(&vm) {
            machine.track_changes(enabled);
        }
        Ok(None)
    })
}

fn fault(error: &SnapshotError) -> Fault {
    tracing::warn!(%error, "a task on a snapshot failed");
    error.fault()
}

impl Caller<'_> {
    /// Begins a task on a machine's disks, and has it done in the background.
    fn task(
        &self,
        vm: &Moref,
        operation: &'static str,
        work: impl FnOnce(&Arc<Site>) -> Done + Send + 'static,
    ) -> Outcome {
        let user = self.session(vm)?.user.clone();
        let task = self.site.world().begin_task(&vm.id, operation, &user)?;
        let (site, id) = (Arc::clone(self.site), task.clone());
        let started = thread::Builder::new()
            .name("sim-task".to_owned())
            .spawn(move || {
                let outcome = work(&site);
                site.world().end_task(&id, outcome);
                site.tell_change();
            });
        if let Err(error) = started {
            let fault = Fault::new("SystemError", format!("no thread for the task: {error}"));
            self.site.world().end_task(&task, Err(fault));
        }
        Ok(Answer::Value(Value::moref("Task", task)))
    }
}
