//! Which names of metadata contexts clients can be told.

use std::collections::HashSet;
use std::fmt;

use crate::nbd::wire::MAX_STRING;

/// The most contexts of one export.
const MOST: usize = 1024;

/// The namespace that the protocol defines, and whose contexts the server answers itself.
const OF_THE_PROTOCOL: &str = "base";

/// Why the contexts of an export cannot be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nbd) struct BadContext {
    pub(in crate::nbd) name: String,
    pub(in crate::nbd) reason: &'static str,
}

impl fmt::Display for BadContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "metadata context {:?} {}",
            self.name, self.reason
        )
    }
}

/// Finds the first name that is wrong.
pub(super) fn check(names: &[String]) -> Result<(), BadContext> {
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        let reason = if index == MOST {
            Some("is one more than the 1024 that an export may have")
        } else if !seen.insert(name) {
            Some("is there twice")
        } else {
            what_is_wrong(name)
        };
        if let Some(reason) = reason {
            let name = name[..name.floor_char_boundary(MAX_STRING)].to_owned();
            return Err(BadContext { name, reason });
        }
    }
    Ok(())
}

fn what_is_wrong(name: &str) -> Option<&'static str> {
    if name.len() > MAX_STRING {
        return Some("begins a name of more than 4096 bytes");
    }
    if name.contains('\0') {
        return Some("has a NUL in it");
    }
    match name.split_once(':') {
        None | Some(("", _)) => Some("has no namespace with a colon behind it"),
        Some((_, "")) => Some("is a namespace without a name behind it"),
        Some((OF_THE_PROTOCOL, _)) => Some("is in the namespace that the server answers itself"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> Option<BadContext> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        check(&names).err()
    }

    #[test]
    fn names_that_clients_can_ask_for_are_good() {
        let long = format!("x-long:{}", "n".repeat(MAX_STRING - 7));
        let good = [
            "qemu:allocation-depth",
            "qemu:dirty-bitmap:a",
            "x-own:b",
            &long,
        ];
        assert_eq!(refused(&good), None);
        assert_eq!(refused(&[]), None);
        let many: Vec<_> = (0..MOST).map(|number| format!("x-n:{number}")).collect();
        assert_eq!(check(&many), Ok(()));
    }

    #[test]
    fn names_that_they_cannot_ask_for_are_told() {
        let long = format!("x-long:{}", "n".repeat(MAX_STRING));
        for (bad, reason) in [
            ("", "no namespace"),
            ("depth", "no namespace"),
            (":depth", "no namespace"),
            ("x-own:", "without a name"),
            ("base:allocation", "answers itself"),
            ("base:other", "answers itself"),
            ("x-own:a\0b", "NUL"),
            (&long, "more than 4096"),
        ] {
            let found = refused(&["x-own:a", bad]).unwrap();
            assert_eq!(found.name, bad[..bad.len().min(MAX_STRING)]);
            assert!(found.reason.contains(reason), "{found}");
        }
        let twice = refused(&["x-own:a", "x-own:b", "x-own:a"]).unwrap();
        assert_eq!(
            twice.to_string(),
            "metadata context \"x-own:a\" is there twice"
        );
        let many: Vec<_> = (0..=MOST).map(|number| format!("x-n:{number}")).collect();
        assert_eq!(check(&many).unwrap_err().name, "x-n:1024");
    }
}
