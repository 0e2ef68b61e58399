//! Reading properties of objects.

use roxmltree::Node;

use super::client::CallError;
use super::envelope::Call;
use super::fault::Fault;
use super::object::ManagedObject;
use super::reply::{ReplyError, child, children, required, text};
use super::session::Session;

/// How many pages an answer may have.
const MAX_PAGES: usize = 1000;

/// One page of an answer.
pub(super) struct Page {
    /// Names the next page.
    token: Option<String>,
    /// Why a property is not there.
    pub(super) missing: Option<Fault>,
}

impl Session {
    /// Reads properties of one object: `each` is given the path and the value of every property that is set, in no
    /// order.
    pub(super) fn properties(
        &self,
        object: &ManagedObject,
        paths: &[&'static str],
        mut each: impl FnMut(&str, Node<'_, '_>) -> Result<(), ReplyError>,
    ) -> Result<(), CallError> {
        let collector = &self.content.property_collector;
        let mut call = Call::new("RetrievePropertiesEx", collector)
            .open("specSet")
            .open("propSet")
            .text("type", object.kind());
        for path in paths {
            call = call.text("pathSet", path);
        }
        let call = call
            .close("propSet")
            .open("objectSet")
            .object("obj", object)
            .close("objectSet")
            .close("specSet")
            .open("options")
            .close("options");
        let mut page = self.call(call, |response| read_page(response, &mut each))?;
        for _ in 0..MAX_PAGES {
            if let Some(fault) = page.missing {
                return Err(fault.into());
            }
            let Some(token) = page.token else {
                return Ok(());
            };
            let call = Call::new("ContinueRetrievePropertiesEx", collector).text("token", &token);
            page = self.call(call, |response| read_page(response, &mut each))?;
        }
        Err(ReplyError::TooLarge.into())
    }
}

pub(super) fn read_page(
    response: Node<'_, '_>,
    each: &mut impl FnMut(&str, Node<'_, '_>) -> Result<(), ReplyError>,
) -> Result<Page, ReplyError> {
    let mut page = Page {
        token: None,
        missing: None,
    };
    let Some(value) = child(response, "returnval") else {
        return Ok(page);
    };
    page.token = text(value, "token")
        .filter(|token| !token.is_empty())
        .map(str::to_owned);
    for object in children(value, "objects") {
        for property in children(object, "propSet") {
            let path = required(property, "name")?;
            let value = child(property, "val").ok_or(ReplyError::Missing("val"))?;
            each(path, value)?;
        }
        page.missing = page.missing.or_else(|| {
            let missing = child(object, "missingSet")?;
            child(missing, "fault").map(Fault::of_task)
        });
    }
    Ok(page)
}
