//! Holding a virtual machine where it is while its disks are read.

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
    let (login, target) = log_in(params, network)?;
    let vm = target.find_vm(login.host())?;
    let done = login.host().prepare_access(&vm, identity);
    done.map_err(|error| failure(&error))
}

/// Permits it again.
pub(crate) fn end_access(
    params: &ConnectParams,
    identity: &str,
    network: &Network,
) -> Result<(), Failure> {
    let (login, target) = log_in(params, network)?;
    let vm = target.find_vm(login.host())?;
    let done = login.host().end_access(&vm, identity);
    done.map_err(|error| failure(&error))
}

fn log_in(params: &ConnectParams, network: &Network) -> Result<(Login, Target), Failure> {
    let options = options(params, network)?;
    let target = Target::new(params)?;
    Ok((Login::new(options)?, target))
}
