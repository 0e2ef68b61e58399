//! Where a disk is.

use std::collections::BTreeMap;
use std::fs;

use vixdisklib::{
    ConnectOptions, ConnectParams, Credentials, Disk, Library, OpenFlags, Secret, Spec, Transport,
};

use super::Result;

/// A disk, by its path and the keys that say where the path is from.
pub(super) struct Place<'a> {
    path: &'a str,
    keys: BTreeMap<&'a str, &'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn parse(path: &'a str, keys: &[&'a str]) -> Result<Self> {
        let keys = keys
            .iter()
            .map(|word| word.split_once('=').ok_or("a key without a value"));
        Ok(Self {
            path,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    fn key(&self, name: &str) -> Result<&'a str> {
        let value = self.keys.get(name).copied();
        Ok(value.ok_or_else(|| format!("{name}= is missing"))?)
    }

    pub(super) fn open(&self, writable: bool) -> Result<Disk> {
        let library = Library::embedded()?;
        let mut flags = if writable {
            OpenFlags::empty()
        } else {
            OpenFlags::READ_ONLY
        };
        if self.keys.is_empty() {
            return Ok(library.connect_local()?.open_disk(self.path, flags)?);
        }
        flags |= match self.keys.get("compression").copied() {
            None => OpenFlags::empty(),
            Some("zlib") => OpenFlags::COMPRESSION_ZLIB,
            Some("fastlz") => OpenFlags::COMPRESSION_FASTLZ,
            Some("skipz") => OpenFlags::COMPRESSION_SKIPZ,
            Some(_) => return Err("compression is zlib, fastlz or skipz".into()),
        };
        let password = fs::read_to_string(self.key("password-file")?)?;
        let password = Secret::new(password.trim_end_matches('\n').to_owned())?;
        let user = self.key("user")?.to_owned();
        let moref = self.key("vm")?.to_owned();
        let params = ConnectParams::builder(Spec::Vm { moref })
            .server(self.key("server")?)
            .port(self.key("port")?.parse()?)
            .nfc_port(self.key("nfc-port")?.parse()?)
            .credentials(Credentials::Password { user, password })
            .thumbprint(self.key("thumbprint")?)
            .build()?;
        let transport: Transport = self.key("transport")?.parse()?;
        let options = ConnectOptions::new()
            .read_only(!writable)
            .transport_modes(transport);
        Ok(library
            .connect(params, &options)?
            .open_disk(self.path, flags)?)
    }
}
