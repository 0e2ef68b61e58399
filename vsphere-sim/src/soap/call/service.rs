//! What a client asks first.

use super::{Answer, Caller, Outcome};
use crate::soap::object::service;
use crate::soap::request::Arguments;
use crate::time;
use crate::vim::{Moref, Value};

pub(super) fn content(caller: &mut Caller<'_>, _: &Moref, _: Arguments<'_>) -> Outcome {
    Ok(Answer::Value(service::content(caller.site.profile)))
}

/// About twenty ids on a real server, of which public clients use one.
pub(super) fn internal_content(caller: &mut Caller<'_>, _: &Moref, _: Arguments<'_>) -> Outcome {
    let id = caller.site.profile.ids().nfc_service;
    let fields = vec![("nfcService", Value::moref("NfcService", id))];
    Ok(Answer::Value(Value::data(
        "InternalServiceInstanceContent",
        fields,
    )))
}

pub(super) fn current_time(_: &mut Caller<'_>, _: &Moref, _: Arguments<'_>) -> Outcome {
    Ok(Answer::Value(Value::Time(time::now())))
}
