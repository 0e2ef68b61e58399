//! Methods that somebody keeps others from calling.

use super::{Answer, Caller, Outcome};
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref};

/// The longest name of who disables methods.
const MAX_SOURCE: usize = 50;

impl Caller<'_> {
    /// Who disables or enables methods, and of which machine. Only a vCenter knows these calls.
    fn source<'a>(
        &self,
        this: &Moref,
        arguments: Arguments<'a>,
    ) -> Result<(Moref, &'a str), Fault> {
        if !self.site.profile.is_vcenter() {
            return Err(Fault::method_not_found(this, "DisableMethods"));
        }
        let vm = arguments.moref("entity")?;
        self.check_vm(&vm)?;
        self.may_change(&vm, "Global.DisableMethods")?;
        let source = arguments.text("sourceId")?;
        if source.is_empty() || source.len() > MAX_SOURCE {
            return Err(Fault::invalid_argument("sourceId"));
        }
        Ok((vm, source))
    }
}

pub(super) fn disable(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let (vm, source) = caller.source(this, arguments)?;
    let mut wanted = Vec::new();
    for request in arguments.all("method") {
        wanted.push(request.text("method")?.to_owned());
    }
    let mut world = caller.site.world();
    let machine = world
        .machine_mut(&vm.id)
        .ok_or_else(|| Fault::not_found(&vm))?;
    for (method, owner) in &machine.disabled {
        if owner == source && wanted.contains(method) {
            return Err(Fault::already_disabled(source));
        }
    }
    machine
        .disabled
        .extend(wanted.into_iter().map(|method| (method, source.to_owned())));
    Ok(Answer::Nothing)
}

pub(super) fn enable(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let (vm, source) = caller.source(this, arguments)?;
    let wanted: Vec<&str> = arguments.all("method").map(Arguments::content).collect();
    let mut world = caller.site.world();
    let machine = world
        .machine_mut(&vm.id)
        .ok_or_else(|| Fault::not_found(&vm))?;
    machine
        .disabled
        .retain(|(method, owner)| owner != source || !wanted.contains(&method.as_str()));
    Ok(Answer::Nothing)
}

/// Nothing is moved; what matters is whether it may be.
pub(super) fn relocate(caller: &mut Caller<'_>, this: &Moref, _: Arguments<'_>) -> Outcome {
    caller.may_change(this, "Resource.HotMigrate")?;
    let world = caller.site.world();
    let machine = world
        .machine(&this.id)
        .ok_or_else(|| Fault::not_found(this))?;
    let disabled = machine
        .disabled
        .iter()
        .find(|(method, _)| method == "RelocateVM_Task");
    match disabled {
        Some((_, source)) => Err(Fault::method_disabled(source)),
        None => Err(Fault::new(
            "NotSupported",
            "The simulator does not move machines.",
        )),
    }
}
