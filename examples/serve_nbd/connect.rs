//! The library, and the machine that the disks are on.

use vixdisklib::{
    Backend, ConnectOptions, ConnectParams, Connection, Credentials, Library, OpenFlags, Secret,
    Server, Spec,
};

use crate::Result;
use crate::options::{Options, RemoteOptions};
use crate::secrets;

/// Starts the library of `--libdir`, or the embedded engine.
pub(crate) fn library(options: &Options) -> Result<Library> {
    let backend = match &options.library.libdir {
        Some(folder) => Backend::Library(folder.clone()),
        None => Backend::Embedded,
    };
    let mut builder = Library::builder(backend);
    if let Some(path) = &options.library.config {
        builder = builder.config_file(path);
    }
    Ok(builder.open()?)
}

/// Connects to the server of `--server`, or to the files of this machine.
pub(crate) fn connect(options: &Options, library: &Library) -> Result<Connection> {
    let remote = &options.remote;
    let mut connect = ConnectOptions::new()
        .read_only(options.disk.read_only)
        .transport_modes(remote.transports.clone());
    if let Some(snapshot) = &remote.snapshot {
        connect = connect.snapshot(snapshot);
    }
    Ok(library.connect(params(remote)?, &connect)?)
}

fn params(remote: &RemoteOptions) -> Result<ConnectParams> {
    let Some(name) = &remote.server else {
        return match remote.given() {
            Some(option) => Err(format!("{option} needs --server, the machine it is about").into()),
            None => Ok(ConnectParams::local()),
        };
    };
    let mut server = Server::builder(name).credentials(credentials(remote)?);
    if let Some(thumbprint) = &remote.thumbprint {
        server = server.thumbprint(thumbprint);
    }
    if let Some(port) = remote.server_port {
        server = server.port(port);
    }
    if let Some(port) = remote.nfc_port {
        server = server.nfc_port(port);
    }
    let server = server
        .build()
        .map_err(|error| format!("--server, --user or --thumbprint: {error}"))?;
    let spec = spec(remote)?;
    ConnectParams::on(&server, spec).map_err(|error| format!("--vm or --fcd: {error}").into())
}

fn spec(remote: &RemoteOptions) -> Result<Spec> {
    if let (Some(id), Some(datastore)) = (&remote.fcd, &remote.datastore) {
        return Ok(Spec::Fcd {
            id: id.clone(),
            datastore: datastore.clone(),
            snapshot: remote.fcd_snapshot.clone(),
        });
    }
    let Some(vm) = &remote.vm else {
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

fn credentials(remote: &RemoteOptions) -> Result<Credentials> {
    let Some(user) = remote.user.clone() else {
        return Err("--server needs --user, the account to log in with".into());
    };
    let password = secrets::password(remote)?;
    let cookie = secrets::cookie(remote)?;
    match (cookie, password) {
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

/// How disks are opened, apart from reading or writing.
pub(crate) fn open_flags(options: &Options) -> OpenFlags {
    let mut flags = match options.remote.compression.as_deref() {
        Some("zlib") => OpenFlags::COMPRESSION_ZLIB,
        Some("fastlz") => OpenFlags::COMPRESSION_FASTLZ,
        Some("skipz") => OpenFlags::COMPRESSION_SKIPZ,
        _ => OpenFlags::empty(),
    };
    flags.set(OpenFlags::SINGLE_LINK, options.disk.single_link);
    flags.set(OpenFlags::UNBUFFERED, options.disk.unbuffered);
    flags
}
