//! What a client asks: one call, taken out of its envelope.

use roxmltree::{Document, Node, ParsingOptions};

use crate::vim::{Fault, Moref};

/// A document may have so many elements and texts.
const MAX_NODES: u32 = 20_000;
/// The namespace of envelopes.
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The text of a request is no call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the body is not valid XML: {0}")]
    Xml(#[from] roxmltree::Error),
    #[error("the body is not text")]
    Text,
    #[error("the body has no SOAP call")]
    NoCall,
}

/// Reads a body. There are no external entities, and no document type definitions at all.
pub(crate) fn document(body: &[u8]) -> Result<Document<'_>, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|_| BadRequest::Text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    Ok(Document::parse_with_options(text, options)?)
}

/// A call of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    node: Node<'a, 'a>,
}

impl<'a> Call<'a> {
    /// The call in an envelope. Namespaces of the call itself are not looked at: clients use several.
    pub(crate) fn of(document: &'a Document<'a>) -> Result<Self, BadRequest> {
        let envelope = document.root_element();
        let is = |node: &Node<'a, 'a>, name| {
            node.tag_name().name() == name && node.tag_name().namespace() == Some(SOAP)
        };
        if !is(&envelope, "Envelope") {
            return Err(BadRequest::NoCall);
        }
        let body = envelope.children().find(|node| is(node, "Body"));
        let call = body.and_then(|body| body.children().find(Node::is_element));
        Ok(Self {
            node: call.ok_or(BadRequest::NoCall)?,
        })
    }

    /// The method.
    pub(crate) fn method(&self) -> &'a str {
        self.node.tag_name().name()
    }

    /// The object that it is called on.
    pub(crate) fn this(&self) -> Result<Moref, Fault> {
        self.arguments().moref("_this")
    }

    pub(crate) fn arguments(&self) -> Arguments<'a> {
        Arguments(self.node)
    }
}

/// The fields of a call or of a value in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a>(Node<'a, 'a>);

impl<'a> Arguments<'a> {
    pub(crate) fn all(self, name: &'a str) -> impl Iterator<Item = Arguments<'a>> {
        let named = move |node: &Node<'a, 'a>| node.is_element() && node.tag_name().name() == name;
        self.0.children().filter(named).map(Arguments)
    }

    /// The names of all fields, in their order.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        let elements = self.0.children().filter(Node::is_element);
        elements.map(|node| node.tag_name().name())
    }

    pub(crate) fn find(self, name: &'a str) -> Option<Arguments<'a>> {
        self.all(name).next()
    }

    pub(crate) fn get(self, name: &'a str) -> Result<Arguments<'a>, Fault> {
        self.find(name).ok_or_else(|| Fault::invalid_argument(name))
    }

    /// The text in this element.
    pub(crate) fn content(self) -> &'a str {
        self.0.text().unwrap_or_default().trim()
    }

    /// The text as it is, for passwords.
    pub(crate) fn verbatim(self) -> &'a str {
        self.0.text().unwrap_or_default()
    }

    pub(crate) fn text(self, name: &'a str) -> Result<&'a str, Fault> {
        self.get(name).map(Self::content)
    }

    pub(crate) fn as_moref(self) -> Moref {
        Moref::new(self.0.attribute("type").unwrap_or_default(), self.content())
    }

    pub(crate) fn moref(self, name: &'a str) -> Result<Moref, Fault> {
        self.get(name).map(Self::as_moref)
    }

    /// Missing is false.
    pub(crate) fn flag(self, name: &'a str) -> bool {
        self.find(name)
            .is_some_and(|node| matches!(node.content(), "true" | "1"))
    }

    pub(crate) fn number<T: std::str::FromStr>(self, name: &'a str) -> Result<T, Fault> {
        self.text(name)?
            .parse()
            .map_err(|_| Fault::invalid_argument(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(call: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><e:Envelope xmlns:e=\"{SOAP}\"><e:Body>{call}</e:Body></e:Envelope>"
        )
    }

    #[test]
    fn a_call_is_taken_out_of_its_envelope() {
        let text = envelope(
            "<Login xmlns=\"urn:vim25\"><_this versionId=\"8.0.3.0\" type=\"SessionManager\">SM</_this>\
             <userName>a&amp;b</userName><n>7</n><yes>true</yes></Login>",
        );
        let document = document(text.as_bytes()).expect("it is XML");
        let call = Call::of(&document).expect("it has a call");
        assert_eq!(call.method(), "Login");
        assert_eq!(
            call.this().expect("it has one"),
            Moref::new("SessionManager", "SM")
        );
        let arguments = call.arguments();
        assert_eq!(arguments.text("userName").expect("it has one"), "a&b");
        assert_eq!(arguments.number::<i32>("n").expect("it has one"), 7);
        assert!(arguments.flag("yes") && !arguments.flag("no"));
        assert!(arguments.number::<u8>("userName").is_err());
        assert!(arguments.moref("none").is_err());
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for body in [
            "",
            "<a",
            "<a/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        ] {
            let refused =
                document(body.as_bytes()).map_or(true, |document| Call::of(&document).is_err());
            assert!(refused, "{body}");
        }
        let empty = envelope("");
        assert!(Call::of(&document(empty.as_bytes()).expect("it is XML")).is_err());
        assert!(document(&[0xff]).is_err());
    }

    #[test]
    fn a_document_with_too_many_elements_is_refused() {
        let text = envelope(&"<a/>".repeat(20_001));
        assert!(document(text.as_bytes()).is_err());
    }
}
