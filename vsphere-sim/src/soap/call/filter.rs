//! Waiting for changes of properties.

use std::time::{Duration, Instant};

use super::{Answer, Caller, Outcome};
use crate::soap::collector::Filter;
use crate::soap::request::Arguments;
use crate::soap::shared::Watched;
use crate::vim::{Fault, Moref, Value};

/// How long a client waits that does not say.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looks so often whether something changed that nobody told.
const STEP: Duration = Duration::from_millis(200);

pub(super) fn create(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let filter = Filter::parse(arguments.get("spec")?)?;
    let owner = caller.session(this)?.key.clone();
    let number = caller.site.soap.filters.lock().add(Watched {
        filter,
        owner,
        seen: None,
    });
    Ok(Answer::Value(Value::moref(
        "PropertyFilter",
        format!("session[1]filter-{number}"),
    )))
}

fn number(filter: &Moref) -> Option<u64> {
    filter.id.strip_prefix("session[1]filter-")?.parse().ok()
}

pub(super) fn destroy(caller: &mut Caller<'_>, this: &Moref, _: Arguments<'_>) -> Outcome {
    let mut filters = caller.site.soap.filters.lock();
    let removed = number(this).and_then(|number| filters.all.remove(&number));
    removed
        .map(|_| Answer::Nothing)
        .ok_or_else(|| Fault::not_found(this))
}

pub(super) fn cancel(_: &mut Caller<'_>, _: &Moref, _: Arguments<'_>) -> Outcome {
    Ok(Answer::Nothing)
}

/// What changed since the caller looked last, for all its filters; waits until something does.
pub(super) fn wait(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let owner = caller.session(this)?.key.clone();
    let version: u64 = arguments.number("version").unwrap_or(0);
    let options = arguments.find("options");
    let seconds = options.and_then(|options| options.number("maxWaitSeconds").ok());
    let end = Instant::now() + seconds.map_or(PATIENCE, Duration::from_secs);
    let mut from_the_start = version == 0;
    loop {
        let sets = changes(caller, &owner, from_the_start)?;
        from_the_start = false;
        if !sets.is_empty() {
            let fields = vec![
                ("version", Value::Text((version + 1).to_string())),
                ("filterSet", Value::List("PropertyFilterUpdate", sets)),
            ];
            return Ok(Answer::Value(Value::data("UpdateSet", fields)));
        }
        if Instant::now() >= end || caller.site.is_stopping() {
            return Ok(Answer::Nothing);
        }
        let mut world = caller.site.world();
        caller.site.await_change(&mut world, STEP);
    }
}

fn changes(caller: &Caller<'_>, owner: &str, all: bool) -> Result<Vec<Value>, Fault> {
    let properties = caller.properties();
    let mut sets = Vec::new();
    let mut filters = caller.site.soap.filters.lock();
    for (number, watched) in filters
        .all
        .iter_mut()
        .filter(|(_, watched)| watched.owner == owner)
    {
        if all {
            watched.seen = None;
        }
        let found = watched.filter.collect(&properties)?;
        let before = watched.seen.take();
        let mut now = Vec::new();
        let mut objects = Vec::new();
        for found in found {
            let mut changed = Vec::new();
            for (path, value) in found.properties {
                let entry = (found.object.clone(), path, value);
                if before
                    .as_ref()
                    .is_none_or(|before| !before.contains(&entry))
                {
                    changed.push(Value::data(
                        "PropertyChange",
                        vec![
                            ("name", Value::text(entry.1.clone())),
                            ("op", Value::Enum("PropertyChangeOp", "assign")),
                            ("val", Value::Any(Box::new(entry.2.clone()))),
                        ],
                    ));
                }
                now.push(entry);
            }
            if changed.is_empty() {
                continue;
            }
            let kind = if before.is_none() { "enter" } else { "modify" };
            objects.push(Value::data(
                "ObjectUpdate",
                vec![
                    ("kind", Value::Enum("ObjectUpdateKind", kind)),
                    ("obj", Value::Moref(found.object)),
                    ("changeSet", Value::List("PropertyChange", changed)),
                ],
            ));
        }
        watched.seen = Some(now);
        if !objects.is_empty() {
            let filter = Value::moref("PropertyFilter", format!("session[1]filter-{number}"));
            let fields = vec![
                ("filter", filter),
                ("objectSet", Value::List("ObjectUpdate", objects)),
            ];
            sets.push(Value::data("PropertyFilterUpdate", fields));
        }
    }
    Ok(sets)
}
