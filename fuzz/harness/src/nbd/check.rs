//! Follows what a client sent, and holds the answers to it.

mod handshake;
mod request;
mod transmission;

use super::Setting;
use super::fields::Fields;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Simple,
    Structured,
    Extended,
}

/// A client that has chosen an export.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) framing: Framing,
    pub(super) flags: u16,
    /// The ids of the contexts that it selected.
    pub(super) contexts: Vec<u32>,
}

/// Panics if `answers` are not what `sent`, in packets of `packet` bytes, deserves.
pub(super) fn check(setting: Setting, sent: &[u8], packet: usize, answers: &[u8]) {
    let mut sent = Fields::new(sent);
    let mut answers = Fields::new(answers);
    if let Some(agreed) = handshake::follow(&mut sent, packet, &mut answers) {
        transmission::follow(setting, &agreed, &mut sent, &mut answers);
    }
    if !setting.parallel {
        assert!(answers.is_empty(), "answers to nothing");
    }
}

/// A text for people: there is one, and it keeps to the limit.
fn check_text(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("texts are UTF-8");
    assert!(!text.is_empty() && text.len() <= 4096);
}
