//! What a connection is for.

use std::ffi::CString;

use super::{filled, given, refused, text};
use crate::error::Result;

/// Which machine or disk a connection is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spec {
    /// Disks in files of this machine; no server, no credentials.
    #[default]
    Local,
    /// A virtual machine by its managed object reference, such as `vm-16` on vCenter or `2` on ESXi, which have
    /// nothing to do with each other.
    Vm {
        /// The managed object reference, without the prefix `moref=`.
        moref: String,
    },
    /// A virtual machine by the place of its configuration file, the older form. Prefer [`Vm`](Self::Vm): names may
    /// change.
    Vmx {
        /// The path of the file in its datastore, such as `web/web.vmx`. No `?`.
        path: String,
        /// The inventory path of the datacenter, such as `Europe/Berlin`. No `&`.
        datacenter: String,
        /// The name of the datastore. No `&`.
        datastore: String,
    },
    /// A first class disk. VDDK 6.7 and later. Open it with [`Connection::open_fcd`](crate::Connection::open_fcd).
    Fcd {
        /// The id of the disk.
        id: String,
        /// The managed object reference of its datastore, such as `datastore-11`.
        datastore: String,
        /// The id of a snapshot of the disk.
        snapshot: Option<String>,
    },
    /// A folder of a datastore. VDDK 8.0.1 and later; its release notes are the only source for it.
    Datastore {
        /// The managed object reference of the datastore.
        datastore: String,
        /// The folder of the disk.
        folder: String,
    },
}

impl Spec {
    /// What the text of a `vmxSpec` names.
    pub(super) fn from_vmx_spec(text: &str) -> Option<Self> {
        if let Some(moref) = text.strip_prefix("moref=") {
            return Some(Self::Vm {
                moref: moref.to_owned(),
            });
        }
        let (path, place) = text.split_once("?dcPath=")?;
        let (datacenter, datastore) = place.split_once("&dsName=")?;
        Some(Self::Vmx {
            path: path.to_owned(),
            datacenter: datacenter.to_owned(),
            datastore: datastore.to_owned(),
        })
    }
}

/// A [`Spec`] as the C strings that the library takes.
#[derive(Clone, Debug)]
pub(crate) enum SpecText {
    /// All null: files of this machine, or a server without anything on it.
    Nothing,
    Vmx(CString),
    Fcd {
        id: CString,
        datastore: CString,
        snapshot: Option<CString>,
    },
    Datastore {
        datastore: CString,
        folder: CString,
    },
}

impl SpecText {
    pub(super) fn new(spec: Spec) -> Result<Self> {
        Ok(match spec {
            Spec::Local => Self::Nothing,
            Spec::Vm { moref } => {
                let moref = given("the VM's moref", moref)?;
                if moref.contains('=') {
                    return Err(refused("the VM's moref comes without \"moref=\""));
                }
                Self::Vmx(text("the VM's moref", format!("moref={moref}"))?)
            }
            Spec::Vmx {
                path,
                datacenter,
                datastore,
            } => {
                let path = without('?', "the path of the VM's configuration file", path)?;
                let datacenter = without('&', "the path of the datacenter", datacenter)?;
                let datastore = without('&', "the name of the datastore", datastore)?;
                if !path.ends_with(".vmx") {
                    return Err(refused("the VM's configuration file is no .vmx file"));
                }
                let spec = format!("{path}?dcPath={datacenter}&dsName={datastore}");
                Self::Vmx(text("the place of the VM's configuration file", spec)?)
            }
            Spec::Fcd {
                id,
                datastore,
                snapshot,
            } => Self::Fcd {
                id: filled("the disk's id", id)?,
                datastore: filled("the datastore's moref", datastore)?,
                snapshot: snapshot
                    .map(|id| filled("the snapshot's id", id))
                    .transpose()?,
            },
            Spec::Datastore { datastore, folder } => Self::Datastore {
                datastore: filled("the datastore's moref", datastore)?,
                folder: filled("the disk's folder", folder)?,
            },
        })
    }
}

/// `value`, if it is not empty and free of the character that ends it for the library.
fn without(end: char, what: &str, value: String) -> Result<String> {
    let value = given(what, value)?;
    if value.contains(end) {
        return Err(refused(format!(
            "{what} contains {end:?}, which the library cannot take there"
        )));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    fn vmx(path: &str, datacenter: &str, datastore: &str) -> Spec {
        Spec::Vmx {
            path: path.to_owned(),
            datacenter: datacenter.to_owned(),
            datastore: datastore.to_owned(),
        }
    }

    fn vmx_spec(spec: Spec) -> String {
        match SpecText::new(spec).expect("legal") {
            SpecText::Vmx(text) => text.into_string().expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn machines_are_named_in_two_ways() {
        let moref = "vm-16".to_owned();
        assert_eq!(vmx_spec(Spec::Vm { moref }), "moref=vm-16");
        assert_eq!(
            vmx_spec(vmx("web 1/web 1.vmx", "Europe/Berlin", "ssd 1")),
            "web 1/web 1.vmx?dcPath=Europe/Berlin&dsName=ssd 1"
        );
    }

    #[test]
    fn what_the_library_would_misread_is_refused() {
        let moref = |moref: &str| Spec::Vm {
            moref: moref.to_owned(),
        };
        for spec in [
            moref(""),
            moref("moref=vm-16"),
            moref("vm\0"),
            vmx("web.vmx?", "dc", "ds"),
            vmx("web/web.vmdk", "dc", "ds"),
            vmx("", "dc", "ds"),
            vmx("web.vmx", "", "ds"),
            vmx("web.vmx", "a&b", "ds"),
            vmx("web.vmx", "dc", "a&b"),
            vmx("web.vmx", "dc", ""),
            vmx("web.vmx", "d\0c", "ds"),
        ] {
            let error = SpecText::new(spec.clone()).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{spec:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_sent_is_recognised(path in "[^?\0]{0,20}\\.vmx", dc in "[^&\0]{1,20}", ds in "[^&\0]{1,20}") {
            prop_assume!(!path.starts_with("moref="));
            let spec = vmx(&path, &dc, &ds);
            prop_assert_eq!(Spec::from_vmx_spec(&vmx_spec(spec.clone())), Some(spec));
        }
    }
}
