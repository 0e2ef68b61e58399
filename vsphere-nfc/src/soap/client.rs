//! Carrying out calls on a server: connections, the session's cookie, and what can go wrong on the way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roxmltree::Node;
use rustls::ClientConfig;

use super::envelope::{Call, IllegalText};
use super::fault::Fault;
use super::http::{Connection, HttpError, Request, Response};
use super::reply::{Reply, ReplyError};
use super::version;
use crate::error::{Cause, ErrorKind};
use crate::secret::{Secret, WipedBytes};

/// Where calls go.
const PATH: &str = "/sdk";

/// How many connections are kept between calls.
const MAX_IDLE: usize = 4;

/// Why a call gave no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Illegal(#[from] IllegalText),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the server answers with the HTTP status {0}")]
    Status(u16),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("the server speaks no version of the vSphere API between 6.5 and 8.0")]
    NoCommonVersion,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Cause for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Illegal(_) => ErrorKind::InvalidArgument,
            Self::Http(error) => error.kind(),
            Self::Status(_) | Self::NoCommonVersion => ErrorKind::CannotConnect,
            Self::Reply(_) => ErrorKind::Protocol,
            Self::Fault(fault) => fault.kind(),
        }
    }

    fn fault(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.fault(),
            _ => None,
        }
    }

    fn server_text(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) => fault.server_text(),
            _ => None,
        }
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLimits {
    /// For a connection, if a new one is needed.
    pub(crate) connect: Duration,
    /// From the sending of the request to the last byte of the answer.
    pub(crate) answer: Duration,
}

/// A request that can be sent, also more than once.
#[derive(Debug)]
pub(crate) struct Message {
    method: &'static str,
    text: WipedBytes,
    once: bool,
    begins_session: bool,
}

impl Message {
    pub(crate) fn new(call: Call) -> Result<Self, IllegalText> {
        Ok(Self {
            method: call.method(),
            once: call.is_once(),
            begins_session: call.begins_session(),
            text: call.finish()?,
        })
    }
}

/// A server, and the session that this client has there, if any.
///
/// Calls may run at the same time; each has a connection for itself.
#[derive(Debug)]
pub(crate) struct Client {
    host: String,
    port: u16,
    config: Arc<ClientConfig>,
    limits: CallLimits,
    /// The header that tells the version of the API.
    action: String,
    cookie: Mutex<Option<Arc<Secret>>>,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// Connects and agrees on a version. Nothing secret is sent.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        config: Arc<ClientConfig>,
        limits: CallLimits,
    ) -> Result<Self, CallError> {
        let mut client = Self {
            host: host.to_owned(),
            port,
            config,
            limits,
            action: String::new(),
            cookie: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
        };
        let response = client.exchange(
            Request::Get {
                path: version::DOCUMENT,
            },
            true,
            limits,
        )?;
        let version = match response.status {
            200 => version::choose(response.body.as_slice())?.ok_or(CallError::NoCommonVersion)?,
            404 => version::FALLBACK.to_owned(),
            other => return Err(CallError::Status(other)),
        };
        client.action = format!("urn:vim25/{version}");
        Ok(client)
    }

    /// The usual time for a call, but neither part of it longer than `limit`.
    pub(crate) fn limits_at_most(&self, limit: Duration) -> CallLimits {
        CallLimits {
            connect: self.limits.connect.min(limit),
            answer: self.limits.answer.min(limit),
        }
    }

    /// The host as it was named.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Takes over the cookie of a session, or forgets the one that it has.
    pub(crate) fn set_cookie(&self, cookie: Option<Secret>) {
        *self.cookie.lock() = cookie.map(Arc::new);
    }

    /// Takes over the cookie that an answer brought: that of a login always, any other only if the cookie is still the one
    /// that the call was sent with. Servers give new cookies also to calls of sessions that have ended, and the answer to
    /// such a call may come after a new login.
    fn take_cookie(&self, message: &Message, sent: Option<&Arc<Secret>>, new: Secret) {
        let mut cookie = self.cookie.lock();
        let is_same = cookie.as_ref().map(Arc::as_ptr) == sent.map(Arc::as_ptr);
        if message.begins_session || is_same {
            *cookie = Some(Arc::new(new));
        }
    }

    /// Sends a call and gives the response to `read`.
    pub(crate) fn call<T>(
        &self,
        message: &Message,
        read: impl FnMut(Node<'_, '_>) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        self.call_within(self.limits, message, read)
    }

    /// The same, with less time.
    pub(crate) fn call_within<T>(
        &self,
        limits: CallLimits,
        message: &Message,
        mut read: impl FnMut(Node<'_, '_>) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        let cookie = self.cookie.lock().clone();
        let request = Request::Post {
            path: PATH,
            action: &self.action,
            cookie: cookie.as_deref(),
            body: message.text.as_slice(),
        };
        let response = self.exchange(request, !message.once, limits)?;
        if let Some(new) = response.cookie {
            self.take_cookie(message, cookie.as_ref(), new);
        }
        let status = response.status;
        let body = response.body.as_slice();
        let value = Reply::to(message.method, body, |reply| match reply {
            Reply::Response(node) if status == 200 => Ok(Ok(read(node)?)),
            Reply::Response(_) => Ok(Err(CallError::Status(status))),
            Reply::Fault(fault) => Ok(Err(CallError::Fault(fault))),
        });
        match value {
            Ok(value) => value,
            // What came is no SOAP, so the status tells more.
            Err(_) if status != 200 => Err(CallError::Status(status)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a request on a connection that is free, or on a new one.
    ///
    /// A kept connection may be closed by the server at the very moment. What may be said twice is said again then, on
    /// a new one; anything else is said on a new one from the start.
    fn exchange(
        &self,
        request: Request<'_>,
        repeatable: bool,
        limits: CallLimits,
    ) -> Result<Response, CallError> {
        if repeatable && let Some(mut connection) = self.idle_connection() {
            match connection.exchange(request, limits.answer) {
                Err(HttpError::Io(error)) if error.kind() != io::ErrorKind::TimedOut => {}
                result => return Ok(self.keep(connection, result?)),
            }
        }
        let config = Arc::clone(&self.config);
        let (mut connection, _) = Connection::open(&self.host, self.port, config, limits.connect)?;
        let response = connection.exchange(request, limits.answer)?;
        Ok(self.keep(connection, response))
    }

    fn idle_connection(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.lock().pop()?;
            if !connection.is_spent() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection, response: Response) -> Response {
        let mut idle = self.idle.lock();
        if response.keeps && idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        response
    }
}
