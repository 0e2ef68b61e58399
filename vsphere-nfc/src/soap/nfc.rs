//! The service that gives tickets for disks. It is no part of the public API; how it answers was observed by public
//! clients against ESXi 7 and 8.

use roxmltree::Node;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::CallError;
use super::envelope::Call;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, number, object, required, text};
use super::session::{Session, service_instance};
use crate::secret::Secret;
use crate::ticket::{Ticket, USUAL_PORT};
use crate::tls::Pin;

/// The longest accepted field of a ticket in bytes. Each has to fit into one line of the authentication daemon.
const MAX_FIELD: usize = 512;

impl Session {
    /// The service that gives tickets. Its id differs between vCenter and ESXi.
    pub(crate) fn nfc_service(&self) -> Result<ManagedObject, CallError> {
        let call = Call::new("RetrieveInternalContent", &service_instance());
        self.call(call, |response| {
            let content = child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
            object(content, "nfcService").ok_or(ReplyError::Missing("nfcService"))
        })
    }

    /// A ticket for reading all disks of a virtual machine.
    pub(crate) fn vm_ticket(
        &self,
        service: &ManagedObject,
        vm: &ManagedObject,
    ) -> Result<Ticket, CallError> {
        let call = Call::new("NfcGetVmFiles", service).object("vm", vm);
        self.call(call, |response| ticket(response, self.host()))
    }

    /// A ticket for one disk of a virtual machine.
    pub(crate) fn disk_ticket(
        &self,
        service: &ManagedObject,
        vm: &ManagedObject,
        key: i32,
        host: Option<&ManagedObject>,
        writable: bool,
    ) -> Result<Ticket, CallError> {
        let method = if writable {
            "NfcRandomAccessOpenDisk"
        } else {
            "NfcRandomAccessOpenReadonly"
        };
        let mut call = Call::new(method, service)
            .object("vm", vm)
            .text("diskDeviceKey", &key.to_string());
        if let Some(host) = host {
            call = call.object("hostForAccess", host);
        }
        self.call(call, |response| ticket(response, self.host()))
    }

    /// The version of the disk service of a host: 11 on ESXi 8, less on older ones.
    pub(crate) fn nfc_version(
        &self,
        service: &ManagedObject,
        host: &ManagedObject,
    ) -> Result<i32, CallError> {
        let call = Call::new("NfcGetServerNfcLibVersion", service).object("hostForAccess", host);
        self.call(call, |response| number(response, "returnval"))
    }
}

/// Reads a ticket. Whatever goes into a line of text later must not be able to end that line.
pub(super) fn ticket(response: Node<'_, '_>, login_host: &str) -> Result<Ticket, ReplyError> {
    let ticket = child(response, "returnval").ok_or(ReplyError::Missing("returnval"))?;
    let port = match text(ticket, "port").filter(|port| !port.is_empty()) {
        Some(_) => number(ticket, "port")?,
        None => USUAL_PORT,
    };
    let word = |name| {
        let word = required(ticket, name)?;
        let legal = word.len() <= MAX_FIELD && word.bytes().all(|byte| byte.is_ascii_graphic());
        legal
            .then(|| word.to_owned())
            .ok_or(ReplyError::Broken(name))
    };
    let host = match text(ticket, "host").filter(|host| !host.is_empty()) {
        Some(_) => word("host")?,
        None => login_host.to_owned(),
    };
    Ok(Ticket {
        host,
        port,
        pin: pin(ticket)?,
        service: word("service")?,
        session: Secret::new(word("sessionId")?),
    })
}

/// The certificate that the host will present. Without one nobody could tell the host from an impostor.
fn pin(ticket: Node<'_, '_>) -> Result<Pin, ReplyError> {
    if let Some(thumbprint) = text(ticket, "sslThumbprint").filter(|text| !text.is_empty()) {
        let thumbprint = thumbprint.parse();
        return thumbprint
            .map(Pin::Thumbprint)
            .map_err(|_| ReplyError::Broken("sslThumbprint"));
    }
    let pem = text(ticket, "sslCertificate").ok_or(ReplyError::Missing("sslThumbprint"))?;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map(Pin::Certificate)
        .map_err(|_| ReplyError::Broken("sslCertificate"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::reply::parse_document;
    use crate::tls::Thumbprint;

    const THUMBPRINT: &str = "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";

    fn read(fields: &str) -> Result<Ticket, ReplyError> {
        let document = format!("<r><returnval>{fields}</returnval></r>");
        parse_document(document.as_bytes(), |root| ticket(root, "vc.test"))?
    }

    #[test]
    fn a_ticket_of_a_vcenter_names_the_host() {
        let ticket = read(&format!(
            "<host>esx1.test</host><port>902</port><sslThumbprint>{THUMBPRINT}</sslThumbprint>\
             <service>vpxa-nfc</service><serviceVersion>1.1</serviceVersion><sessionId>52-a b</sessionId>"
        ));
        assert_eq!(
            ticket.expect_err("a space"),
            ReplyError::Broken("sessionId")
        );
        let ticket = read(&format!(
            "<host>esx1.test</host><port>1902</port><sslThumbprint>{THUMBPRINT}</sslThumbprint>\
             <service>vpxa-nfc</service><serviceVersion>1.1</serviceVersion><sessionId>52-ab</sessionId>"
        ))
        .expect("a ticket");
        assert_eq!(
            (ticket.host(), ticket.port(), ticket.service()),
            ("esx1.test", 1902, "vpxa-nfc")
        );
        assert_eq!(ticket.session.expose(), "52-ab");
        assert_eq!(ticket.pin, Pin::Thumbprint(Thumbprint::sha1_of(b"")));
        assert!(!format!("{ticket:?}").contains("52-ab"));
    }

    #[test]
    fn a_ticket_of_a_host_is_for_the_host_itself() {
        let ticket = read(&format!(
            "<sslThumbprint>{THUMBPRINT}</sslThumbprint><service>nfc</service><sessionId>1</sessionId>"
        ))
        .expect("a ticket");
        assert_eq!((ticket.host(), ticket.port()), ("vc.test", 902));
    }

    #[test]
    fn tickets_without_a_certificate_or_with_line_ends_are_refused() {
        for (fields, error) in [
            (
                "<service>nfc</service><sessionId>1</sessionId>".to_owned(),
                ReplyError::Missing("sslThumbprint"),
            ),
            (
                "<sslThumbprint>12</sslThumbprint><service>nfc</service><sessionId>1</sessionId>"
                    .to_owned(),
                ReplyError::Broken("sslThumbprint"),
            ),
            (
                format!(
                    "<sslThumbprint>{THUMBPRINT}</sslThumbprint><service>nfc&#13;&#10;x</service><sessionId>1</sessionId>"
                ),
                ReplyError::Broken("service"),
            ),
            (
                format!(
                    "<port>70000</port><sslThumbprint>{THUMBPRINT}</sslThumbprint><service>nfc</service><sessionId>1</sessionId>"
                ),
                ReplyError::Broken("port"),
            ),
            (
                format!("<sslThumbprint>{THUMBPRINT}</sslThumbprint><service>nfc</service>"),
                ReplyError::Missing("sessionId"),
            ),
        ] {
            assert_eq!(read(&fields).expect_err(&fields), error);
        }
    }
}
