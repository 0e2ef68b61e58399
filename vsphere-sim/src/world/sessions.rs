//! Who is logged in.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::random::{self, Trace};
use crate::time;

/// So many tickets for clones wait; then all go.
const MAX_CLONES: usize = 1000;

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) key: String,
    pub(crate) user: String,
    pub(crate) read_only: bool,
    pub(crate) since: String,
}

struct Live {
    session: Session,
    last: Instant,
}

/// All logins, by the cookies that clients show.
pub(crate) struct Sessions {
    idle: Duration,
    live: Mutex<HashMap<Trace, Live>>,
    clones: Mutex<HashMap<Trace, (String, bool)>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.live.lock().len();
        f.debug_struct("Sessions")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(crate) fn new(idle: Duration) -> Self {
        Self {
            idle,
            live: Mutex::default(),
            clones: Mutex::default(),
        }
    }

    /// Logs somebody in; gives the cookie.
    pub(crate) fn begin(&self, user: &str, read_only: bool) -> (Zeroizing<String>, Session) {
        let session = Session {
            key: random::uuid(),
            user: user.to_owned(),
            read_only,
            since: time::now(),
        };
        let live = Live {
            session: session.clone(),
            last: Instant::now(),
        };
        let cookie = Zeroizing::new(random::secret());
        let mut all = self.live.lock();
        all.retain(|_, live| live.last.elapsed() < self.idle);
        all.insert(random::trace(&cookie), live);
        (cookie, session)
    }

    /// The login that a cookie stands for, which lives on from now.
    pub(crate) fn find(&self, cookie: &str) -> Option<Session> {
        let mut all = self.live.lock();
        let trace = random::trace(cookie);
        let live = all.get_mut(&trace)?;
        if live.last.elapsed() >= self.idle {
            all.remove(&trace);
            return None;
        }
        live.last = Instant::now();
        Some(live.session.clone())
    }

    /// Whether there is a login with this key for this user.
    pub(crate) fn is_active(&self, key: &str, user: &str) -> bool {
        let all = self.live.lock();
        let mut sessions = all.values().filter(|live| live.last.elapsed() < self.idle);
        sessions.any(|live| live.session.key == key && live.session.user == user)
    }

    pub(crate) fn end(&self, cookie: &str) {
        self.live.lock().remove(&random::trace(cookie));
    }

    /// Forgets all logins.
    pub(crate) fn end_all(&self) {
        self.live.lock().clear();
    }

    /// A ticket with which somebody else, once, gets a login of the same user.
    pub(crate) fn clone_ticket(&self, session: &Session) -> String {
        let ticket = format!("cst-VCT-{}", random::secret());
        let mut clones = self.clones.lock();
        if clones.len() >= MAX_CLONES {
            clones.clear();
        }
        let owner = (session.user.clone(), session.read_only);
        clones.insert(random::trace(&ticket), owner);
        ticket
    }

    /// Whose the ticket is; it is used up.
    pub(crate) fn take_clone(&self, ticket: &str) -> Option<(String, bool)> {
        self.clones.lock().remove(&random::trace(ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_until_the_logout() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (cookie, session) = sessions.begin("root", false);
        assert_eq!(sessions.find(&cookie), Some(session.clone()));
        assert!(sessions.is_active(&session.key, "root"));
        assert!(!sessions.is_active(&session.key, "other"));
        sessions.end(&cookie);
        assert_eq!(sessions.find(&cookie), None);
    }

    #[test]
    fn an_idle_login_ends() {
        let sessions = Sessions::new(Duration::ZERO);
        let (cookie, _) = sessions.begin("root", false);
        assert_eq!(sessions.find(&cookie), None);
    }

    #[test]
    fn a_clone_ticket_is_good_once() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (_, session) = sessions.begin("root", true);
        let ticket = sessions.clone_ticket(&session);
        assert_eq!(
            sessions.take_clone(&ticket),
            Some(("root".to_owned(), true))
        );
        assert_eq!(sessions.take_clone(&ticket), None);
    }

    #[test]
    fn cookies_are_not_shown() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (cookie, _) = sessions.begin("root", false);
        assert!(!format!("{sessions:?}").contains(&**cookie));
    }
}
