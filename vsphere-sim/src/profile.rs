//! Which kind of server is simulated, and what it calls its things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which server a client sees: its versions, its names and its ways.
///
/// The names of the variants in files and on the command line are `esxi8-vcenter`, `esxi8-direct` and `esxi7-direct`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Profile {
    /// A vCenter 8 with ESXi 8 hosts: the management port is vCenter's, the data port the host's.
    #[default]
    #[serde(rename = "esxi8-vcenter")]
    Esxi8Vcenter,
    /// A single ESXi 8 host, logged in to directly.
    #[serde(rename = "esxi8-direct")]
    Esxi8Direct,
    /// A single ESXi 7.0.3 host, logged in to directly.
    #[serde(rename = "esxi7-direct")]
    Esxi7Direct,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 3] = [Self::Esxi8Vcenter, Self::Esxi8Direct, Self::Esxi7Direct];

    /// The name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Esxi8Vcenter => "esxi8-vcenter",
            Self::Esxi8Direct => "esxi8-direct",
            Self::Esxi7Direct => "esxi7-direct",
        }
    }

    /// Whether the management port is a vCenter's.
    #[must_use]
    pub fn is_vcenter(self) -> bool {
        self == Self::Esxi8Vcenter
    }

    /// The version of the NFC library: the answer to `NfcGetServerNfcLibVersion` and in the handshake, as observed by
    /// public clients against ESXi 8.0 and 7.0.3.
    pub(crate) fn nfc_version(self) -> u32 {
        match self {
            Self::Esxi8Vcenter | Self::Esxi8Direct => 11,
            Self::Esxi7Direct => 9,
        }
    }

    /// Whether the handshake's answer to the empty probe waits for the client's version, as observed on ESXi 7.0.3.
    pub(crate) fn delays_probe_reply(self) -> bool {
        self == Self::Esxi7Direct
    }

    /// The newest API version, and the older ones that are offered with it.
    pub(crate) fn api_versions(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Esxi8Vcenter | Self::Esxi8Direct => (
                "8.0.3.0",
                &["8.0.2.0", "8.0.1.0", "7.0.3.2", "7.0.3.0", "6.7"],
            ),
            Self::Esxi7Direct => ("7.0.3.2", &["7.0.3.0", "7.0.2.0", "7.0.0.0", "6.7"]),
        }
    }

    /// The product's version and build.
    pub(crate) fn product(self) -> (&'static str, &'static str) {
        match self {
            Self::Esxi8Vcenter | Self::Esxi8Direct => ("8.0.3", "24022510"),
            Self::Esxi7Direct => ("7.0.3", "21424296"),
        }
    }

    /// The `service` of a ticket, which the client asks the data port for.
    pub(crate) fn ticket_service(self) -> &'static str {
        if self.is_vcenter() { "vpxa-nfc" } else { "nfc" }
    }

    /// The ids of the objects that exist once.
    pub(crate) fn ids(self) -> &'static Ids {
        if self.is_vcenter() { &VCENTER } else { &ESXI }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No profile has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile {0:?}; there are esxi8-vcenter, esxi8-direct and esxi7-direct")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// The ids of the objects that exist once on a server, as in the vim25 schema's examples and public logs.
#[derive(Debug)]
pub(crate) struct Ids {
    pub(crate) root_folder: &'static str,
    pub(crate) property_collector: &'static str,
    pub(crate) view_manager: &'static str,
    pub(crate) session_manager: &'static str,
    pub(crate) authorization_manager: &'static str,
    pub(crate) search_index: &'static str,
    pub(crate) task_manager: &'static str,
    pub(crate) storage_objects: &'static str,
    pub(crate) nfc_service: &'static str,
}

const VCENTER: Ids = Ids {
    root_folder: "group-d1",
    property_collector: "propertyCollector",
    view_manager: "ViewManager",
    session_manager: "SessionManager",
    authorization_manager: "AuthorizationManager",
    search_index: "SearchIndex",
    task_manager: "TaskManager",
    storage_objects: "VStorageObjectManager",
    nfc_service: "nfcService",
};

const ESXI: Ids = Ids {
    root_folder: "ha-folder-root",
    property_collector: "ha-property-collector",
    view_manager: "ViewManager",
    session_manager: "ha-sessionmgr",
    authorization_manager: "ha-authmgr",
    search_index: "ha-searchindex",
    task_manager: "ha-taskmgr",
    storage_objects: "ha-vstorage-object-manager",
    nfc_service: "ha-nfc-service",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_profiles() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "esxi9".parse::<Profile>().expect_err("there is none");
        assert!(error.to_string().contains("esxi8-vcenter"), "{error}");
    }
}
