//! Faults: what a server answers instead of a value.

use roxmltree::Node;

use super::object::ManagedObject;
use super::reply::{child, object, own_text, schema_type, shown, text};
use crate::error::{Cause, ErrorKind};

/// Properties of faults that say what the fault is about. None of them holds a secret.
const SUBJECTS: &[&str] = &[
    "invalidProperty",
    "file",
    "privilegeId",
    "sourceId",
    "source",
    "name",
];

/// A fault of the vim25 schema.
///
/// `Display` tells its type, what it is about, and the server's own text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub(crate) struct Fault {
    name: String,
    text: String,
    object: Option<ManagedObject>,
    subject: Option<String>,
}

impl Fault {
    /// The fault in a SOAP fault element. Whatever is missing in it is taken as empty.
    pub(super) fn of_soap(fault: Node<'_, '_>) -> Self {
        let text = text(fault, "faultstring").unwrap_or_default();
        let detail = child(fault, "detail").and_then(|detail| detail.first_element_child());
        match detail {
            Some(detail) => Self::of(detail, text),
            None => Self {
                name: String::new(),
                text: shown(text),
                object: None,
                subject: None,
            },
        }
    }

    /// The fault in the error of a task: a `fault` element, and a text beside it.
    pub(super) fn of_task(error: Node<'_, '_>) -> Self {
        let text = text(error, "localizedMessage").unwrap_or_default();
        Self::of(child(error, "fault").unwrap_or(error), text)
    }

    fn of(detail: Node<'_, '_>, text: &str) -> Self {
        let name = schema_type(detail).unwrap_or_else(|| {
            let name = detail.tag_name().name();
            name.strip_suffix("Fault").unwrap_or(name)
        });
        let subject = SUBJECTS
            .iter()
            .find_map(|name| child(detail, name).map(own_text))
            .filter(|subject| !subject.is_empty());
        Self {
            name: shown(name),
            text: shown(text),
            object: object(detail, "obj").or_else(|| object(detail, "object")),
            subject: subject.map(shown),
        }
    }

    /// Whether the session has ended, so that a new login may help.
    pub(super) fn ends_session(&self) -> bool {
        self.name == "NotAuthenticated"
    }

    /// Whether the server does not know the method.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.kind() == ErrorKind::Unsupported
    }

    fn sentence(&self) -> String {
        let name = match self.name.as_str() {
            "" => "a fault without a type",
            name => name,
        };
        let mut sentence = format!("the server answers with {name}");
        if let Some(subject) = &self.subject {
            sentence.push_str(&format!(" about {subject}"));
        }
        if let Some(object) = &self.object {
            sentence.push_str(&format!(" on {object}"));
        }
        if !self.text.is_empty() {
            sentence.push_str(": ");
            sentence.push_str(&self.text);
        }
        sentence
    }

    /// Faults about maintenance have no type of their own in all releases.
    fn maintenance(&self) -> Option<ErrorKind> {
        let text = self.text.to_ascii_lowercase();
        let told = self.name.contains("Maintenance") || text.contains("maintenance");
        let entering = self.name.starts_with("Entering") || text.contains("entering");
        told.then_some(if entering {
            ErrorKind::HostEnteringMaintenance
        } else {
            ErrorKind::HostInMaintenance
        })
    }
}

impl Cause for Fault {
    fn kind(&self) -> ErrorKind {
        match self.name.as_str() {
            "InvalidLogin" | "NoClientCertificate" | "InvalidLocale" => ErrorKind::LoginFailed,
            "NotAuthenticated" => ErrorKind::NotAuthenticated,
            "NoPermission" | "RestrictedVersion" | "RestrictedByAdministrator" => {
                ErrorKind::PermissionDenied
            }
            "ManagedObjectNotFound" => match self.object.as_ref().map(ManagedObject::kind) {
                Some("VirtualMachine") => ErrorKind::VmNotFound,
                _ => ErrorKind::ObjectNotFound,
            },
            "NotFound" => ErrorKind::ObjectNotFound,
            "InvalidArgument" | "InvalidName" | "InvalidType" => ErrorKind::InvalidArgument,
            "InvalidRequest" | "MethodNotFound" | "NotSupported" | "NotImplemented" => {
                ErrorKind::Unsupported
            }
            "FileNotFound" | "FileFault" | "InvalidDatastorePath" => ErrorKind::FileNotFound,
            "FileLocked" => ErrorKind::AlreadyLocked,
            "MethodAlreadyDisabledFault" | "MethodAlreadyDisabled" | "MethodDisabled" => {
                ErrorKind::Busy
            }
            "HostNotConnected" | "HostCommunication" | "HostNotReachable" => {
                self.maintenance().unwrap_or(ErrorKind::HostNotConnected)
            }
            _ => self.maintenance().unwrap_or(ErrorKind::Failed),
        }
    }

    fn fault(&self) -> Option<&str> {
        Some(&self.name)
            .filter(|name| !name.is_empty())
            .map(String::as_str)
    }

