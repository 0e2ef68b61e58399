//! A simulated server, and connections to it with less typing.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use tempfile::TempDir;
use vixdisklib_open::TABLE;
use vixdisklib_sys::{
    VixDiskLibConnectParams, VixDiskLibConnection, VixDiskLibCredType, VixDiskLibCreds,
    VixDiskLibHandle, VixDiskLibSpec, VixDiskLibSpecType, VixDiskLibUidPasswdCreds,
    VixDiskLibVStorageObjectSpec, VixError,
};
use vsphere_sim::{Event, Inventory, Plan, Profile, Simulator};

use crate::common::{self, READ_ONLY, ok};

/// A disk that no machine writes to, and one that belongs to a machine that is off.
pub(crate) const WEB: &CStr = c"[datastore1] web/web.vmdk";
pub(crate) const DB: &CStr = c"[datastore1] db/db.vmdk";

/// A simulator with its demonstration, and a use of the library.
pub(crate) struct Site {
    pub(crate) simulator: Simulator,
    pub(crate) inventory: Inventory,
    folder: TempDir,
    _session: common::Session,
}

impl Site {
    pub(crate) fn new(profile: Profile) -> Self {
        Self::with(profile, |builder| builder)
    }

    pub(crate) fn with(
        profile: Profile,
        adjust: impl FnOnce(vsphere_sim::Builder) -> vsphere_sim::Builder,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let inventory = Inventory::demo(folder.path(), profile).expect("disks");
        let builder = adjust(Simulator::builder(inventory.clone()));
        Self {
            simulator: builder.start().expect("it starts"),
            inventory,
            folder,
            _session: common::Session::start(),
        }
    }

    pub(crate) fn inject(&self, plan: &str) {
        self.simulator.inject(plan.parse::<Plan>().expect(plan));
    }

    pub(crate) fn calls(&self, name: &str) -> usize {
        let called =
            |event: &Event| matches!(event, Event::Called { method, .. } if method == name);
        self.simulator.transcript().count(called)
    }

    /// Complete parameters for a machine, by its name.
    pub(crate) fn params(&self, vm: &str) -> Params {
        let mut vms = self.inventory.vms.iter();
        let vm = vms.find(|known| known.name == vm).expect("a machine");
        let user = &self.inventory.users[0];
        Params {
            server: c"127.0.0.1".to_owned(),
            vm: Some(text(&format!("moref={}", vm.moref))),
            user: text(&user.name),
            password: text(user.password.reveal()),
            thumbprint: Some(text(&self.simulator.thumbprint_sha1())),
            port: self.simulator.address().port().into(),
            nfc_port: 0,
            cred_type: VixDiskLibCredType::VIXDISKLIB_CRED_UID,
            spec_type: VixDiskLibSpecType::VIXDISKLIB_SPEC_VMX,
            fcd: None,
        }
    }

    /// Parameters for the first class disk of the demonstration, or its snapshot.
    pub(crate) fn fcd(&self, snapshot: bool) -> Params {
        let fcd = &self.inventory.fcds[0];
        let snapshot = snapshot.then(|| text(&fcd.snapshots[0].id));
        Params {
            vm: None,
            spec_type: VixDiskLibSpecType::VIXDISKLIB_SPEC_VSTORAGE_OBJECT,
            fcd: Some((
                text(&fcd.id),
                text(&self.inventory.datastores[0].moref),
                snapshot,
            )),
            ..self.params("db")
        }
    }

    /// The content of a disk, read from its files; `name` is behind the datastore.
    pub(crate) fn local(&self, name: &str) -> Vec<u8> {
        common::content(common::connect(), &self.folder.path().join(name))
    }
}

