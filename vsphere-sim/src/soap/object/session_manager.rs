//! Logins as clients see them.

use crate::time;
use crate::vim::{Value, optional};
use crate::world::Session;

pub(crate) fn user_session(session: &Session) -> Value {
    Value::data(
        "UserSession",
        vec![
            ("key", Value::text(session.key.clone())),
            ("userName", Value::text(session.user.clone())),
            ("fullName", Value::text(session.user.clone())),
            ("loginTime", Value::Time(session.since.clone())),
            ("lastActiveTime", Value::Time(time::now())),
            ("locale", Value::text("en")),
            ("messageLocale", Value::text("en")),
            ("extensionSession", Value::Bool(false)),
            ("ipAddress", Value::text("127.0.0.1")),
            ("userAgent", Value::text("")),
            ("callCount", Value::Int(0)),
        ],
    )
}

/// The session manager for somebody with this login.
pub(crate) fn properties(session: Option<&Session>) -> Value {
    let mut fields = optional("currentSession", session.map(user_session));
    fields.push((
        "supportedLocaleList",
        Value::List("xsd:string", vec![Value::text("en")]),
    ));
    fields.push(("defaultLocale", Value::text("en")));
    Value::data("SessionManager", fields)
}
