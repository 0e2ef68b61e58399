//! Looking at properties.

use super::{Answer, Caller, Outcome};
use crate::soap::collector::{Filter, Found};
use crate::soap::object::Properties;
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref, Value};

pub(super) fn retrieve_ex(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let objects = objects(caller, arguments)?;
    if objects.is_empty() {
        return Ok(Answer::Nothing);
    }
    let fields = vec![("objects", Value::List("ObjectContent", objects))];
    Ok(Answer::Value(Value::data("RetrieveResult", fields)))
}

pub(super) fn retrieve(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let objects = objects(caller, arguments)?;
    Ok(Answer::Value(Value::List("ObjectContent", objects)))
}

fn objects(caller: &Caller<'_>, arguments: Arguments<'_>) -> Result<Vec<Value>, Fault> {
    let mut all = Vec::new();
    for spec in arguments.all("specSet") {
        let filter = Filter::parse(spec)?;
        for found in filter.collect(&caller.properties())? {
            all.push(found.content());
        }
    }
    Ok(all)
}

/// Everything comes with the first reply.
pub(super) fn no_more(_: &mut Caller<'_>, _: &Moref, _: Arguments<'_>) -> Outcome {
    Err(Fault::invalid_property("token"))
}

/// A property of one object, as pyVmomi asks for it.
pub(super) fn fetch(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    let name = arguments.text("prop")?;
    let object = caller
        .properties()
        .of(this)
        .ok_or_else(|| Fault::not_found(this))?;
    Ok(match object.at(name) {
        Some(value) => Answer::Any(value.clone()),
        None => Answer::Nothing,
    })
}

impl Caller<'_> {
    pub(super) fn properties(&self) -> Properties<'_> {
        Properties::new(self.site, self.session.as_ref())
    }
}

impl Found {
    /// As the schema has it.
    fn content(self) -> Value {
        let properties = self.properties.into_iter().map(|(name, value)| {
            let fields = vec![
                ("name", Value::text(name)),
                ("val", Value::Any(Box::new(value))),
            ];
            Value::data("DynamicProperty", fields)
        });
        let mut fields = vec![("obj", Value::Moref(self.object))];
        let properties: Vec<_> = properties.collect();
        if !properties.is_empty() {
            fields.push(("propSet", Value::List("DynamicProperty", properties)));
        }
        Value::data("ObjectContent", fields)
    }
}
