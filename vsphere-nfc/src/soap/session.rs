//! A login: who speaks, and what the server has to offer.

use std::time::Duration;

use parking_lot::Mutex;
use roxmltree::Node;

use super::client::{CallError, Client, Message};
use super::envelope::Call;
use super::http::cookie_header;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, object, own_text, required, text};
use crate::error::{Error, Refusal, Result};
use crate::secret::Secret;

/// How long a logout may take: the session ends by itself, so nobody has to wait for a server that is gone.
const LOGOUT_LIMIT: Duration = Duration::from_secs(10);

/// Who logs in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// A user with a password. The password is kept as long as the login, to renew it when it has expired.
    Password {
        /// The name of the user, such as `administrator@vsphere.local`.
        user: String,
        /// The password.
        password: Secret,
    },
    /// The cookie of a session that somebody else made, and ends: the value of `vmware_soap_session`. The session is
    /// used as it is, and never logged out.
    SessionCookie(Secret),
    /// What [`Host::clone_ticket`](crate::Host::clone_ticket) gave elsewhere: good for one login of its own.
    CloneTicket(Secret),
}

/// What answers: a vCenter or a single ESXi host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApiType {
    /// vCenter, which manages many hosts.
    VirtualCenter,
    /// An ESXi host itself.
    HostAgent,
}

/// What a server tells about itself before any login.
#[derive(Debug)]
pub(crate) struct ServiceContent {
    pub(crate) api_type: ApiType,
    pub(crate) api_version: String,
    pub(crate) full_name: String,
    session_manager: ManagedObject,
    pub(crate) property_collector: ManagedObject,
    pub(crate) search_index: Option<ManagedObject>,
    pub(crate) authorization_manager: Option<ManagedObject>,
    pub(crate) storage_manager: Option<ManagedObject>,
}

impl ServiceContent {
    pub(super) fn of(response: Node<'_, '_>) -> Result<Self, ReplyError> {
        let content = child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
        let about = child(content, "about").ok_or(ReplyError::Missing("about"))?;
        let needed = |name| object(content, name).ok_or(ReplyError::Missing(name));
        Ok(Self {
            api_type: match required(about, "apiType")? {
                "VirtualCenter" => ApiType::VirtualCenter,
                "HostAgent" => ApiType::HostAgent,
                _ => return Err(ReplyError::Broken("apiType")),
            },
            api_version: text(about, "apiVersion").unwrap_or_default().to_owned(),
            full_name: text(about, "fullName").unwrap_or_default().to_owned(),
            session_manager: needed("sessionManager")?,
            property_collector: needed("propertyCollector")?,
            search_index: object(content, "searchIndex"),
            authorization_manager: object(content, "authorizationManager"),
            storage_manager: object(content, "vStorageObjectManager"),
        })
    }
}

/// The name of a session and of its user, as the server keeps them.
#[derive(Debug)]
pub(super) struct UserSession {
    key: Secret,
    user: String,
}

/// Counts logins, so that of many calls that find the session expired only one logs in again.
#[derive(Debug)]
struct Login {
    count: u64,
    session: Option<UserSession>,
}

/// A session on a server.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    credentials: Credentials,
    pub(crate) content: ServiceContent,
    login: Mutex<Login>,
}

/// The object that every server has under a name that never changes.
pub(crate) fn service_instance() -> ManagedObject {
    ManagedObject::new("ServiceInstance", "ServiceInstance")
}

impl Session {
    /// Asks the server what it is, and logs in.
    pub(crate) fn begin(client: Client, credentials: Credentials) -> Result<Self> {
        let ask = Message::new(Call::new("RetrieveServiceContent", &service_instance()))
            .map_err(CallError::from)?;
        let content = client.call(&ask, ServiceContent::of)?;
        let session = Self {
            client,
            credentials,
            content,
            login: Mutex::new(Login {
                count: 0,
                session: None,
            }),
        };
        session.first_login()?;
        Ok(session)
    }

