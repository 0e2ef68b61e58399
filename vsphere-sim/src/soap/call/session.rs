//! Logging in and out.

use zeroize::Zeroizing;

use super::{Answer, Caller, Outcome};
use crate::injection::Injection;
use crate::soap::object::session_manager::user_session;
use crate::soap::request::Arguments;
use crate::transcript::Event;
use crate::vim::{Fault, Moref, Value};

pub(super) fn login(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let name = arguments.text("userName")?;
    let password = arguments.get("password")?.verbatim();
    let refused = caller
        .site
        .injected(caller.connection, &Injection::WrongPassword);
    let known = {
        let world = caller.site.world();
        let user = world
            .users
            .iter()
            .find(|user| user.name.eq_ignore_ascii_case(name));
        user.filter(|user| user.password.is(password))
            .map(|user| (user.name.clone(), user.read_only))
    };
    match known.filter(|_| !refused) {
        Some((user, read_only)) => Ok(begin(caller, &user, read_only)),
        None => Err(refuse(caller)),
    }
}

fn refuse(caller: &Caller<'_>) -> Fault {
    let connection = caller.connection;
    caller.site.note(Event::LoginRefused { connection });
    Fault::invalid_login()
}

fn begin(caller: &mut Caller<'_>, user: &str, read_only: bool) -> Answer {
    let (cookie, session) = caller.site.sessions.begin(user, read_only);
    caller.site.note(Event::LoggedIn {
        connection: caller.connection,
        user: user.to_owned(),
    });
    let answer = Answer::Value(user_session(&session));
    caller.new_cookie = Some(cookie);
    caller.session = Some(session);
    answer
}

pub(super) fn logout(caller: &mut Caller<'_>, this: &Moref, _: Arguments<'_>) -> Outcome {
    let user = caller.session(this)?.user.clone();
    if let Some(cookie) = &caller.cookie {
        caller.site.sessions.end(cookie);
    }
    caller.site.note(Event::LoggedOut {
        connection: caller.connection,
        user,
    });
    Ok(Answer::Nothing)
}

pub(super) fn acquire_clone_ticket(
    caller: &mut Caller<'_>,
    this: &Moref,
    _: Arguments<'_>,
) -> Outcome {
    let ticket = caller.site.sessions.clone_ticket(caller.session(this)?);
    Ok(Answer::Value(Value::Text(ticket)))
}

pub(super) fn clone_session(
    caller: &mut Caller<'_>,
    _: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    let ticket = Zeroizing::new(arguments.text("cloneTicket")?.to_owned());
    match caller.site.sessions.take_clone(&ticket) {
        Some((user, read_only)) => Ok(begin(caller, &user, read_only)),
        None => Err(refuse(caller)),
    }
}

pub(super) fn is_active(caller: &mut Caller<'_>, _: &Moref, arguments: Arguments<'_>) -> Outcome {
    let (key, user) = (arguments.text("sessionID")?, arguments.text("userName")?);
    Ok(Answer::Value(Value::Bool(
        caller.site.sessions.is_active(key, user),
    )))
}
