//! Keeping a virtual machine where it is while it is read.

use super::client::CallError;
use super::envelope::Call;
use super::object::ManagedObject;
use super::session::{ApiType, Session};
use crate::error::{Refusal, Result};

/// What must not happen meanwhile.
const METHOD: &str = "RelocateVM_Task";

/// Why, for those who are refused.
const REASON: &str = "vsphere-nfc";

/// The longest identity in characters.
const MAX_IDENTITY: usize = 50;

impl Session {
    pub(crate) fn forbid_relocation(&self, vm: &ManagedObject, identity: &str) -> Result<()> {
        let call = Call::internal("DisableMethods", self.authorization_manager(identity)?)
            .object("entity", vm)
            .open("method")
            .text("method", METHOD)
            .text("reasonId", REASON)
            .close("method")
            .text("sourceId", identity);
        Ok(self.call(call, |_| Ok(()))?)
    }

    pub(crate) fn permit_relocation(&self, vm: &ManagedObject, identity: &str) -> Result<()> {
        let call = Call::internal("EnableMethods", self.authorization_manager(identity)?)
            .object("entity", vm)
            .text("method", METHOD)
            .text("sourceId", identity);
        self.call(call, |_| Ok(())).map_err(CallError::into)
    }

    fn authorization_manager(&self, identity: &str) -> Result<&ManagedObject> {
        if identity.is_empty() || identity.chars().count() > MAX_IDENTITY {
            return Err(Refusal::InvalidArgument("an identity has 1 to 50 characters").into());
        }
        let manager = self.content.authorization_manager.as_ref();
        manager
            .filter(|_| self.content.api_type == ApiType::VirtualCenter)
            .ok_or_else(|| Refusal::Unsupported("the server is not a vCenter").into())
    }
}