    fn first_login(&self) -> Result<()> {
        let manager = &self.content.session_manager;
        match &self.credentials {
            Credentials::Password { .. } => self.log_in(&mut self.login.lock())?,
            Credentials::SessionCookie(cookie) => {
                let cookie = cookie_header(cookie).ok_or(Refusal::InvalidArgument(
                    "the cookie is not that of a session",
                ))?;
                self.client.set_cookie(Some(cookie));
                // Whether the session lives shows only in a call that needs one.
                self.current_time()?;
            }
            Credentials::CloneTicket(ticket) => {
                let call = Call::new("CloneSession", manager)
                    .text("cloneTicket", ticket.expose())
                    .login()
                    .once();
                let message = Message::new(call).map_err(CallError::from)?;
                self.login.lock().session = Some(self.client.call(&message, user_session)?);
            }
        }
        Ok(())
    }

    /// Logs in with the password, in a session that begins now.
    fn log_in(&self, login: &mut Login) -> Result<(), CallError> {
        let Credentials::Password { user, password } = &self.credentials else {
            return Ok(());
        };
        let call = Call::new("Login", &self.content.session_manager)
            .text("userName", user)
            .text("password", password.expose())
            .login();
        let message = Message::new(call)?;
        login.session = Some(self.client.call(&message, user_session)?);
        login.count = login.count.wrapping_add(1);
        Ok(())
    }

    /// Carries out a call. When the session has expired and a password is known, logs in again and repeats it once:
    /// what was refused for that reason was not carried out.
    pub(crate) fn call<T>(
        &self,
        call: Call,
        mut read: impl FnMut(Node<'_, '_>) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        let message = Message::new(call)?;
        let seen = self.login.lock().count;
        match self.client.call(&message, &mut read) {
            Err(CallError::Fault(fault))
                if fault.ends_session()
                    && matches!(self.credentials, Credentials::Password { .. }) => {}
            result => return result,
        }
        let mut login = self.login.lock();
        if login.count == seen {
            tracing::debug!("the session has expired, logging in again");
            self.client.set_cookie(None);
            self.log_in(&mut login)?;
        }
        drop(login);
        self.client.call(&message, read)
    }

    /// The host as the caller named it.
    pub(crate) fn host(&self) -> &str {
        self.client.host()
    }

    /// The server's clock, which is asked for so that the session does not expire.
    pub(crate) fn current_time(&self) -> Result<String, CallError> {
        self.call(Call::new("CurrentTime", &service_instance()), |response| {
            required(response, "returnval").map(str::to_owned)
        })
    }

    /// A ticket with which somebody else gets a session of the same user, once.
    pub(crate) fn clone_ticket(&self) -> Result<Secret, CallError> {
        let call = Call::new("AcquireCloneTicket", &self.content.session_manager);
        self.call(call, |response| {
            required(response, "returnval").map(|ticket| Secret::new(ticket.to_owned()))
        })
    }

    /// Whether the server still knows the session that was begun here.
    pub(crate) fn is_active(&self) -> Result<bool> {
        let call = match &self.login.lock().session {
            Some(UserSession { key, user }) => {
                Call::new("SessionIsActive", &self.content.session_manager)
                    .text("sessionID", key.expose())
                    .text("userName", user)
            }
            None => {
                return Err(Refusal::Unsupported(
                    "the key of a session that was begun elsewhere is not known",
                )
                .into());
            }
        };
        let message = Message::new(call).map_err(CallError::from)?;
        let active = self.client.call(&message, |response| {
            match required(response, "returnval")? {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(ReplyError::Broken("returnval")),
            }
        });
        match active {
            // Asking takes a session.
            Err(CallError::Fault(fault)) if fault.ends_session() => Ok(false),
            other => other.map_err(Error::from),
        }
    }

    /// Ends the session, unless somebody else made it or it has ended already.
    pub(crate) fn end(&self) -> Result<(), CallError> {
        let begun_here = !matches!(self.credentials, Credentials::SessionCookie(_));
        if begun_here && self.login.lock().session.take().is_some() {
            let message = Message::new(Call::new("Logout", &self.content.session_manager))?;
            let limits = self.client.limits_at_most(LOGOUT_LIMIT);
            match self.client.call_within(limits, &message, |_| Ok(())) {
                Err(CallError::Fault(fault)) if fault.ends_session() => {}
                result => result?,
            }
            self.client.set_cookie(None);
        }
        Ok(())
    }
}

pub(super) fn user_session(response: Node<'_, '_>) -> Result<UserSession, ReplyError> {
    let session = child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
    Ok(UserSession {
        key: Secret::new(required(session, "key")?.to_owned()),
        user: child(session, "userName")
            .map(own_text)
            .unwrap_or_default()
            .to_owned(),
    })
}
