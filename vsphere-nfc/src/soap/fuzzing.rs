//! Reading answers without a server, for fuzz targets. Not part of the API.

use roxmltree::Node;

use super::fault::Fault;
use super::http::read_response;
use super::nfc::ticket;
use super::property::read_page;
use super::reply::{Reply, ReplyError};
use super::session::{ServiceContent, user_session};
use super::snapshot::{ChangedAreas, areas};
use super::version;
use super::vm::{VmDisk, disks};
use crate::error::Error;
use crate::ticket::Ticket;

/// What an answer was understood as.
#[derive(Debug)]
pub enum Understood {
    /// A version of the API.
    Version(String),
    /// What a server says about itself, or a session.
    Login,
    /// A ticket.
    Ticket(Ticket),
    /// Changed areas, asked for from 1 MiB on.
    Areas(ChangedAreas),
    /// The disks of a virtual machine.
    Disks(Vec<VmDisk>),
    /// A refusal.
    Fault(Error),
}

/// The methods whose answers [`read`] understands, behind the document of versions, which comes first.
pub const METHODS: [&str; 6] = [
    "",
    "RetrieveServiceContent",
    "Login",
    "NfcGetVmFiles",
    "QueryChangedDiskAreas",
    "RetrievePropertiesEx",
];

/// The body of the HTTP answer that a server sends as these bytes.
pub fn body(answer: &[u8]) -> Option<Vec<u8>> {
    let response = read_response(&mut { answer }).ok()?;
    Some(response.body.as_slice().to_vec())
}

/// Reads a document as the answer to one of [`METHODS`].
pub fn read(method: usize, document: &[u8]) -> Option<Understood> {
    let name = METHODS.get(method)?;
    if name.is_empty() {
        return version::choose(document).ok()?.map(Understood::Version);
    }
    let understood = Reply::to(name, document, |reply| match reply {
        Reply::Fault(fault) => Ok(Understood::Fault(fault.into())),
        Reply::Response(response) => value(name, response),
    });
    understood.ok()
}

fn value(name: &str, response: Node<'_, '_>) -> Result<Understood, ReplyError> {
    match name {
        "RetrieveServiceContent" => ServiceContent::of(response).map(|_| Understood::Login),
        "Login" => user_session(response).map(|_| Understood::Login),
        "NfcGetVmFiles" => ticket(response, "localhost").map(Understood::Ticket),
        "QueryChangedDiskAreas" => areas(response, 1 << 20).map(Understood::Areas),
        _ => {
            let mut found = Vec::new();
            let mut each = |path: &str, value: Node<'_, '_>| {
                if path == "config.hardware.device" {
                    found = disks(value)?;
                }
                Ok(())
            };
            match read_page(response, &mut each)?.missing {
                Some(fault) => Ok(Understood::Fault(Fault::into(fault))),
                None => Ok(Understood::Disks(found)),
            }
        }
    }
}
