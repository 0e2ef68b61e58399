//! What there is to see of each object, with the fields of the vim25 schema in their order.

mod entity;
mod machine;
pub(super) mod service;
pub(super) mod session_manager;
mod snapshot;
mod task;

use std::sync::Arc;

use crate::injection::Injection;
use crate::site::Site;
use crate::vim::{Moref, Value};
use crate::world::{Session, World};

/// Looks objects up for somebody.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    site: &'a Arc<Site>,
    session: Option<&'a Session>,
}

impl<'a> Properties<'a> {
    pub(super) fn new(site: &'a Arc<Site>, session: Option<&'a Session>) -> Self {
        Self { site, session }
    }

    /// All properties of an object; none if there is no such object.
    pub(super) fn of(&self, object: &Moref) -> Option<Value> {
        let profile = self.site.profile;
        let ids = profile.ids();
        let id = object.id.as_str();
        match object.kind.as_str() {
            "ServiceInstance" if id == "ServiceInstance" => Some(service::instance(profile)),
            "SessionManager" if id == ids.session_manager => {
                Some(session_manager::properties(self.session))
            }
            "VirtualMachine" if self.site.injections.is(None, &Injection::UnknownVm) => None,
            "ContainerView" => self.view(id),
            kind => of_world(&self.site.world(), kind, id).or_else(|| {
                let managers = [
                    ids.property_collector,
                    ids.view_manager,
                    ids.authorization_manager,
                    ids.search_index,
                    ids.task_manager,
                    ids.storage_objects,
                    ids.nfc_service,
                ];
                managers
                    .contains(&id)
                    .then(|| Value::data(kind, Vec::new()))
            }),
        }
    }

    fn view(&self, id: &str) -> Option<Value> {
        let view = self.site.soap.view(id)?;
        let inside = entity::inside(&self.site.world(), &view.container, view.recursive);
        let shown = inside.into_iter().filter(|entity| {
            view.kinds.is_empty() || view.kinds.iter().any(|kind| is_kind(&entity.kind, kind))
        });
        let items = shown.map(Value::Moref).collect();
        Some(Value::data(
            "ContainerView",
            vec![
                ("view", Value::List("ManagedObjectReference", items)),
                ("container", Value::Moref(view.container)),
                ("recursive", Value::Bool(view.recursive)),
            ],
        ))
    }
}

fn of_world(world: &World, kind: &str, id: &str) -> Option<Value> {
    match kind {
        "VirtualMachine" => world
            .machine(id)
            .map(|machine| machine::properties(world, machine)),
        "VirtualMachineSnapshot" => {
            let (machine, snapshot) = world.snapshot(id)?;
            Some(snapshot::properties(world, machine, snapshot))
        }
        "Task" => world.tasks.get(id).map(task::properties),
        _ => entity::properties(world, &Moref::new(kind, id)),
    }
}

/// Whether a type is another one, or inherits from it.
pub(super) fn is_kind(kind: &str, wanted: &str) -> bool {
    kind == wanted
        || wanted == "ManagedObject"
        || match wanted {
            "ManagedEntity" => entity::KINDS.contains(&kind),
            "View" | "ManagedObjectView" => kind == "ContainerView",
            "ExtensibleManagedObject" => {
                entity::KINDS.contains(&kind) || kind == "VirtualMachineSnapshot" || kind == "Task"
            }
            "VStorageObjectManagerBase" => kind.ends_with("VStorageObjectManager"),
            _ => false,
        }
}
