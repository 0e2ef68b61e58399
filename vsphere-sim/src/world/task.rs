//! What runs in the background, and how it ended.

use super::World;
use crate::time;
use crate::vim::{Fault, Moref, Value};

/// How a task ended: with a result, or without one, or with a fault.
pub(crate) type Outcome = Result<Option<Value>, Fault>;

/// So many tasks are remembered; then those that ended go.
const MAX_TASKS: usize = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) moref: String,
    /// What it works on.
    pub(crate) entity: Moref,
    pub(crate) entity_name: String,
    /// Such as `VirtualMachine.createSnapshot`.
    pub(crate) operation: &'static str,
    pub(crate) user: String,
    pub(crate) queued: String,
    /// How it ended, and when.
    pub(crate) ended: Option<(Outcome, String)>,
}

impl World {
    /// Begins a task that works on the disks of a machine.
    ///
    /// # Errors
    /// When there is no such machine, or another task works on it.
    pub(crate) fn begin_task(
        &mut self,
        vm: &str,
        operation: &'static str,
        user: &str,
    ) -> Result<String, Fault> {
        let number = self.tasks_made + 1;
        let moref = if self.profile.is_vcenter() {
            format!("task-{number}")
        } else {
            let method = operation.rsplit('.').next().unwrap_or(operation);
            format!("haTask-{vm}-vim.VirtualMachine.{method}-{number}")
        };
        let entity = Moref::new("VirtualMachine", vm);
        let machine = self
            .machine_mut(vm)
            .ok_or_else(|| Fault::not_found(&entity))?;
        if let Some(task) = &machine.busy {
            return Err(Fault::task_in_progress(&Moref::new("Task", task.clone())));
        }
        machine.busy = Some(moref.clone());
        let entity_name = machine.name.clone();
        self.tasks_made = number;
        let task = Task {
            moref: moref.clone(),
            entity,
            entity_name,
            operation,
            user: user.to_owned(),
            queued: time::now(),
            ended: None,
        };
        if self.tasks.len() >= MAX_TASKS {
            self.tasks.retain(|_, task| task.ended.is_none());
        }
        self.tasks.insert(moref.clone(), task);
        Ok(moref)
    }

    pub(crate) fn end_task(&mut self, moref: &str, outcome: Outcome) {
        for machine in &mut self.machines {
            if machine.busy.as_deref() == Some(moref) {
                machine.busy = None;
            }
        }
        if let Some(task) = self.tasks.get_mut(moref) {
            task.ended = Some((outcome, time::now()));
        }
    }
}
