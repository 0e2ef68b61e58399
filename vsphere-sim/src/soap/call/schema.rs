//! In which order the schema has the arguments of calls: servers of the vim25 schema refuse any other.

use crate::soap::request::Call;
use crate::vim::Fault;

/// The arguments of methods that have several. Those that are missing here may stand anywhere.
fn order(method: &str) -> &'static [&'static str] {
    match method {
        "Login" => &["userName", "password", "locale"],
        "SessionIsActive" => &["sessionID", "userName"],
        "NfcRandomAccessOpenDisk" | "NfcRandomAccessOpenReadonly" => {
            &["vm", "diskDeviceKey", "hostForAccess"]
        }
        "RetrievePropertiesEx" => &["specSet", "options"],
        "CreateFilter" => &["spec", "partialUpdates"],
        "WaitForUpdatesEx" => &["version", "options"],
        "CreateContainerView" => &["container", "type", "recursive"],
        "CreateSnapshot_Task" => &["name", "description", "memory", "quiesce"],
        "RemoveSnapshot_Task" => &["removeChildren", "consolidate"],
        "QueryChangedDiskAreas" => &["snapshot", "deviceKey", "startOffset", "changeId"],
        "VstorageObjectVCenterQueryChangedDiskAreas" => {
            &["id", "datastore", "snapshotId", "startOffset", "changeId"]
        }
        "FindByUuid" => &["datacenter", "uuid", "vmSearch", "instanceUuid"],
        "FindByDatastorePath" => &["datacenter", "path"],
        "DisableMethods" | "EnableMethods" => &["entity", "method", "sourceId"],
        "RelocateVM_Task" => &["spec", "priority"],
        "RetrieveVStorageObject" => &["id", "datastore", "diskInfoFlags"],
        "RetrieveSnapshotInfo" => &["id", "datastore"],
        "RetrieveSnapshotDetails" => &["id", "datastore", "snapshotId"],
        _ => &[],
    }
}

/// Refuses arguments in another order.
pub(super) fn check(call: &Call<'_>) -> Result<(), Fault> {
    let order = order(call.method());
    let place = |name: &str| match name {
        "_this" => Some(0),
        name => Some(1 + order.iter().position(|known| *known == name)?),
    };
    let places: Vec<usize> = call.arguments().names().filter_map(place).collect();
    if places.is_sorted() {
        Ok(())
    } else {
        Err(Fault::invalid_request(
            "The arguments are not in the order of the schema.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::request::document;

    fn is_taken(call: &str) -> bool {
        let text = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body>{call}</e:Body></e:Envelope>"
        );
        let document = document(text.as_bytes()).expect("it is XML");
        check(&Call::of(&document).expect("a call")).is_ok()
    }

    #[test]
    fn arguments_have_their_order() {
        for (call, taken) in [
            ("<Login><_this/><userName/><password/></Login>", true),
            ("<Login><_this/><password/><userName/></Login>", false),
            ("<Login><userName/><password/><_this/></Login>", false),
            (
                "<DisableMethods><_this/><entity/><method/><method/><sourceId/></DisableMethods>",
                true,
            ),
            (
                "<DisableMethods><_this/><entity/><sourceId/><method/></DisableMethods>",
                false,
            ),
            (
                "<FindByUuid><_this/><uuid/><vmSearch/><instanceUuid/></FindByUuid>",
                true,
            ),
            ("<Other><b/><a/></Other>", true),
        ] {
            assert_eq!(is_taken(call), taken, "{call}");
        }
    }
}
