//! The service instance: what server it is, and where everything is.

use crate::profile::Profile;
use crate::time;
use crate::vim::Value;

pub(crate) fn content(profile: Profile) -> Value {
    let ids = profile.ids();
    let storage = if profile.is_vcenter() {
        "VcenterVStorageObjectManager"
    } else {
        "HostVStorageObjectManager"
    };
    Value::data(
        "ServiceContent",
        vec![
            ("rootFolder", Value::moref("Folder", ids.root_folder)),
            (
                "propertyCollector",
                Value::moref("PropertyCollector", ids.property_collector),
            ),
            ("viewManager", Value::moref("ViewManager", ids.view_manager)),
            ("about", about(profile)),
            (
                "sessionManager",
                Value::moref("SessionManager", ids.session_manager),
            ),
            (
                "authorizationManager",
                Value::moref("AuthorizationManager", ids.authorization_manager),
            ),
            ("taskManager", Value::moref("TaskManager", ids.task_manager)),
            ("searchIndex", Value::moref("SearchIndex", ids.search_index)),
            (
                "vStorageObjectManager",
                Value::moref(storage, ids.storage_objects),
            ),
        ],
    )
}

/// The service instance's own properties.
pub(crate) fn instance(profile: Profile) -> Value {
    let fields = vec![
        ("content", content(profile)),
        ("serverClock", Value::Time(time::now())),
    ];
    Value::data("ServiceInstance", fields)
}

pub(crate) fn about(profile: Profile) -> Value {
    let (version, build) = profile.product();
    let (api_version, _) = profile.api_versions();
    let is_vcenter = profile.is_vcenter();
    let name = if is_vcenter {
        "VMware vCenter Server"
    } else {
        "VMware ESXi"
    };
    let text = |text: &str| Value::text(text);
    Value::data(
        "AboutInfo",
        vec![
            ("name", text(name)),
            // Says that it is none.
            (
                "fullName",
                Value::Text(format!("{name} {version} build-{build} (simulated)")),
            ),
            ("vendor", text("VMware, Inc.")),
            ("version", text(version)),
            ("build", text(build)),
            ("localeVersion", text("INTL")),
            ("localeBuild", text("000")),
            (
                "osType",
                text(if is_vcenter { "linux-x64" } else { "vmnix-x86" }),
            ),
            (
                "productLineId",
                text(if is_vcenter { "vpx" } else { "embeddedEsx" }),
            ),
            (
                "apiType",
                text(if is_vcenter {
                    "VirtualCenter"
                } else {
                    "HostAgent"
                }),
            ),
            ("apiVersion", text(api_version)),
            ("licenseProductName", text(name)),
            (
                "licenseProductVersion",
                Value::Text(version.split('.').take(1).collect()),
            ),
        ],
    )
}
