//! Tickets for the data port.

use std::sync::atomic::Ordering;

use super::{Answer, Caller, Outcome};
use crate::injection::Injection;
use crate::soap::request::Arguments;
use crate::vim::{Fault, Moref, Value};
use crate::world::{Scope, Ticket};

/// For reading all disks of a machine.
pub(super) fn vm_files(caller: &mut Caller<'_>, this: &Moref, arguments: Arguments<'_>) -> Outcome {
    caller.check_service(this)?;
    let vm = arguments.moref("vm")?;
    caller.check_vm(&vm)?;
    caller.ticket(vm, Scope::Vm)
}

/// For reading and writing one disk.
pub(super) fn open_disk(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    caller.check_service(this)?;
    let (vm, key) = caller.disk(arguments)?;
    caller.may_change(&vm, "VirtualMachine.Provisioning.DiskRandomAccess")?;
    let writable = !caller
        .site
        .injected(caller.connection, &Injection::ReadOnlyTickets);
    caller.ticket(vm, Scope::Disk { key, writable })
}

/// For reading one disk.
pub(super) fn open_read_only(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    caller.check_service(this)?;
    let (vm, key) = caller.disk(arguments)?;
    caller.ticket(
        vm,
        Scope::Disk {
            key,
            writable: false,
        },
    )
}

pub(super) fn library_version(
    caller: &mut Caller<'_>,
    this: &Moref,
    arguments: Arguments<'_>,
) -> Outcome {
    caller.check_service(this)?;
    caller.check_host(&arguments.moref("hostForAccess")?)?;
    let version = caller.site.profile.nfc_version();
    Ok(Answer::Value(Value::Int(
        i32::try_from(version).unwrap_or_default(),
    )))
}

impl Caller<'_> {
    /// Refuses the service's id of the other kind of server, and a host that is away.
    fn check_service(&self, this: &Moref) -> Result<(), Fault> {
        if this.id != self.site.profile.ids().nfc_service {
            return Err(Fault::not_found(this));
        }
        let away = self.site.injections.happens(Some(self.connection), |injection| {
            match injection {
                Injection::Maintenance { entering: true } => Some(Fault::new(
                    "InvalidState",
                    "The operation is not allowed in the current state: the host is entering maintenance mode.",
                )),
                Injection::Maintenance { entering: false } => Some(Fault::new(
                    "InvalidState",
                    "The operation is not allowed in the current state: the host is in maintenance mode.",
                )),
                Injection::HostDisconnected => Some(Fault::new(
                    "HostNotConnected",
                    "Unable to communicate with the remote host, since it is disconnected.",
                )),
                _ => None,
            }
        });
        away.map_or(Ok(()), Err)
    }

    fn check_host(&self, host: &Moref) -> Result<(), Fault> {
        let known = self.site.world().host(&host.id).is_some();
        if known {
            Ok(())
        } else {
            Err(Fault::not_found(host))
        }
    }

    /// The machine and the key of a disk that it has.
    fn disk(&self, arguments: Arguments<'_>) -> Result<(Moref, i32), Fault> {
        let vm = arguments.moref("vm")?;
        self.check_vm(&vm)?;
        let key = arguments.number("diskDeviceKey")?;
        if let Some(host) = arguments.find("hostForAccess") {
            self.check_host(&host.as_moref())?;
        }
        let known = self
            .site
            .world()
            .machine(&vm.id)
            .is_some_and(|machine| machine.disk(key).is_some());
        if known {
            Ok((vm, key))
        } else {
            Err(Fault::invalid_argument("diskDeviceKey"))
        }
    }

    fn ticket(&self, vm: Moref, scope: Scope) -> Outcome {
        let site = self.site;
        let (disk, writable) = match scope {
            Scope::Vm => (None, false),
            Scope::Disk { key, writable } => (Some(key), writable),
        };
        site.note(crate::transcript::Event::TicketIssued {
            vm: vm.id.clone(),
            disk,
            writable,
        });
        let other = site.injected(self.connection, &Injection::TicketThumbprint);
        let identity = if other { &site.other_data } else { &site.data };
        let mut fields = Vec::new();
        if site.profile.is_vcenter() {
            fields.push(("host", Value::text(self.address.clone())));
        }
        let port = site.data_port.load(Ordering::Acquire);
        let id = site.tickets.issue(Ticket { vm: vm.id, scope });
        fields.extend([
            ("port", Value::Int(port.into())),
            ("sslThumbprint", Value::text(identity.sha1())),
            ("service", Value::text(site.profile.ticket_service())),
            ("serviceVersion", Value::text("1.1")),
            ("sessionId", Value::text(id)),
        ]);
        Ok(Answer::Value(Value::data("HostServiceTicket", fields)))
    }
}
