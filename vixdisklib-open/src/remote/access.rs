//! Holding a virtual machine where it is while its disks are read.

use vsphere_nfc::{Host, ManagedObject};

use super::error::failure;
use super::login::Login;
use super::parameters::options;
use super::target::Target;
use crate::config::Network;
use crate::error::Failure;
use crate::params::ConnectParams;

/// Forbids vCenter to move the virtual machine, or the one that uses the first class disk.
pub(crate) fn prepare_access(
    params: &ConnectParams,
    identity: &str,
    network: &Network,
) -> Result<(), Failure> {
    with_vm(params, network, |host, vm| {
        host.prepare_access(vm, identity)
    })
}

/// Permits it again.
pub(crate) fn end_access(
    params: &ConnectParams,
    identity: &str,
    network: &Network,
) -> Result<(), Failure> {
    with_vm(params, network, |host, vm| host.end_access(vm, identity))
}

/// Logs in, and out again.
fn with_vm(
    params: &ConnectParams,
    network: &Network,
    work: impl FnOnce(&Host, &ManagedObject) -> vsphere_nfc::Result<()>,
) -> Result<(), Failure> {
    let options = options(params, network)?;
    let target = Target::new(params)?;
    let login = Login::new(options)?;
    let vm = target.find_vm(login.host())?;
    work(login.host(), &vm).map_err(|error| failure(&error))
}
