//! Reading a SOAP reply.
//!
//! Elements are known by their local names: servers differ in the prefixes that they choose.

use roxmltree::{Document, Node, ParsingOptions};

use super::fault::Fault;
use super::object::ManagedObject;

/// How many nodes a reply may have. The configuration of a large virtual machine has some ten thousand.
const MAX_NODES: u32 = 1 << 19;

/// How deep elements may nest. Backings of snapshots nest, some 32 at most.
const MAX_DEPTH: usize = 256;

/// How many attributes an element may have. The parser compares each with all others of its element.
const MAX_ATTRIBUTES: usize = 256;

/// How many namespaces may be declared for an element, by itself and by those around it. The parser gives each element
/// that declares one a list of all of them.
const MAX_NAMESPACES: usize = 64;

/// How much of a text of the server's is kept for errors, in characters.
const MAX_SHOWN: usize = 512;

/// Why a document is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// Not UTF-8.
    #[error("the reply is not UTF-8")]
    Encoding,
    /// Not well-formed, or with a document type, which no reply has.
    #[error("the reply is no XML that this client accepts: {0}")]
    Xml(String),
    /// More elements, or deeper ones, than any reply has.
    #[error("the reply has too many or too deep elements")]
    TooLarge,
    /// Something that every reply has is not there.
    #[error("the reply lacks {0}")]
    Missing(&'static str),
    /// Something is not what it should be.
    #[error("the reply has a broken {0}")]
    Broken(&'static str),
}

/// What a server answered to a call.
#[derive(Debug)]
pub(crate) enum Reply<'a, 'input> {
    /// The response element, which holds the values returned.
    Response(Node<'a, 'input>),
    Fault(Fault),
}

impl Reply<'_, '_> {
    /// Parses a document and gives the SOAP body to `read`.
    pub(crate) fn parse<T>(
        bytes: &[u8],
        read: impl FnOnce(Node<'_, '_>) -> T,
    ) -> Result<T, ReplyError> {
        parse_document(bytes, |envelope| {
            let body = (envelope.tag_name().name() == "Envelope")
                .then(|| child(envelope, "Body"))
                .flatten()
                .ok_or(ReplyError::Missing("a SOAP body"))?;
            Ok(read(body))
        })?
    }

    /// Parses the reply to a call and gives it to `read`.
    pub(crate) fn to<T>(
        method: &str,
        bytes: &[u8],
        read: impl FnOnce(Reply<'_, '_>) -> Result<T, ReplyError>,
    ) -> Result<T, ReplyError> {
        Self::parse(bytes, |body| {
            let content = body
                .first_element_child()
                .ok_or(ReplyError::Missing("an answer"))?;
            let name = content.tag_name().name();
            if name == "Fault" {
                return read(Reply::Fault(Fault::of_soap(content)));
            }
            if name.strip_suffix("Response") != Some(method) {
                return Err(ReplyError::Missing("the answer to what was asked"));
            }
            read(Reply::Response(content))
        })?
    }
}

/// Parses any document and gives its root element to `read`.
pub(crate) fn parse_document<T>(
    bytes: &[u8],
    read: impl FnOnce(Node<'_, '_>) -> T,
) -> Result<T, ReplyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReplyError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Before the parser, which calls itself for nested elements, sees it.
    if !extent(text).is_fair() {
        return Err(ReplyError::TooLarge);
    }
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => ReplyError::TooLarge,
        // Names in the document can be long.
        other => ReplyError::Xml(shown(&other.to_string())),
    })?;
    Ok(read(document.root_element()))
}

/// The greatest numbers in a document, or more where the text is not well-formed.
#[derive(Debug, Default)]
struct Extent {
    /// Elements open at once.
    depth: usize,
    /// Attributes of one element.
    attributes: usize,
    /// Namespaces declared by elements open at once.
    namespaces: usize,
}

impl Extent {
    fn is_fair(&self) -> bool {
        self.depth <= MAX_DEPTH
            && self.attributes <= MAX_ATTRIBUTES
            && self.namespaces <= MAX_NAMESPACES
    }
}

fn extent(text: &str) -> Extent {
    let mut greatest = Extent::default();
    // Namespaces in force inside each open element.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('<') {
        rest = behind;
        let (skipped, end) = match behind {
            _ if behind.starts_with("!--") => (3, "-->"),
            _ if behind.starts_with("![CDATA[") => (8, "]]>"),
            _ if behind.starts_with('?') => (1, "?>"),
            _ if behind.starts_with('/') => {
                open.pop();
                continue;
            }
            _ => {
                // Quoted values may hold angle brackets, but no well-formed one holds an opening one.
                let tag = tag(behind);
                let around = open.last().copied().unwrap_or_default();
                let namespaces = around.saturating_add(tag.matches("xmlns").count());
                open.push(namespaces);
                greatest.depth = greatest.depth.max(open.len());
                greatest.attributes = greatest.attributes.max(tag.matches('=').count());
                greatest.namespaces = greatest.namespaces.max(namespaces);
                if !greatest.is_fair() {
                    return greatest;
                }
                if tag.ends_with('/') {
                    open.pop();
                }
                continue;
            }
        };
        let inside = behind.get(skipped..).unwrap_or_default();
        rest = inside.split_once(end).map_or("", |(_, behind)| behind);
    }
    greatest
}

