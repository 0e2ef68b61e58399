//! Finding machines.

use super::{Answer, Caller, Outcome};
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref, Value};

pub(super) fn by_uuid(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let uuid = arguments.text("uuid")?;
    let by_instance = arguments.flag("instanceUuid");
    if !arguments.flag("vmSearch") {
        return Ok(Answer::Nothing);
    }
    let world = caller.site.world();
    let found = world.machines.iter().find(|machine| {
        let own = if by_instance {
            &machine.instance_uuid
        } else {
            &machine.uuid
        };
        own.eq_ignore_ascii_case(uuid)
    });
    Ok(found.map_or(Answer::Nothing, |machine| {
        Answer::Value(Value::moref("VirtualMachine", machine.moref.clone()))
    }))
}

/// A path of the form `datacenter/vm/machine`.
pub(super) fn by_path(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let path = arguments.text("inventoryPath")?;
    let world = caller.site.world();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let found = match parts[..] {
        [datacenter, "vm", name] => world.machine_named(name).filter(|machine| {
            world
                .host(&machine.host)
                .is_some_and(|host| host.datacenter == datacenter)
        }),
        _ => None,
    };
    Ok(found.map_or(Answer::Nothing, |machine| {
        Answer::Value(Value::moref("VirtualMachine", machine.moref.clone()))
    }))
}

/// The path of a machine's configuration, such as `[datastore1] web/web.vmx`.
pub(super) fn by_file(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let datacenter = arguments.moref("datacenter")?;
    let path = arguments.text("path")?;
    let world = caller.site.world();
    let name = world
        .datacenters
        .iter()
        .find(|known| known.moref == datacenter.id);
    let name = name
        .ok_or_else(|| Fault::not_found(&datacenter))?
        .name
        .as_str();
    let found = world.machines.iter().find(|machine| {
        let host = world.host(&machine.host);
        machine.configuration() == path && host.is_some_and(|host| host.datacenter == name)
    });
    Ok(found.map_or(Answer::Nothing, |machine| {
        Answer::Value(Value::moref("VirtualMachine", machine.moref.clone()))
    }))
}
