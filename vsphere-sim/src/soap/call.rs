//! Every method, by what it is about.

mod changes;
mod fcd;
mod filter;
mod methods;
mod nfc;
mod property;
mod schema;
mod search;
mod service;
mod session;
mod snapshot;
mod view;

use std::sync::Arc;

use zeroize::Zeroizing;

use super::http::Request;
use super::request::{Arguments, Call};
use crate::injection::Injection;
use crate::site::Site;
use crate::vim::{Fault, Moref, Value};
use crate::world::Session;

/// What a method returns.
#[derive(Debug)]
pub(crate) enum Answer {
    Nothing,
    /// A value of the type that the schema says.
    Value(Value),
    /// A value of any type.
    Any(Value),
}

/// How a call ends.
type Outcome = Result<Answer, Fault>;

/// Carries out a method. The object that it is called on is known to be there.
type Handler = fn(&mut Caller<'_>, &Moref, Arguments<'_>) -> Outcome;

/// Which calls need no login.
const OPEN: [&str; 4] = ["RetrieveServiceContent", "Login", "CloneSession", "Fetch"];

fn handler(method: &str) -> Option<Handler> {
    Some(match method {
        "RetrieveServiceContent" => service::content,
        "RetrieveInternalContent" => service::internal_content,
        "CurrentTime" => service::current_time,
        "Login" => session::login,
        "Logout" => session::logout,
        "AcquireCloneTicket" => session::acquire_clone_ticket,
        "CloneSession" => session::clone_session,
        "SessionIsActive" => session::is_active,
        "NfcGetVmFiles" => nfc::vm_files,
        "NfcRandomAccessOpenDisk" => nfc::open_disk,
        "NfcRandomAccessOpenReadonly" => nfc::open_read_only,
        "NfcGetServerNfcLibVersion" => nfc::library_version,
        "RetrievePropertiesEx" => property::retrieve_ex,
        "RetrieveProperties" => property::retrieve,
        "ContinueRetrievePropertiesEx" | "CancelRetrievePropertiesEx" => property::no_more,
        "Fetch" => property::fetch,
        "CreateFilter" => filter::create,
        "DestroyPropertyFilter" => filter::destroy,
        "WaitForUpdatesEx" | "WaitForUpdates" | "CheckForUpdates" => filter::wait,
        "CancelWaitForUpdates" => filter::cancel,
        "CreateContainerView" => view::create,
        "DestroyView" => view::destroy,
        "CreateSnapshot_Task" => snapshot::create,
        "RemoveSnapshot_Task" => snapshot::remove,
        "RemoveAllSnapshots_Task" => snapshot::remove_all,
        "ReconfigVM_Task" => snapshot::reconfigure,
        "QueryChangedDiskAreas" => changes::of_vm,
        "VstorageObjectVCenterQueryChangedDiskAreas" => changes::of_fcd,
        "FindByUuid" => search::by_uuid,
        "FindByInventoryPath" => search::by_path,
        "FindByDatastorePath" => search::by_file,
        "DisableMethods" => methods::disable,
        "EnableMethods" => methods::enable,
        "RelocateVM_Task" => methods::relocate,
        "RetrieveVStorageObject" => fcd::retrieve,
        "ListVStorageObject" => fcd::list,
        "RetrieveSnapshotInfo" => fcd::snapshot_info,
        "RetrieveSnapshotDetails" => fcd::snapshot_details,
        _ => return None,
    })
}

/// Whether there is such a method.
pub(super) fn is_known(method: &str) -> bool {
    handler(method).is_some()
}

/// Who calls.
pub(super) struct Caller<'a> {
    site: &'a Arc<Site>,
    connection: u64,
    /// Where the client reached this server.
    address: String,
    cookie: Option<Zeroizing<String>>,
    /// The login of the cookie.
    session: Option<Session>,
    /// The cookie that the client gets.
    new_cookie: Option<Zeroizing<String>>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(site: &'a Arc<Site>, connection: u64, request: &Request) -> Self {
        let cookie = request.cookie.clone();
        Self {
            site,
            connection,
            address: request.address.clone(),
            session: cookie
                .as_ref()
                .and_then(|cookie| site.sessions.find(cookie)),
            cookie,
            new_cookie: None,
        }
    }

    /// The cookie that the call made.
    pub(super) fn new_cookie(&self) -> Option<&Zeroizing<String>> {
        self.new_cookie.as_ref()
    }

    pub(super) fn answer(&mut self, call: &Call<'_>) -> Outcome {
        let method = call.method();
        let this = call.this()?;
        let handler = handler(method).ok_or_else(|| Fault::method_not_found(&this, method))?;
        schema::check(call)?;
        if !self.is_open(method, &this) {
            if self
                .site
                .injected(self.connection, &Injection::SessionExpired)
            {
                self.site.sessions.end_all();
                self.session = None;
            }
            if self.session.is_none() {
                return Err(Fault::not_authenticated(&this));
            }
        }
        if this.kind == "VirtualMachine" {
            self.check_vm(&this)?;
        }
        if let Some(fault) = self.injected_fault(method) {
            return Err(fault);
        }
        handler(self, &this, call.arguments())
    }

    /// Whether the call needs no login.
    fn is_open(&self, method: &str, this: &Moref) -> bool {
        OPEN.contains(&method) && (method != "Fetch" || this.id == "ServiceInstance")
    }

    fn injected_fault(&self, method: &str) -> Option<Fault> {
        self.site
            .injections
            .happens(Some(self.connection), |injection| match injection {
                Injection::SoapFault {
                    method: wanted,
                    kind,
                } if wanted.is_empty() || wanted == method => Some(Fault::new(
                    kind.clone(),
                    format!("{kind}, as it was injected."),
                )),
                _ => None,
            })
    }

    /// Refuses ids that no machine has.
    fn check_vm(&self, vm: &Moref) -> Result<(), Fault> {
        let hidden = self.site.injected(self.connection, &Injection::UnknownVm);
        if hidden || self.site.world().machine(&vm.id).is_none() {
            return Err(Fault::not_found(vm));
        }
        Ok(())
    }

    /// The login, which is there where a method needs one.
    fn session(&self, this: &Moref) -> Result<&Session, Fault> {
        self.session
            .as_ref()
            .ok_or_else(|| Fault::not_authenticated(this))
    }

    /// Refuses those who may only look.
    fn may_change(&self, this: &Moref, privilege: &str) -> Result<(), Fault> {
        if self.session(this)?.read_only {
            return Err(Fault::no_permission(this, privilege));
        }
        Ok(())
    }
}