/// What stands between the opening of a tag and its end.
fn tag(text: &str) -> &str {
    let mut quote = None;
    for (index, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return text.get(..index).unwrap_or_default(),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (_, b'<') => break,
            _ => {}
        }
    }
    ""
}

/// The first child element of that name.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// All child elements of that name.
pub(crate) fn children<'a, 'input, 'n>(
    node: Node<'a, 'input>,
    name: &'n str,
) -> impl Iterator<Item = Node<'a, 'input>> + use<'a, 'input, 'n> {
    node.children()
        .filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the first child element of that name, without white space around it.
pub(crate) fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).map(own_text)
}

/// The text of an element, without white space around it.
pub(crate) fn own_text<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// The text of a child element that has to be there.
pub(crate) fn required<'a>(node: Node<'a, '_>, name: &'static str) -> Result<&'a str, ReplyError> {
    text(node, name)
        .filter(|text| !text.is_empty())
        .ok_or(ReplyError::Missing(name))
}

/// The number in a child element that has to be there.
pub(crate) fn number<N: std::str::FromStr>(
    node: Node<'_, '_>,
    name: &'static str,
) -> Result<N, ReplyError> {
    required(node, name)?
        .parse()
        .map_err(|_| ReplyError::Broken(name))
}

/// The reference in an element.
pub(crate) fn reference(node: Node<'_, '_>) -> Option<ManagedObject> {
    // Servers may put `xsi:type` beside or before it, which a search for the local name alone would find.
    let kind = node
        .attributes()
        .find(|attribute| attribute.namespace().is_none() && attribute.name() == "type")?;
    let id = own_text(node);
    (!id.is_empty()).then(|| ManagedObject::new(kind.value(), id))
}

/// The reference in a child element.
pub(crate) fn object(node: Node<'_, '_>, name: &str) -> Option<ManagedObject> {
    child(node, name).and_then(reference)
}

/// The subtype of an element's schema type, without its prefix.
pub(crate) fn schema_type<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    let name = node.attribute(("http://www.w3.org/2001/XMLSchema-instance", "type"))?;
    Some(name.rsplit(':').next().unwrap_or(name))
}

