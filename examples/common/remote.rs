//! Disks on vCenter or ESXi: what the command line says of them, and what the library takes for it.

use std::path::{Path, PathBuf};

use clap::Args;
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, Credentials, Disk, OpenFlags, Secret, Server, Spec,
    TransportModes,
};

use super::{Result, secrets};

/// Disks on vCenter or ESXi; the names are those of VDDK.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Disks of vCenter and ESXi (the disk is then as in '[datastore1] vm/vm.vmdk')"
)]
pub(crate) struct RemoteOptions {
    /// The name or address of vCenter or ESXi, perhaps with :PORT behind it
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// The account there
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Its password is the first line of this file
    #[arg(long, value_name = "FILE", group = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// Its password can be read from this descriptor, a file or a pipe
    #[arg(long, value_name = "FD", group = "password")]
    pub(crate) password_fd: Option<u32>,
    /// Ask for its password at the terminal
    #[arg(long, group = "password")]
    pub(crate) password_prompt: bool,
    /// The value of the cookie vmware_soap_session of a session that is logged in is the first line of this file
    #[arg(long, value_name = "FILE", group = "cookie")]
    pub(crate) cookie_file: Option<PathBuf>,
    /// The same from a descriptor
    #[arg(long, value_name = "FD", group = "cookie")]
    pub(crate) cookie_fd: Option<u32>,
    /// The SHA-1 or SHA-256 of the server's certificate: pairs of hex digits joined by colons
    #[arg(long, value_name = "HEX")]
    pub(crate) thumbprint: Option<String>,
    /// The virtual machine by its reference, such as vm-16, or by its file: PATH.vmx?dcPath=DATACENTER&dsName=DATASTORE
    #[arg(long, value_name = "MOREF")]
    pub(crate) vm: Option<String>,
    /// The snapshot of the virtual machine, such as snapshot-27
    #[arg(long, value_name = "MOREF", requires = "vm")]
    pub(crate) snapshot: Option<String>,
    /// A first class disk by its id, instead of DISK
    #[arg(long, value_name = "ID", requires = "datastore", conflicts_with = "vm")]
    pub(crate) fcd: Option<String>,
    /// The reference of the datastore of the first class disk
    #[arg(long, value_name = "MOREF", requires = "fcd")]
    pub(crate) datastore: Option<String>,
    /// A snapshot of the first class disk by its id
    #[arg(long, value_name = "ID", requires = "fcd")]
    pub(crate) fcd_snapshot: Option<String>,
    /// Ways to the data, the preferred one first: file, san, hotadd, nbdssl, nbd, joined by colons
    #[arg(
        long,
        value_name = "MODES",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) transports: TransportModes,
    /// The port of the server; default: the library's
    #[arg(long, value_name = "PORT")]
    pub(crate) server_port: Option<u16>,
    /// The port of the server for data; default: the library's
    #[arg(long, value_name = "PORT")]
    pub(crate) nfc_port: Option<u16>,
    /// Compress data on its way by nbdssl: zlib, fastlz or skipz
    #[arg(long, value_name = "METHOD", value_parser = ["zlib", "fastlz", "skipz"])]
    pub(crate) compression: Option<String>,
}

impl RemoteOptions {
    /// Whom to connect to, and for what: this machine where there is no `--server`.
    pub(crate) fn params(&self) -> Result<ConnectParams> {
        let Some(name) = &self.server else {
            return match self.given() {
                Some(option) => {
                    Err(format!("{option} needs --server, the machine it is about").into())
                }
                None => Ok(ConnectParams::local()),
            };
        };
        let (name, port) = self.name_and_port(name)?;
        let mut server = Server::builder(name).credentials(self.credentials()?);
        if let Some(thumbprint) = &self.thumbprint {
            server = server.thumbprint(thumbprint);
        }
        if let Some(port) = port {
            server = server.port(port);
        }
        if let Some(port) = self.nfc_port {
            server = server.nfc_port(port);
        }
        let server = server
            .build()
            .map_err(|error| format!("--server, --user or --thumbprint: {error}"))?;
        let spec = self.spec()?;
        ConnectParams::on(&server, spec).map_err(|error| format!("--vm or --fcd: {error}").into())
    }

    /// What the connection is for, besides its parameters.
    pub(crate) fn connect_options(&self, read_only: bool) -> ConnectOptions {
        let options = ConnectOptions::new()
            .read_only(read_only)
            .transport_modes(self.transports.clone());
        match &self.snapshot {
            Some(snapshot) => options.snapshot(snapshot),
            None => options,
        }
    }