pub(crate) fn text(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

/// What to connect with.
#[derive(Clone)]
pub(crate) struct Params {
    pub(crate) server: CString,
    pub(crate) vm: Option<CString>,
    pub(crate) user: CString,
    pub(crate) password: CString,
    pub(crate) thumbprint: Option<CString>,
    pub(crate) port: u32,
    pub(crate) nfc_port: u32,
    pub(crate) cred_type: VixDiskLibCredType,
    pub(crate) spec_type: VixDiskLibSpecType,
    pub(crate) fcd: Option<(CString, CString, Option<CString>)>,
}

impl Params {
    /// Calls `function` with the C form, in memory of the library, which alone may name more than a machine.
    pub(crate) fn with<T>(&self, function: impl FnOnce(*const VixDiskLibConnectParams) -> T) -> T {
        let mutable = |text: &CStr| text.as_ptr().cast_mut();
        let optional = |text: &Option<CString>| text.as_deref().map_or(ptr::null_mut(), mutable);
        let mut filled = VixDiskLibConnectParams {
            vmxSpec: optional(&self.vm),
            serverName: mutable(&self.server),
            thumbPrint: optional(&self.thumbprint),
            credType: self.cred_type,
            creds: VixDiskLibCreds {
                uid: VixDiskLibUidPasswdCreds {
                    userName: mutable(&self.user),
                    password: mutable(&self.password),
                },
            },
            port: self.port,
            nfcHostPort: self.nfc_port,
            specType: self.spec_type,
            ..VixDiskLibConnectParams::default()
        };
        if let Some((id, datastore, snapshot)) = &self.fcd {
            filled.spec = VixDiskLibSpec {
                vStorageObjSpec: VixDiskLibVStorageObjectSpec {
                    id: mutable(id),
                    datastoreMoRef: mutable(datastore),
                    ssId: optional(snapshot),
                },
            };
        }
        // SAFETY: needs nothing.
        let params = unsafe { TABLE.allocate_connect_params.expect("there")() };
        // SAFETY: on loan to us, and large enough.
        unsafe { params.write(filled) };
        let result = function(params);
        // SAFETY: on loan, and not used again.
        unsafe { (TABLE.free_connect_params)(params) };
        result
    }

    pub(crate) fn connect(&self) -> Result<VixDiskLibConnection, VixError> {
        self.connect_ex(false, None, None)
    }

    pub(crate) fn connect_ex(
        &self,
        read_only: bool,
        snapshot: Option<&CStr>,
        transports: Option<&CStr>,
    ) -> Result<VixDiskLibConnection, VixError> {
        let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        let mut connection = ptr::dangling_mut();
        let code = self.with(|params| {
            // SAFETY: parameters and strings of ours, and an output.
            unsafe {
                (TABLE.connect_ex)(
                    params,
                    read_only.into(),
                    pointer(snapshot),
                    pointer(transports),
                    &raw mut connection,
                )
            }
        });
        assert_eq!(connection.is_null(), !code.is_ok(), "null on failure only");
        ok(code).map(|()| connection)
    }

    /// Connects, opens a disk for reading, and disconnects.
    pub(crate) fn try_open(&self, path: &CStr) -> Result<(), VixError> {
        let connection = self.connect()?;
        let opened = open(connection, path.as_ptr(), READ_ONLY).map(drop);
        assert_eq!(common::disconnect(connection), VixError::OK);
        opened
    }
}

pub(crate) fn open(
    connection: VixDiskLibConnection,
    path: *const c_char,
    flags: u32,
) -> Result<VixDiskLibHandle, VixError> {
    let mut disk = ptr::dangling_mut();
    // SAFETY: null or a string, and an output of ours.
    let code = unsafe { (TABLE.open)(connection, path, flags, &raw mut disk) };
    assert_eq!(disk.is_null(), !code.is_ok(), "null on failure only");
    ok(code).map(|()| disk)
}

pub(crate) fn transport(disk: VixDiskLibHandle) -> &'static CStr {
    // SAFETY: handles are looked up.
    let name = unsafe { (TABLE.get_transport_mode)(disk) };
    // SAFETY: a string that lives as long as the library.
    unsafe { CStr::from_ptr(name) }
}
