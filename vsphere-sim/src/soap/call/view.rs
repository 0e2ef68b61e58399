//! Views of what is in a container.

use super::{Answer, Caller, Outcome};
use crate::soap::request::Arguments;
use crate::soap::shared::View;
use crate::vim::{Fault, Moref, Value};

pub(super) fn create(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let container = arguments.moref("container")?;
    if caller.properties().of(&container).is_none() {
        return Err(Fault::not_found(&container));
    }
    let kinds = arguments.all("type").map(|kind| {
        let kind = kind.content();
        // Some clients write the prefix of a type.
        kind.rsplit(':').next().unwrap_or(kind).to_owned()
    });
    let id = caller.site.soap.add_view(View {
        container,
        kinds: kinds.collect(),
        recursive: arguments.flag("recursive"),
    });
    Ok(Answer::Value(Value::moref("ContainerView", id)))
}

pub(super) fn destroy(caller: &mut Caller<'_>, this: &Moref, _: Arguments<'_>) -> Outcome {
    if caller.site.soap.remove_view(&this.id) {
        Ok(Answer::Nothing)
    } else {
        Err(Fault::not_found(this))
    }
}