    /// How data comes.
    pub(crate) fn open_flags(&self) -> OpenFlags {
        match self.compression.as_deref() {
            Some("zlib") => OpenFlags::COMPRESSION_ZLIB,
            Some("fastlz") => OpenFlags::COMPRESSION_FASTLZ,
            Some("skipz") => OpenFlags::COMPRESSION_SKIPZ,
            _ => OpenFlags::empty(),
        }
    }

    /// Opens the first class disk of `--fcd`, or else the one at `path`.
    pub(crate) fn open(
        &self,
        connection: &Connection,
        path: Option<&Path>,
        flags: OpenFlags,
    ) -> Result<Disk> {
        let flags = flags | self.open_flags();
        match path {
            _ if self.fcd.is_some() => Ok(connection.open_fcd(flags)?),
            Some(path) => Ok(connection.open_disk(path, flags)?),
            None => {
                Err("there is no disk; on a server it is as in '[datastore1] vm/vm.vmdk'".into())
            }
        }
    }

    /// The port may be a part of the name; an IPv6 address is in brackets then.
    fn name_and_port<'name>(&self, name: &'name str) -> Result<(&'name str, Option<u16>)> {
        let host_and_port = match name.strip_prefix('[') {
            Some(rest) => rest.split_once("]:"),
            None => name.split_once(':').filter(|(_, port)| !port.contains(':')),
        };
        let Some((host, port)) = host_and_port else {
            return Ok((name, self.server_port));
        };
        if self.server_port.is_some() {
            return Err(format!("--server {name} has a port, and so does --server-port").into());
        }
        match port.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(format!("--server {name}: {port:?} is no port").into()),
        }
    }

    fn spec(&self) -> Result<Spec> {
        if let (Some(id), Some(datastore)) = (&self.fcd, &self.datastore) {
            return Ok(Spec::Fcd {
                id: id.clone(),
                datastore: datastore.clone(),
                snapshot: self.fcd_snapshot.clone(),
            });
        }
        let Some(vm) = &self.vm else {
            return Err("--server needs --vm MOREF, such as --vm vm-16, or --fcd".into());
        };
        if let Some((path, place)) = vm.split_once("?dcPath=") {
            let (datacenter, datastore) = place
                .split_once("&dsName=")
                .ok_or_else(|| format!("--vm {vm}: there is no &dsName= behind ?dcPath="))?;
            return Ok(Spec::Vmx {
                path: path.to_owned(),
                datacenter: datacenter.to_owned(),
                datastore: datastore.to_owned(),
            });
        }
        // As nbdkit and VDDK write it.
        let moref = vm.strip_prefix("moref=").unwrap_or(vm).to_owned();
        Ok(Spec::Vm { moref })
    }

    fn credentials(&self) -> Result<Credentials> {
        let Some(user) = self.user.clone() else {
            return Err("--server needs --user, the account to log in with".into());
        };
        match (self.cookie()?, self.password()?) {
            (None, Some(password)) => Ok(Credentials::Password { user, password }),
            (Some(cookie), password) => Ok(Credentials::Session {
                cookie,
                user,
                key: match password {
                    Some(key) => key,
                    None => Secret::new(String::new())?,
                },
            }),
            (None, None) => Err("--server needs a password: --password-file, --password-fd or \
                                 --password-prompt; or the cookie of a session: --cookie-file or --cookie-fd"
                .into()),
        }
    }

    fn password(&self) -> Result<Option<Secret>> {
        if self.password_prompt {
            return secrets::ask("--password-prompt").map(Some);
        }
        secrets::read(
            ("--password-file", self.password_file.as_deref()),
            ("--password-fd", self.password_fd),
        )
    }

    fn cookie(&self) -> Result<Option<Secret>> {
        secrets::read(
            ("--cookie-file", self.cookie_file.as_deref()),
            ("--cookie-fd", self.cookie_fd),
        )
    }

    /// The first option that makes no sense without a server.
    fn given(&self) -> Option<&'static str> {
        let options = [
            (self.user.is_some(), "--user"),
            (
                self.password_file.is_some() || self.password_fd.is_some() || self.password_prompt,
                "--password-...",
            ),
            (
                self.cookie_file.is_some() || self.cookie_fd.is_some(),
                "--cookie-...",
            ),
            (self.thumbprint.is_some(), "--thumbprint"),
            (self.vm.is_some(), "--vm"),
            (self.fcd.is_some(), "--fcd"),
            (self.server_port.is_some(), "--server-port"),
            (self.nfc_port.is_some(), "--nfc-port"),
        ];
        options
            .into_iter()
            .find(|(given, _)| *given)
            .map(|(_, name)| name)
    }
}
