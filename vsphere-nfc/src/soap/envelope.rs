//! Writing a SOAP request.

use super::object::ManagedObject;
use crate::secret::WipedBytes;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>";
const TAIL: &str = "</soapenv:Body></soapenv:Envelope>";

/// The namespace of nearly all calls.
const VIM: &str = "urn:vim25";

/// The namespace of calls that are no part of the public API.
const INTERNAL: &str = "urn:internalvim25";

/// The text holds a character that XML cannot carry, such as NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} holds a character that XML cannot carry")]
pub(crate) struct IllegalText(pub(crate) &'static str);

/// A call of a method, and the arguments so far. They are written in the order of the schema, which strict servers
/// insist on.
#[derive(Debug)]
pub(crate) struct Call {
    method: &'static str,
    text: WipedBytes,
    illegal: Option<IllegalText>,
    once: bool,
    begins_session: bool,
}

impl Call {
    pub(crate) fn new(method: &'static str, this: &ManagedObject) -> Self {
        Self::within(VIM, method, this)
    }

    /// A call that is no part of the public API.
    pub(crate) fn internal(method: &'static str, this: &ManagedObject) -> Self {
        Self::within(INTERNAL, method, this)
    }

    fn within(namespace: &str, method: &'static str, this: &ManagedObject) -> Self {
        let mut text = WipedBytes::with_capacity(2048);
        for piece in [HEAD, "<", method, " xmlns=\"", namespace, "\">"] {
            text.push(piece);
        }
        let call = Self {
            method,
            text,
            illegal: None,
            once: false,
            begins_session: false,
        };
        call.object("_this", this)
    }

    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    /// The call must not be carried out twice: it makes something.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    pub(crate) fn is_once(&self) -> bool {
        self.once
    }

    /// The call is a login: the answer brings the cookie of a new session.
    pub(crate) fn login(mut self) -> Self {
        self.begins_session = true;
        self
    }

    pub(crate) fn begins_session(&self) -> bool {
        self.begins_session
    }

    /// A reference to an object.
    pub(crate) fn object(mut self, name: &'static str, object: &ManagedObject) -> Self {
        for piece in ["<", name, " type=\""] {
            self.text.push(piece);
        }
        self.escape(name, object.kind());
        self.text.push("\">");
        self.escape(name, object.id());
        self.close(name)
    }

    /// An element that holds text, or a number.
    pub(crate) fn text(self, name: &'static str, text: &str) -> Self {
        let mut call = self.open(name);
        call.escape(name, text);
        call.close(name)
    }

    /// Begins an element that holds others.
    pub(crate) fn open(mut self, name: &'static str) -> Self {
        for piece in ["<", name, ">"] {
            self.text.push(piece);
        }
        self
    }

    /// Ends an element.
    pub(crate) fn close(mut self, name: &'static str) -> Self {
        for piece in ["</", name, ">"] {
            self.text.push(piece);
        }
        self
    }

    /// The whole request.
    pub(crate) fn finish(self) -> Result<WipedBytes, IllegalText> {
        let method = self.method;
        let mut call = self.close(method);
        call.text.push(TAIL);
        match call.illegal {
            Some(illegal) => Err(illegal),
            None => Ok(call.text),
        }
    }

    fn escape(&mut self, name: &'static str, text: &str) {
        let mut utf8 = [0; 4];
        for character in text.chars() {
            match character {
                '&' => self.text.push("&amp;"),
                '<' => self.text.push("&lt;"),
                '>' => self.text.push("&gt;"),
                '"' => self.text.push("&quot;"),
                // Parsers would read it as a line feed.
                '\r' => self.text.push("&#13;"),
                '\0'..'\t' | '\x0b' | '\x0c' | '\x0e'..' ' | '\u{fffe}' | '\u{ffff}' => {
                    self.illegal.get_or_insert(IllegalText(name));
                }
                other => self.text.push(other.encode_utf8(&mut utf8)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::soap::reply::Reply;

    fn service() -> ManagedObject {
        ManagedObject::new("SessionManager", "SM")
    }

    #[test]
    fn a_login_is_the_document_that_servers_expect() {
        let request = Call::new("Login", &service())
            .text("userName", "dom\\me")
            .text("password", "a&b<c>\"'")
            .finish()
            .expect("legal");
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
            xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
            <Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">SM</_this>\
            <userName>dom\\me</userName><password>a&amp;b&lt;c&gt;&quot;'</password></Login>\
            </soapenv:Body></soapenv:Envelope>";
        assert_eq!(std::str::from_utf8(request.as_slice()), Ok(expected));
    }

    #[test]
    fn some_calls_have_a_namespace_of_their_own() {
        let request = Call::internal("EnableMethods", &service())
            .finish()
            .expect("legal");
        let text = String::from_utf8_lossy(request.as_slice()).into_owned();
        assert!(text.contains("<EnableMethods xmlns=\"urn:internalvim25\"><_this "));
    }

    #[test]
    fn what_xml_cannot_carry_is_refused_without_being_shown() {
        for text in ["a\0b", "\x1b", "\u{ffff}"] {
            let refused = Call::new("Login", &service())
                .text("password", text)
                .finish();
            assert_eq!(refused.expect_err("illegal"), IllegalText("password"));
        }
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_was(text in "\\PC*[\r\n\t ]*\\PC*") {
            let request = Call::new("returnval", &service()).text("x", &text).finish().expect("legal");
            let arrived = Reply::parse(request.as_slice(), |body| {
                let call = body.first_element_child().expect("the call");
                call.last_element_child().expect("the argument").text().unwrap_or_default().to_owned()
            });
            prop_assert_eq!(arrived, Ok(text));
        }
    }
}
