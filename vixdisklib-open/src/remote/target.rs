//! What a connection is for: a virtual machine, or a first class disk.

use vixdisklib_sys::{VixDiskLibSpecType, VixError};
use vsphere_nfc::{FcdSpec, Host, ManagedObject, VmSpec};

use super::error::failure;
use super::parameters::{optional, required};
use crate::error::Failure;
use crate::params::{ConnectParams, Spec};

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Vm(VmSpec),
    Fcd(FcdSpec),
}

impl Target {
    pub(super) fn new(params: &ConnectParams) -> Result<Self, Failure> {
        match &params.spec {
            Spec::StorageObject {
                id,
                datastore,
                snapshot,
            } => Ok(Self::Fcd(FcdSpec {
                id: required(id, "spec.vStorageObjSpec.id")?.to_owned(),
                datastore: required(datastore, "spec.vStorageObjSpec.datastoreMoRef")?.to_owned(),
                snapshot: optional(snapshot, "spec.vStorageObjSpec.ssId")?.map(str::to_owned),
            })),
            Spec::Other(VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX) => {
                vm(required(&params.vmx_spec, "vmxSpec")?).map(Self::Vm)
            }
            Spec::Other(VixDiskLibSpecType(kind)) => Err(Failure::new(
                VixError::NOT_SUPPORTED,
                format!("connections of kind {kind} (specType) are not implemented"),
            )),
        }
    }

    /// Whether it is the snapshot of a first class disk.
    pub(super) fn is_snapshot(&self) -> bool {
        matches!(self, Self::Fcd(spec) if spec.snapshot.is_some())
    }

    /// The virtual machine and the datastore path of the disk. For a first class disk any name will do: the connection
    /// says which one it is.
    pub(super) fn find(
        &self,
        host: &Host,
        path: Option<&str>,
    ) -> Result<(ManagedObject, String), Failure> {
        match self {
            Self::Vm(spec) => {
                let path =
                    path.ok_or_else(|| Failure::new(VixError::INVALID_ARG, "path is null"))?;
                if !path.starts_with('[') {
                    return Err(Failure::new(
                        VixError::INVALID_ARG,
                        format!(
                            "{path:?} is no disk of a server, which is named like \"[datastore] folder/name.vmdk\""
                        ),
                    ));
                }
                let vm = host.vm(spec).map_err(|error| failure(&error))?;
                Ok((vm, path.to_owned()))
            }
            Self::Fcd(spec) => {
                let found = host.fcd(spec).map_err(|error| failure(&error))?;
                let vm = found.vm.ok_or_else(|| detached(spec))?;
                Ok((vm, found.path))
            }
        }
    }

    /// The virtual machine.
    pub(super) fn find_vm(&self, host: &Host) -> Result<ManagedObject, Failure> {
        match self {
            Self::Vm(spec) => host.vm(spec).map_err(|error| failure(&error)),
            Self::Fcd(_) => self.find(host, None).map(|(vm, _)| vm),
        }
    }
}

/// Which call gives a ticket for such a disk is not public.
fn detached(spec: &FcdSpec) -> Failure {
    Failure::new(
        VixError::NOT_SUPPORTED,
        format!(
            "the first class disk {} is attached to no virtual machine; only attached ones can be opened",
            spec.id
        ),
    )
}

/// A virtual machine in the terms of `vmxSpec`: `moref=vm-16`, or
/// `folder/name.vmx?dcPath=Datacenter&dsName=datastore1` (source: Virtual Disk Programming Guide).
fn vm(spec: &str) -> Result<VmSpec, Failure> {
    let malformed = || {
        Failure::new(
            VixError::INVALID_ARG,
            format!(
                "vmxSpec {spec:?} is neither \"moref=ID\" nor \"PATH.vmx?dcPath=DATACENTER&dsName=DATASTORE\""
            ),
        )
    };
    if let Some(id) = spec.strip_prefix("moref=") {
        return match id {
            "" => Err(malformed()),
            id => Ok(VmSpec::Moref(id.to_owned())),
        };
    }
    let (path, rest) = spec.split_once('?').ok_or_else(malformed)?;
    let value = |name: &str| {
        let mut fields = rest.split('&').filter_map(|field| field.split_once('='));
        let found = fields.find(|(key, value)| *key == name && !value.is_empty());
        found.map(|(_, value)| value).ok_or_else(malformed)
    };
    let (datacenter, datastore) = (value("dcPath")?, value("dsName")?);
    if path.is_empty() {
        return Err(malformed());
    }
    Ok(VmSpec::DatastorePath {
        datacenter: datacenter.to_owned(),
        path: format!("[{datastore}] {path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_machines_are_named_in_two_ways() {
        assert_eq!(
            vm("moref=vm-16").expect("an id"),
            VmSpec::Moref("vm-16".to_owned())
        );
        let spec = VmSpec::DatastorePath {
            datacenter: "Main/DC".to_owned(),
            path: "[ds 1] web/web.vmx".to_owned(),
        };
        for text in [
            "web/web.vmx?dcPath=Main/DC&dsName=ds 1",
            "web/web.vmx?dsName=ds 1&dcPath=Main/DC",
        ] {
            assert_eq!(vm(text).expect("a path"), spec);
        }
        for text in [
            "",
            "vm-16",
            "moref=",
            "web.vmx",
            "web.vmx?dcPath=DC",
            "web.vmx?dcPath=&dsName=ds",
            "?dcPath=DC&dsName=ds",
        ] {
            let failure = vm(text).expect_err(text);
            assert_eq!(failure.code(), VixError::INVALID_ARG, "{text}");
        }
    }
}
