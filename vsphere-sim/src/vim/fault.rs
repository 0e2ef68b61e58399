//! Why a call failed, with the types of the vim25 schema.

use std::borrow::Cow;

use super::value::{Moref, Value, escape, write};

/// A fault: its type, its text, its fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    kind: Cow<'static, str>,
    text: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fault {
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            text: text.into(),
            fields: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn invalid_login() -> Self {
        let text = "Cannot complete login due to an incorrect user name or password.";
        Self::new("InvalidLogin", text)
    }

    pub(crate) fn not_authenticated(object: &Moref) -> Self {
        Self::new("NotAuthenticated", "The session is not authenticated.")
            .with("object", Value::Moref(object.clone()))
            .with("privilegeId", Value::text("System.View"))
    }

    pub(crate) fn no_permission(object: &Moref, privilege: &str) -> Self {
        Self::new(
            "NoPermission",
            "Permission to perform this operation was denied.",
        )
        .with("object", Value::Moref(object.clone()))
        .with("privilegeId", Value::text(privilege))
    }

    pub(crate) fn not_found(object: &Moref) -> Self {
        let text = "The object has already been deleted or has not been completely created";
        Self::new("ManagedObjectNotFound", format!("{text}: {}", object.id))
            .with("obj", Value::Moref(object.clone()))
    }

    pub(crate) fn invalid_argument(property: &str) -> Self {
        let text = format!("A specified parameter was not correct: {property}");
        Self::new("InvalidArgument", text).with("invalidProperty", Value::text(property))
    }

    pub(crate) fn invalid_property(name: &str) -> Self {
        Self::new(
            "InvalidProperty",
            format!("The property {name} is not known."),
        )
        .with("name", Value::text(name))
    }

    pub(crate) fn method_not_found(receiver: &Moref, method: &str) -> Self {
        let text = format!("The method {method} is not supported on the object.");
        Self::new("MethodNotFound", text)
            .with("receiver", Value::Moref(receiver.clone()))
            .with("method", Value::text(method))
    }

    pub(crate) fn invalid_request(text: impl Into<String>) -> Self {
        Self::new("InvalidRequest", text)
    }

    pub(crate) fn method_disabled(source: &str) -> Self {
        Self::new("MethodDisabled", "The method is disabled.").with("source", Value::text(source))
    }

    pub(crate) fn already_disabled(source: &str) -> Self {
        Self::new(
            "MethodAlreadyDisabledFault",
            "The method is disabled already.",
        )
        .with("sourceId", Value::text(source))
    }

    pub(crate) fn file(kind: &'static str, text: impl Into<String>, file: &str) -> Self {
        Self::new(kind, text).with("file", Value::text(file))
    }

    pub(crate) fn task_in_progress(task: &Moref) -> Self {
        Self::new("TaskInProgress", "The operation is not allowed in the current state: another task is already in progress.")
            .with("task", Value::Moref(task.clone()))
    }

    /// As the `error` of a task.
    pub(crate) fn localized(&self) -> Value {
        Value::data(
            "LocalizedMethodFault",
            vec![
                ("fault", Value::data(self.kind.clone(), self.fields.clone())),
                ("localizedMessage", Value::text(self.text.clone())),
            ],
        )
    }

    /// As the body of a reply.
    pub(crate) fn write(&self, out: &mut String) {
        let kind = escape(&self.kind);
        out.push_str("<soapenv:Fault><faultcode>ServerFaultCode</faultcode>");
        write(out, "faultstring", &Value::text(self.text.clone()));
        // Types whose names end in "Fault" get no second one.
        let element = format!("{}Fault", kind.trim_end_matches("Fault"));
        out.push_str(&format!(
            "<detail><{element} xmlns=\"urn:vim25\" xsi:type=\"{kind}\">"
        ));
        for (name, value) in &self.fields {
            write(out, name, value);
        }
        out.push_str(&format!("</{element}></detail></soapenv:Fault>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_its_type_and_fields() {
        let mut out = String::new();
        Fault::invalid_argument("vm").write(&mut out);
        let detail = "<detail><InvalidArgumentFault xmlns=\"urn:vim25\" xsi:type=\"InvalidArgument\">\
            <invalidProperty>vm</invalidProperty></InvalidArgumentFault></detail>";
        assert!(out.contains(detail), "{out}");
        assert!(out.contains("<faultstring>A specified parameter"), "{out}");
    }
}
