//! Which version of the API a client speaks to a server.

use super::reply::{ReplyError, children, own_text, parse_document, text};

/// Where a server tells its versions to anybody who asks.
pub(super) const DOCUMENT: &str = "/sdk/vimServiceVersions.xml";

/// Spoken to servers that tell no versions. Everything that this client calls is older.
pub(super) const FALLBACK: &str = "6.5";

/// The oldest and, exclusively, the newest version that this client speaks. Public clients were tried with 8.0; how
/// servers answer to newer versions was not seen.
const RANGE: [[u64; 4]; 2] = [[6, 5, 0, 0], [8, 1, 0, 0]];

/// The newest version that both sides know; none when there is none.
///
/// # Errors
/// When the document is none.
pub(super) fn choose(document: &[u8]) -> Result<Option<String>, ReplyError> {
    parse_document(document, |root| {
        let spaces =
            children(root, "namespace").filter(|space| text(*space, "name") == Some("urn:vim25"));
        let newest = spaces
            .flat_map(|space| {
                let prior = children(space, "priorVersions");
                let prior = prior.flat_map(|prior| children(prior, "version"));
                children(space, "version").chain(prior)
            })
            .map(own_text)
            .filter_map(|version| Some((numbers(version)?, version)))
            .filter(|(numbers, _)| (RANGE[0]..RANGE[1]).contains(numbers))
            .max();
        newest.map(|(_, version)| version.to_owned())
    })
}

/// One to four numbers between dots; missing ones are zero.
fn numbers(version: &str) -> Option<[u64; 4]> {
    let mut numbers = [0; 4];
    let mut parts = version.split('.');
    for (number, part) in numbers.iter_mut().zip(&mut parts) {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = digits.then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(newest: &str, prior: &[&str]) -> String {
        let prior: String = prior
            .iter()
            .map(|version| format!("<version>{version}</version>"))
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\">\n \
             <namespace><name>urn:internalvim25</name><version>8.0.9.9</version></namespace>\n \
             <namespace>\n  <name>urn:vim25</name>\n  <version>{newest}</version>\n  \
             <priorVersions>{prior}</priorVersions></namespace>\n</namespaces>"
        )
    }

    fn chosen(newest: &str, prior: &[&str]) -> Option<String> {
        choose(document(newest, prior).as_bytes()).expect("well-formed")
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        for (newest, prior, expected) in [
            (
                "8.0.3.0",
                &["8.0.2.0", "8.0.1.0", "7.0.3.2", "6.5"][..],
                Some("8.0.3.0"),
            ),
            ("9.0.0.0", &["8.0.3.1", "8.0.3.0"], Some("8.0.3.1")),
            ("8.0.1.0", &["8.0.3.0"], Some("8.0.3.0")),
            ("7.0.3.2", &["7.0.3.10", "7.0"], Some("7.0.3.10")),
            ("6.5", &["6.0", "5.5"], Some("6.5")),
            ("6.0", &["5.5"], None),
            ("9.0.0.0", &[], None),
            ("new", &["8.0.3.0.1", "8..1", "+8"], None),
        ] {
            assert_eq!(
                chosen(newest, prior).as_deref(),
                expected,
                "{newest} {prior:?}"
            );
        }
    }

    #[test]
    fn other_documents_are_told_apart() {
        assert!(choose(b"<html><p></html>").is_err());
        assert_eq!(choose(b"<html/>"), Ok(None));
    }
}
