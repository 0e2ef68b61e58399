//! Replaces live secrets in text that leaves this crate.
//!
//! A secret is found as it is, and in the forms that URLs, XML, JSON and C strings give it, also where a text mixes
//! them. Not found are secrets of fewer than four bytes, those that are split over lines, and those in a form that hides
//! them from readers too: base64, a hash, encoded twice.

mod spelling;

use std::ffi::CString;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use zeroize::{Zeroize as _, Zeroizing};

use spelling::spelled;

/// Shorter secrets are left alone: they would match by chance, and the gaps would spell them out.
const SHORTEST: usize = 4;

static SECRETS: Mutex<Vec<Weak<Zeroizing<CString>>>> = Mutex::new(Vec::new());

/// Replaces `secret` in all text for as long as it lives.
pub(crate) fn watch(secret: &Arc<Zeroizing<CString>>) {
    let mut secrets = SECRETS.lock();
    secrets.retain(|known| known.strong_count() > 0);
    // What is no UTF-8 is not found in text that is.
    if secret.count_bytes() >= SHORTEST && secret.to_str().is_ok() {
        secrets.push(Arc::downgrade(secret));
    }
}

/// What the library wrote as text that may leave this crate: what is not UTF-8 is replaced, and so is each live secret.
/// No copy of a secret is left behind.
pub(crate) fn readable(bytes: &[u8]) -> String {
    // One byte may become three, and a text that has to grow would leave itself behind.
    let mut text = String::with_capacity(3 * bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    redact(text)
}

/// The text with each live secret replaced by `***`; if there was one, the text given is wiped.
fn redact(mut text: String) -> String {
    let live: Vec<_> = SECRETS.lock().iter().filter_map(Weak::upgrade).collect();
    let mut kept = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        // The longest: one secret may contain another, whose replacement would leave the rest of it to read.
        let longest = live
            .iter()
            .filter_map(|secret| spelled(secret.as_bytes(), rest))
            .max();
        match longest {
            None => at += 1,
            Some(length) => {
                kept += &text[copied..at];
                kept += "***";
                at += length;
                copied = at;
            }
        }
    }
    if copied == 0 {
        return text;
    }
    kept += &text[copied..];
    text.zeroize();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use proptest::prelude::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).expect("no NUL")
    }

    #[test]
    fn a_secret_is_hidden_while_it_lives() {
        let line = "login as root with swordfish-4711 failed";
        let secret = secret("swordfish-4711");
        assert_eq!(redact(line.to_owned()), "login as root with *** failed");
        drop(secret);
        assert_eq!(redact(line.to_owned()), line);
    }

    #[test]
    fn of_a_secret_inside_another_nothing_is_left() {
        let _short = secret("tiger-20");
        let _long = secret("tiger-2024");
        assert_eq!(redact("tiger-2024 or tiger-20".to_owned()), "*** or ***");
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_and_hides_no_secret() {
        let _secret = secret("opensesame-3");
        let line = readable(b"\xF0\x9Fopensesame-3\xFF\xC3\xA4");
        assert_eq!(line, "\u{FFFD}***\u{FFFD}ä");
        assert_eq!(line, String::from_utf8_lossy(b"\xF0\x9F***\xFF\xC3\xA4"));
    }

    #[test]
    fn short_secrets_do_not_riddle_the_text() {
        let _secret = secret("abc");
        assert_eq!(redact("abcdef".to_owned()), "abcdef");
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let _secret = secret("p&ss <w\"ö'r\\d/1>");
        for written in [
            "p&ss <w\"ö'r\\d/1>",
            "p%26ss%20%3Cw%22%C3%B6%27r%5Cd%2F1%3E",
            "p%26ss+%3cw%22%c3%b6'r%5cd%2f1%3e",
            "p&amp;ss &lt;w&quot;ö&apos;r\\d/1&gt;",
            "p&#38;ss &#60;w&#x22;&#xF6;&#39;r&#92;d/1&#x3e;",
            r#"p&ss <w\"ö'r\\d\/1>"#,
            r#"p\u0026ss \u003cw\"\u00f6'r\\d/1\u003E"#,
            r#"p\x26ss \x3Cw\"\xc3\xb6'r\\d/1>"#,
        ] {
            let line = format!("url?password={written}&user=x");
            assert_eq!(redact(line), "url?password=***&user=x", "{written}");
        }
        let near = "p&ss <w\"ö'r\\d/1";
        assert_eq!(redact(near.to_owned()), near);
    }

    proptest! {
        /// Whatever the secret and the text around it, nothing of it is left, and nothing else is gone.
        #[test]
        fn what_is_not_secret_stays(
            secret in "[a-z&<%\\\\\"ä ]{6,20}", before in "[A-Z0-9 ]{0,20}", after in "[A-Z0-9 ]{0,20}",
        ) {
            prop_assume!(!secret.starts_with(' ') && !secret.ends_with(' '));
            let _secret = self::secret(&secret);
            let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            for written in [&secret, &percent, &xml] {
                let line = format!("{before}{written}{after}");
                prop_assert_eq!(redact(line), format!("{before}***{after}"));
            }
        }

        #[test]
        fn any_text_is_survived(secret in "[^\0*]{4,8}", text in any::<String>()) {
            let _secret = self::secret(&secret);
            let redacted = redact(text.clone());
            prop_assert!(!redacted.contains(&secret));
        }
    }
}
