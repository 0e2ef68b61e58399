//! Every rule, broken and kept; and what happens then.

mod access;
mod caller;
mod calls;
mod io;
mod lifecycle;
mod modes;
mod reshape;
mod results;
mod threads;

use crate::rule::Rule;

/// Two tests of a rule: what breaks it, and the same done right, which breaks none.
///
/// ```text
/// rule! { InitTwice init_twice
///     broken |caller| { .. }
///     kept |caller| { .. }
/// }
/// ```
macro_rules! rule {
    (
        $rule:ident $name:ident
        $(without $($off:ident)+;)?
        broken |$broken:ident| $breaks:block
        kept |$kept:ident| $keeps:block
    ) => {
        mod $name {
            #[allow(unused_imports, reason = "not every rule needs all of it")]
            use super::*;

            #[test]
            fn broken() {
                let $broken = Caller::checking(Rule::$rule, &[$($(Rule::$off),+)?]);
                $breaks
                assert_eq!($broken.seen(), [Rule::$rule.name()]);
            }

            #[test]
            fn kept() {
                let $kept = Caller::checking(Rule::$rule, &[]);
                $keeps
                assert_eq!($kept.seen(), [""; 0]);
            }
        }
    };
}
use rule;

#[test]
fn every_rule_has_its_tests() {
    let tests = [
        include_str!("tests/access.rs"),
        include_str!("tests/calls.rs"),
        include_str!("tests/io.rs"),
        include_str!("tests/lifecycle.rs"),
        include_str!("tests/reshape.rs"),
        include_str!("tests/results.rs"),
        include_str!("tests/threads.rs"),
    ]
    .concat();
    for rule in Rule::ALL {
        let module = rule.name().replace('-', "_");
        let (by_macro, by_hand) = (
            format!("rule! {{ {rule:?} {module}\n"),
            format!("mod {module} {{\n"),
        );
        let is_tested = tests.contains(&by_macro) || tests.contains(&by_hand);
        assert!(is_tested, "{} has no test", rule.name());
    }
}

#[test]
fn the_document_lists_the_rules() {
    let rows: Vec<String> = Rule::ALL
        .iter()
        .map(|rule| {
            let code = rule.code().name().expect("a named code");
            let strength = rule.strength().name();
            format!(
                "| `{}` | {} | {strength} | `{code}` |",
                rule.name(),
                rule.text()
            )
        })
        .collect();
    let document = include_str!("../RULES.md");
    let listed: Vec<&str> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(
        listed == rows,
        "RULES.md differs from the code, which has:\n{}",
        rows.join("\n")
    );
}

#[test]
fn names_are_unique_and_found() {
    for rule in Rule::ALL {
        assert_eq!(Rule::by_name(rule.name()), Some(*rule));
    }
    assert_eq!(Rule::by_name("no-such-rule"), None);
}