/// A text of the server's for an error: on one line, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .trim()
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(MAX_SHOWN)
        .collect();
    if text.trim().chars().count() > MAX_SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn enveloped(content: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><s:Body>{content}</s:Body></s:Envelope>"
        )
    }

    fn names(document: &str) -> Result<Vec<String>, ReplyError> {
        parse_document(document.as_bytes(), |root| {
            root.descendants()
                .map(|node| node.tag_name().name().to_owned())
                .collect()
        })
    }

    #[test]
    fn responses_are_found_whatever_their_prefix() {
        for response in [
            "<CurrentTimeResponse xmlns=\"urn:vim25\"><returnval>now</returnval></CurrentTimeResponse>",
            "<v:CurrentTimeResponse xmlns:v=\"urn:vim25\"><v:returnval> now </v:returnval></v:CurrentTimeResponse>",
        ] {
            let value = Reply::to(
                "CurrentTime",
                enveloped(response).as_bytes(),
                |reply| match reply {
                    Reply::Response(response) => required(response, "returnval").map(str::to_owned),
                    Reply::Fault(fault) => panic!("{fault:?}"),
                },
            );
            assert_eq!(value.as_deref(), Ok("now"));
        }
    }

    #[test]
    fn other_answers_are_no_replies() {
        for document in [
            "",
            "<a/>",
            "<html><body>Service unavailable</body></html>",
            &enveloped(""),
            &enveloped("<LogoutResponse/>"),
            &enveloped("<CurrentTimeResponse>"),
            "\u{1}",
        ] {
            let read = Reply::to("CurrentTime", document.as_bytes(), |_| Ok(()));
            assert!(read.is_err(), "{document}");
        }
        let read = Reply::to("CurrentTime", b"<a>\xff</a>", |_| Ok(()));
        assert_eq!(read, Err(ReplyError::Encoding));
    }

    #[test]
    fn references_are_read_whatever_stands_beside_them() {
        let xsi = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
        for attributes in [
            "type=\"Task\"",
            "type=\"Task\" xsi:type=\"ManagedObjectReference\"",
            "xsi:type=\"ManagedObjectReference\" type=\"Task\" versionId=\"8\"",
        ] {
            let document = format!("<a {xsi} {attributes}> task-1 </a>");
            let found = parse_document(document.as_bytes(), reference);
            assert_eq!(
                found,
                Ok(Some(ManagedObject::new("Task", "task-1"))),
                "{attributes}"
            );
        }
        let untyped = format!("<a {xsi} xsi:type=\"ManagedObjectReference\">task-1</a>");
        assert_eq!(parse_document(untyped.as_bytes(), reference), Ok(None));
    }

    #[test]
    fn document_types_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"yyyyyyyy\"><!ENTITY z \"&x;&x;\">]><a>&z;</a>";
        assert!(matches!(names(bomb), Err(ReplyError::Xml(_))));
        let file = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>";
        assert!(matches!(names(file), Err(ReplyError::Xml(_))));
        assert!(matches!(names("<a>&x;</a>"), Err(ReplyError::Xml(_))));
    }

    #[test]
    fn deep_documents_are_refused() {
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(
            names(&nested(MAX_DEPTH)).map(|names| names.len()),
            Ok(MAX_DEPTH)
        );
        assert_eq!(names(&nested(MAX_DEPTH + 1)), Err(ReplyError::TooLarge));
        assert_eq!(names(&"<a>".repeat(1 << 17)), Err(ReplyError::TooLarge));
        assert_eq!(
            names(&"<a b='>'>".repeat(1 << 17)),
            Err(ReplyError::TooLarge)
        );
        assert_eq!(
            names(&"<a b='/>'>".repeat(1 << 17)),
            Err(ReplyError::TooLarge)
        );
        assert_eq!(names(&"<a b='".repeat(1 << 17)), Err(ReplyError::TooLarge));
        let comments = format!(
            "<a>{}{}</a>",
            "<!-- <b> -->".repeat(400),
            "<b/>".repeat(400)
        );
        assert_eq!(names(&comments).map(|names| names.len()), Ok(801));
    }

    #[test]
    fn wide_documents_are_refused() {
        let wide = format!("<a>{}</a>", "<b/>".repeat(MAX_NODES as usize));
        assert_eq!(names(&wide), Err(ReplyError::TooLarge));
    }

    #[test]
    fn namespaces_in_force_are_bounded() {
        let declared = |around: usize, inside: usize| {
            let all: String = (0..around).map(|n| format!(" xmlns:n{n}='u'")).collect();
            format!("<a{all}>{}</a>", "<b xmlns='v'/>".repeat(inside))
        };
        let names_in = |around, inside| names(&declared(around, inside)).map(|names| names.len());
        assert_eq!(names_in(MAX_NAMESPACES, 0), Ok(1));
        assert_eq!(names_in(MAX_NAMESPACES - 1, 1000), Ok(1001));
        assert_eq!(names_in(MAX_NAMESPACES, 1), Err(ReplyError::TooLarge));
        let nested = |depth| {
            let open = "<a xmlns='u'>".repeat(depth);
            names(&format!("{open}{}", "</a>".repeat(depth)))
        };
        assert!(nested(MAX_NAMESPACES).is_ok());
        assert_eq!(nested(MAX_NAMESPACES + 1), Err(ReplyError::TooLarge));
    }

    #[test]
    fn elements_with_many_attributes_are_refused() {
        let attributes = |count: usize| {
            let all: String = (0..count).map(|number| format!(" a{number}='>'")).collect();
            format!("<a><b{all}>text</b></a>")
        };
        assert!(names(&attributes(MAX_ATTRIBUTES)).is_ok());
        assert_eq!(
            names(&attributes(MAX_ATTRIBUTES + 1)),
            Err(ReplyError::TooLarge)
        );
    }

    #[test]
    fn texts_of_the_server_are_shown_on_one_line() {
        assert_eq!(shown(" a\nb\u{1b}c "), "a b c");
        assert_eq!(shown(&"é".repeat(600)).chars().count(), MAX_SHOWN + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_refused(bytes: Vec<u8>) {
            let _ = Reply::to("CurrentTime", &bytes, |_| Ok(()));
        }

        #[test]
        fn anything_like_xml_is_a_reply_or_refused(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "<a>", "</a>", "<a b='", "'", "\"", "/>", ">", "<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "&amp;",
                "&#0;", "&#x41;", "&x;", "<!DOCTYPE", " xmlns='urn:x'", "text", "\u{e9}", "<", "xsi:type", "=", ":",
            ]), 0..60)
        ) {
            let document = pieces.concat();
            let _ = names(&document);
            let _ = Reply::to("a", enveloped(&document).as_bytes(), |_| Ok(()));
        }

        #[test]
        fn no_accepted_document_is_deeper_than_counted(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "<a>", "</a>", "<a b='>'>", "<a b='/>'>", "<b/>", "<b c=\"x>\"/>", "<!-- <a> -->", "<![CDATA[<a>]]>", "t",
            ]), 0..40)
        ) {
            let document = format!("<r>{}</r>", pieces.concat());
            let real = parse_document(document.as_bytes(), |root| {
                root.descendants().map(|node| node.ancestors().count() - 1).max().unwrap_or(0)
            });
            if let Ok(real) = real {
                prop_assert!(real <= extent(&document).depth + 1, "{document}");
            }
        }
    }
}
