//! What cannot be in an inventory.

use std::collections::BTreeSet;

use super::{DatastorePath, Fcd, Inventory, InventoryError, Snapshot, Vm, VmDisk};

type Checked = Result<(), InventoryError>;

fn invalid(object: impl Into<String>, problem: impl Into<String>) -> InventoryError {
    InventoryError::Invalid {
        object: object.into(),
        problem: problem.into(),
    }
}

/// Texts of which each may occur once.
struct Unique {
    what: &'static str,
    seen: BTreeSet<String>,
}

impl Unique {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, object: &str, text: &str) -> Checked {
        if text.is_empty() {
            return Err(invalid(object, format!("it has no {}", self.what)));
        }
        if !self.seen.insert(text.to_owned()) {
            let problem = format!("another object has the {} {text:?}", self.what);
            return Err(invalid(object, problem));
        }
        Ok(())
    }
}

impl Inventory {
    pub(super) fn check(&self) -> Checked {
        if self.users.is_empty() {
            return Err(invalid("users", "nobody can log in; add a [[user]]"));
        }
        let mut names = Unique::new("name");
        for user in &self.users {
            let object = format!("user {:?}", user.name);
            names.add(&object, &user.name)?;
            if user.password.reveal().is_empty() {
                return Err(invalid(object, "it has no password"));
            }
        }
        self.check_places()?;
        self.check_names()?;
        let mut morefs = self.morefs()?;
        for vm in &self.vms {
            self.check_vm(vm, &mut morefs)?;
        }
        let mut ids = Unique::new("id");
        for fcd in &self.fcds {
            self.check_fcd(fcd, &mut ids)?;
        }
        Ok(())
    }

    fn check_names(&self) -> Checked {
        let mut datastores = Unique::new("name");
        for datastore in &self.datastores {
            let object = format!("datastore {:?}", datastore.name);
            datastores.add(&object, &datastore.name)?;
            if datastore.name.contains([']', '[']) {
                return Err(invalid(object, "a name must not have brackets"));
            }
            if !datastore.folder.is_dir() {
                let problem = format!("there is no folder {}", datastore.folder.display());
                return Err(invalid(object, problem));
            }
        }
        let mut hosts = Unique::new("name");
        for host in &self.hosts {
            hosts.add(&format!("host {:?}", host.name), &host.name)?;
        }
        let mut vms = Unique::new("name");
        for vm in &self.vms {
            vms.add(&format!("vm {:?}", vm.name), &vm.name)?;
        }
        Ok(())
    }

    /// Whether hosts and datastores lie in datacenters that there are.
    fn check_places(&self) -> Checked {
        let hosts = self
            .hosts
            .iter()
            .map(|host| ("host", &host.name, &host.datacenter));
        let stores = self.datastores.iter();
        let stores = stores.map(|store| ("datastore", &store.name, &store.datacenter));
        for (kind, name, datacenter) in hosts.chain(stores) {
            if !self
                .datacenters
                .iter()
                .any(|known| known.name == *datacenter)
            {
                let problem = format!("there is no datacenter {datacenter:?}");
                return Err(invalid(format!("{kind} {name:?}"), problem));
            }
        }
        if !self.profile.is_vcenter() && (self.hosts.len() > 1 || self.datacenters.len() > 1) {
            let problem = format!(
                "with the profile {} there is one host in one datacenter",
                self.profile
            );
            return Err(invalid("profile", problem));
        }
        Ok(())
    }

    fn morefs(&self) -> Result<Unique, InventoryError> {
        let mut morefs = Unique::new("moref");
        for datacenter in &self.datacenters {
            morefs.add(
                &format!("datacenter {:?}", datacenter.name),
                &datacenter.moref,
            )?;
        }
        for host in &self.hosts {
            morefs.add(&format!("host {:?}", host.name), &host.moref)?;
        }
        for datastore in &self.datastores {
            morefs.add(&format!("datastore {:?}", datastore.name), &datastore.moref)?;
        }
        Ok(morefs)
    }

    fn check_vm(&self, vm: &Vm, morefs: &mut Unique) -> Checked {
        let object = format!("vm {:?}", vm.name);
        morefs.add(&object, &vm.moref)?;
        let is_number = vm.moref.bytes().all(|byte| byte.is_ascii_digit());
        if !self.profile.is_vcenter() && !is_number {
            return Err(invalid(
                object,
                "on a host the moref of a machine is a number",
            ));
        }
        if !self.hosts.iter().any(|host| host.name == vm.host) {
            return Err(invalid(object, format!("there is no host {:?}", vm.host)));
        }
        self.check_disks(&object, &vm.disks)?;
        let mut snapshots = BTreeSet::new();
        for snapshot in &vm.snapshots {
            self.check_snapshot(&object, vm, snapshot, morefs, &mut snapshots)?;
        }
        if !vm.current_snapshot.is_empty() && !snapshots.contains(&vm.current_snapshot) {
            let problem = format!("it has no snapshot {:?}", vm.current_snapshot);
            return Err(invalid(object, problem));
        }
        Ok(())
    }