    fn server_text(&self) -> Option<&str> {
        Some(&self.text)
            .filter(|text| !text.is_empty())
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::reply::Reply;

    fn fault(detail: &str, text: &str) -> Fault {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
             xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body><soapenv:Fault>\
             <faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring>{detail}\
             </soapenv:Fault></soapenv:Body></soapenv:Envelope>"
        );
        Reply::to("Login", document.as_bytes(), |reply| match reply {
            Reply::Fault(fault) => Ok(fault),
            Reply::Response(other) => panic!("{other:?}"),
        })
        .expect("a fault")
    }

    /// The detail of a fault as servers write it.
    fn detail(name: &str, content: &str) -> String {
        format!(
            "<detail><{name}Fault xmlns=\"urn:vim25\" xsi:type=\"{name}\">{content}</{name}Fault></detail>"
        )
    }

    #[test]
    fn a_wrong_password_is_told() {
        let text = "Cannot complete login due to an incorrect user name or password.";
        let fault = fault(&detail("InvalidLogin", ""), text);
        assert_eq!(fault.kind(), ErrorKind::LoginFailed);
        assert_eq!(
            fault.to_string(),
            format!("the server answers with InvalidLogin: {text}")
        );
    }

    #[test]
    fn each_fault_has_its_kind() {
        let vm = "<obj type=\"VirtualMachine\">vm-9</obj>";
        let service = "<obj type=\"NfcService\">nfcService</obj>";
        for (name, content, kind) in [
            (
                "NotAuthenticated",
                "<privilegeId>x</privilegeId>",
                ErrorKind::NotAuthenticated,
            ),
            (
                "NoPermission",
                "<object type=\"Folder\">g</object>",
                ErrorKind::PermissionDenied,
            ),
            ("ManagedObjectNotFound", vm, ErrorKind::VmNotFound),
            ("ManagedObjectNotFound", service, ErrorKind::ObjectNotFound),
            (
                "InvalidArgument",
                "<invalidProperty>changeId</invalidProperty>",
                ErrorKind::InvalidArgument,
            ),
            ("InvalidRequest", "", ErrorKind::Unsupported),
            ("MethodNotFound", "", ErrorKind::Unsupported),
            (
                "FileNotFound",
                "<file>[ds] a.vmdk</file>",
                ErrorKind::FileNotFound,
            ),
            (
                "FileFault",
                "<file>[ds] a.vmdk</file>",
                ErrorKind::FileNotFound,
            ),
            ("FileLocked", "", ErrorKind::AlreadyLocked),
            ("NotFound", "", ErrorKind::ObjectNotFound),
            (
                "MethodAlreadyDisabledFault",
                "<sourceId>me</sourceId>",
                ErrorKind::Busy,
            ),
            ("MethodDisabled", "<source>me</source>", ErrorKind::Busy),
            ("InvalidState", "", ErrorKind::Failed),
            ("TaskInProgress", "", ErrorKind::Failed),
            ("HostNotConnected", "", ErrorKind::HostNotConnected),
            ("HostCommunication", "", ErrorKind::HostNotConnected),
            ("SomethingOfNextYear", "", ErrorKind::Failed),
        ] {
            let fault = fault(&detail(name, content), "text");
            assert_eq!(fault.kind(), kind, "{name}");
            assert_eq!(Cause::fault(&fault), Some(name));
        }
    }

    #[test]
    fn faults_name_what_they_are_about() {
        let missing = fault(
            &detail(
                "ManagedObjectNotFound",
                "<obj type=\"VirtualMachine\">vm-9</obj>",
            ),
            "gone",
        );
        assert_eq!(
            missing.to_string(),
            "the server answers with ManagedObjectNotFound on VirtualMachine:vm-9: gone"
        );
        let file = fault(&detail("FileNotFound", "<file>[ds] a.vmdk</file>"), "");
        assert_eq!(
            file.to_string(),
            "the server answers with FileNotFound about [ds] a.vmdk"
        );
    }

    #[test]
    fn types_may_carry_a_prefix_or_only_a_name() {
        let prefixed =
            "<detail><x:NotFoundFault xmlns:x=\"urn:vim25\" xsi:type=\"x:NotFound\"/></detail>";
        let named = "<detail><NotFoundFault xmlns=\"urn:vim25\"/></detail>";
        for detail in [prefixed, named] {
            assert_eq!(fault(detail, "").name, "NotFound");
        }
        let bare = fault("", "no detail");
        assert_eq!((bare.kind(), bare.name.as_str()), (ErrorKind::Failed, ""));
    }

    #[test]
    fn maintenance_is_told_by_type_or_text() {
        for (name, text, kind) in [
            (
                "InvalidState",
                "The host is in maintenance mode.",
                ErrorKind::HostInMaintenance,
            ),
            (
                "InvalidState",
                "The host is entering maintenance mode.",
                ErrorKind::HostEnteringMaintenance,
            ),
            ("HostInMaintenanceMode", "", ErrorKind::HostInMaintenance),
        ] {
            assert_eq!(fault(&detail(name, ""), text).kind(), kind, "{name} {text}");
        }
    }
}
