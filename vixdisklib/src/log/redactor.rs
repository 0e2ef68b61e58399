//! Replaces live secrets in text that leaves this crate.

use std::cmp::Reverse;
use std::ffi::CString;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use zeroize::Zeroizing;

/// Shorter secrets are left alone: they would match by chance, and the gaps would spell them out.
const SHORTEST: usize = 4;

/// The longest first: one may contain another, whose replacement would leave the rest of it to read.
static SECRETS: Mutex<Vec<Weak<Zeroizing<CString>>>> = Mutex::new(Vec::new());

/// Replaces `secret` in all text for as long as it lives.
pub(crate) fn watch(secret: &Arc<Zeroizing<CString>>) {
    let mut secrets = SECRETS.lock();
    secrets.retain(|known| known.strong_count() > 0);
    secrets.push(Arc::downgrade(secret));
    let length = |secret: &Weak<Zeroizing<CString>>| {
        secret.upgrade().map_or(0, |secret| secret.count_bytes())
    };
    secrets.sort_by_key(|secret| Reverse(length(secret)));
}

/// The text with each live secret replaced by `***`.
pub(crate) fn redact(mut text: String) -> String {
    for secret in SECRETS.lock().iter().filter_map(Weak::upgrade) {
        let Ok(secret) = secret.to_str() else {
            continue;
        };
        if secret.len() >= SHORTEST && text.contains(secret) {
            text = text.replace(secret, "***");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_secret_is_hidden_while_it_lives() {
        let line = "login as root with swordfish-4711 failed";
        let secret = Secret::new("swordfish-4711".to_owned()).expect("no NUL");
        assert_eq!(redact(line.to_owned()), "login as root with *** failed");
        drop(secret);
        assert_eq!(redact(line.to_owned()), line);
    }

    #[test]
    fn of_a_secret_inside_another_nothing_is_left() {
        let _short = Secret::new("tiger-20".to_owned()).expect("no NUL");
        let _long = Secret::new("tiger-2024".to_owned()).expect("no NUL");
        assert_eq!(redact("tiger-2024 or tiger-20".to_owned()), "*** or ***");
    }

    #[test]
    fn short_secrets_do_not_riddle_the_text() {
        let _secret = Secret::new("abc".to_owned()).expect("no NUL");
        assert_eq!(redact("abcdef".to_owned()), "abcdef");
    }
}
