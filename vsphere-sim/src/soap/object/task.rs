//! Tasks.

use crate::vim::{Value, optional};
use crate::world::Task;

pub(super) fn properties(task: &Task) -> Value {
    Value::data("Task", vec![("info", info(task))])
}

fn info(task: &Task) -> Value {
    let state = match &task.ended {
        None => "running",
        Some((Ok(_), _)) => "success",
        Some((Err(_), _)) => "error",
    };
    let user = vec![("userName", Value::text(task.user.clone()))];
    let mut fields = vec![
        ("key", Value::text(task.moref.clone())),
        ("task", Value::moref("Task", task.moref.clone())),
        ("descriptionId", Value::text(task.operation)),
        ("entity", Value::Moref(task.entity.clone())),
        ("entityName", Value::text(task.entity_name.clone())),
        ("state", Value::Enum("TaskInfoState", state)),
        ("cancelled", Value::Bool(false)),
        ("cancelable", Value::Bool(false)),
    ];
    match &task.ended {
        Some((Err(fault), _)) => fields.push(("error", fault.localized())),
        Some((Ok(Some(result)), _)) => {
            fields.push(("result", Value::Any(Box::new(result.clone()))));
        }
        _ => {}
    }
    fields.extend([
        ("reason", Value::data("TaskReasonUser", user)),
        ("queueTime", Value::Time(task.queued.clone())),
        ("startTime", Value::Time(task.queued.clone())),
    ]);
    let ended = task
        .ended
        .as_ref()
        .map(|(_, when)| Value::Time(when.clone()));
    fields.extend(optional("completeTime", ended));
    fields.push(("eventChainId", Value::Int(1)));
    Value::data("TaskInfo", fields)
}