    fn check_snapshot(
        &self,
        vm_name: &str,
        vm: &Vm,
        snapshot: &Snapshot,
        morefs: &mut Unique,
        seen: &mut BTreeSet<String>,
    ) -> Checked {
        let object = format!("{vm_name}: snapshot {:?}", snapshot.name);
        morefs.add(&object, &snapshot.moref)?;
        seen.insert(snapshot.moref.clone());
        self.check_disks(&object, &snapshot.disks)?;
        for disk in &snapshot.disks {
            if !vm.disks.iter().any(|known| known.key == disk.key) {
                let problem = format!("the machine has no disk with the key {}", disk.key);
                return Err(invalid(object, problem));
            }
        }
        for child in &snapshot.children {
            self.check_snapshot(vm_name, vm, child, morefs, seen)?;
        }
        Ok(())
    }

    fn check_disks(&self, object: &str, disks: &[VmDisk]) -> Checked {
        let mut keys = BTreeSet::new();
        for disk in disks {
            if disk.key < 1 || !keys.insert(disk.key) {
                let problem = format!("the key {} is not positive, or of two disks", disk.key);
                return Err(invalid(object, problem));
            }
            self.check_path(object, &disk.path)?;
        }
        Ok(())
    }

    fn check_fcd(&self, fcd: &Fcd, ids: &mut Unique) -> Checked {
        let object = format!("fcd {:?}", fcd.name);
        ids.add(&object, &fcd.id)?;
        if !self.profile.is_vcenter() {
            return Err(invalid(object, "only a vCenter shows first class disks"));
        }
        if !fcd.consumer.is_empty() && !self.vms.iter().any(|vm| vm.name == fcd.consumer) {
            return Err(invalid(
                object,
                format!("there is no vm {:?}", fcd.consumer),
            ));
        }
        self.check_path(&object, &fcd.path)?;
        for snapshot in &fcd.snapshots {
            ids.add(&object, &snapshot.id)?;
            self.check_path(&object, &snapshot.path)?;
        }
        Ok(())
    }

    fn check_path(&self, object: &str, path: &DatastorePath) -> Checked {
        let datastore = self
            .datastores
            .iter()
            .find(|known| known.name == path.datastore());
        let Some(datastore) = datastore else {
            return Err(invalid(
                object,
                format!("{path}: there is no such datastore"),
            ));
        };
        let file = path.below(&datastore.folder);
        if file.is_file() {
            Ok(())
        } else {
            Err(invalid(
                object,
                format!("{path}: there is no file {}", file.display()),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn problem(change: impl FnOnce(String) -> String) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("a.vmdk"), "").expect("a file");
        let text = r#"
            profile = "esxi8-vcenter"
            [[user]]
            name = "u"
            password = "p"
            [[datastore]]
            name = "ds"
            folder = "."
            [[vm]]
            name = "web"
            [[vm.disk]]
            path = "[ds] a.vmdk"
            [[vm.snapshot]]
            name = "s"
            [[vm.snapshot.disk]]
            path = "[ds] a.vmdk"
        "#;
        let text = change(text.to_owned());
        match Inventory::from_toml(&text, folder.path()) {
            Ok(_) => String::new(),
            Err(InventoryError::Parse(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_short_file_is_enough() {
        assert_eq!(problem(|text| text), "");
    }

    #[test]
    fn each_fault_is_named() {
        let cases: [(&str, &str, &str); 12] = [
            (
                "[[user]]",
                "[[host]]\nname = \"h\"\n[[user]]\nname=\"u\"\npassword=\"q\"\n[[user]]",
                "another object has the name \"u\"",
            ),
            ("password = \"p\"", "", "it has no password"),
            ("folder = \".\"", "folder = \"none\"", "there is no folder"),
            (
                "name = \"ds\"",
                "name = \"other\"",
                "there is no such datastore",
            ),
            (
                "path = \"[ds] a.vmdk\"",
                "path = \"[ds] b.vmdk\"",
                "there is no file",
            ),
            (
                "path = \"[ds] a.vmdk\"",
                "path = \"a.vmdk\"",
                "it does not begin with a bracket",
            ),
            (
                "name = \"web\"",
                "name = \"web\"\nhost = \"x\"",
                "there is no host \"x\"",
            ),
            (
                "name = \"web\"",
                "name = \"web\"\nfoo = 1",
                "unknown field `foo`",
            ),
            (
                "name = \"web\"",
                "name = \"web\"\ncurrent_snapshot = \"x\"",
                "it has no snapshot \"x\"",
            ),
            (
                "name = \"web\"",
                "name = \"web\"\nmoref = \"host-10\"",
                "another object has the moref",
            ),
            (
                "esxi8-vcenter\"",
                "esxi8-direct\"\n[[host]]\nname=\"a\"\n[[host]]\nname=\"b\"",
                "one host",
            ),
            (
                "[[vm]]",
                "[[fcd]]\nname=\"f\"\npath=\"[ds] a.vmdk\"\nconsumer=\"x\"\n[[vm]]",
                "there is no vm \"x\"",
            ),
        ];
        for (from, to, expected) in cases {
            let found = problem(|text| text.replacen(from, to, 1));
            assert!(found.contains(expected), "{from} -> {to}: {found}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let user = super::super::User::new("u", "hidden");
        assert!(!format!("{user:?}").contains("hidden"));
    }
}
