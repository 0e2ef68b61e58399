//! What reaches the file.

use super::*;
use proptest::prelude::*;

fn text(configuration: &Configuration) -> String {
    configuration.prepare(Some(8)).expect("legal")
}

#[track_caller]
fn assert_refused(configuration: Configuration) {
    let error = configuration.prepare(Some(8)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[test]
fn every_setting_has_its_key() {
    let seconds = Duration::from_secs;
    let configuration = Configuration::new()
        .transport_log_level(TransportLogLevel::Trivia)
        .nfc_log_level(NfcLogLevel::Debug)
        .block_cache(false)
        .nfc_accept_timeout(seconds(180))
        .nfc_request_timeout(seconds(180))
        .nfc_read_timeout(seconds(60))
        .nfc_write_timeout(Duration::from_micros(1))
        .nfc_file_service_timeout(seconds(0))
        .nfc_file_service_write_timeout(seconds(1))
        .nfc_buffers(ByteLen::new(1 << 20), 16)
        .san_allow(["/dev/sdb", "/dev/sd c"])
        .san_deny(["all"])
        .hotadd_without_nfc_session(true)
        .phone_home(false)
        .product_name("My Backup")
        .product_version("1.2_3-4")
        .phone_home_directory("/var/lib/my backup")
        .raw("vixDiskLib.ssl.enableSslFIPS", "1");
    assert_eq!(
        text(&configuration),
        "vixDiskLib.transport.LogLevel=6\n\
         vixDiskLib.nfc.LogLevel=4\n\
         vixDiskLib.disklib.EnableCache=0\n\
         vixDiskLib.nfc.AcceptTimeoutMs=180000\n\
         vixDiskLib.nfc.RequestTimeoutMs=180000\n\
         vixDiskLib.nfc.ReadTimeoutMs=60000\n\
         vixDiskLib.nfc.WriteTimeoutMs=1\n\
         vixDiskLib.nfcFssrvr.TimeoutMs=0\n\
         vixDiskLib.nfcFssrvrWrite.TimeoutMs=1000\n\
         vixDiskLib.nfcAio.Session.BufSizeIn64KB=16\n\
         vixDiskLib.nfcAio.Session.BufCount=16\n\
         vixDiskLib.transport.san.allowList=\"/dev/sdb,/dev/sd c\"\n\
         vixDiskLib.transport.san.denyList=\"all\"\n\
         vixDiskLib.transport.hotadd.NoNfcSession=1\n\
         vixDiskLib.phoneHome.EnablePhoneHome=0\n\
         vixDiskLib.phoneHome.ProductName=\"My Backup\"\n\
         vixDiskLib.phoneHome.ProductVersion=\"1.2_3-4\"\n\
         vixDiskLib.phoneHome.DatabaseDir=\"/var/lib/my backup\"\n\
         vixDiskLib.ssl.enableSslFIPS=\"1\"\n"
    );
}

#[test]
fn lists_have_the_names_of_the_release() {
    let lists = Configuration::new().san_allow(["a"]).san_deny(["b"]);
    let of = |major| lists.prepare(major).expect("legal");
    let key = "vixDiskLib.transport.san.";
    let old = format!("{key}whitelist=\"a\"\n{key}blacklist=\"b\"\n");
    let new = format!("{key}allowList=\"a\"\n{key}denyList=\"b\"\n");
    assert_eq!(of(Some(7)), old);
    assert_eq!(of(Some(8)), new);
    assert_eq!(of(Some(9)), new);
    assert!(of(None).contains("whitelist") && of(None).contains("allowList"));
}

#[test]
fn the_temporary_directory_is_one_however_it_is_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let raw = Configuration::new()
        .temporary_directory(path("first"))
        .raw("tmpDirectory", path("second"));
    assert!(raw.has_temporary_directory());
    assert_eq!(text(&raw), format!("tmpDirectory=\"{}\"\n", path("second")));
    assert!(Path::new(&path("second")).is_dir());
    let only_raw = Configuration::new().raw("tmpDirectory", path("second"));
    assert!(
        only_raw.has_temporary_directory(),
        "for a clean-up on start"
    );
    assert_refused(Configuration::new().raw("tmpDirectory", path("a\"b")));
}

#[test]
fn of_a_key_that_is_set_twice_the_last_value_counts() {
    let twice = Configuration::new()
        .nfc_log_level(NfcLogLevel::Debug)
        .raw("vixDiskLib.nfc.LogLevel", "2");
    assert_eq!(text(&twice), "vixDiskLib.nfc.LogLevel=\"2\"\n");
}

#[test]
fn what_would_break_the_file_or_a_disk_is_refused() {
    let new = Configuration::new;
    for value in ["a\nb", "a\rb", "a\"b", "a\0b", "a\tb", "a\u{85}b"] {
        assert_refused(new().raw("key", value));
        assert_refused(new().product_name(value));
        assert_refused(new().phone_home_directory(value));
        assert_refused(new().san_allow([value]));
    }
    for key in ["", "a b", "a=b", "#a", "a\n", "ä"] {
        assert_refused(new().raw(key, "1"));
    }
    assert_refused(new().product_name(""));
    assert_refused(new().product_name("Bäckup"));
    assert_refused(new().product_version("1,2"));
    assert_refused(new().san_deny(["a,b"]));
    assert_refused(new().san_deny([" "]));
    assert_refused(new().san_deny(Vec::<String>::new()));
    assert_refused(new().nfc_buffers(ByteLen::new(1 << 20), 17));
    assert_refused(new().nfc_buffers(ByteLen::new(1 << 63), 2));
    assert_refused(new().nfc_buffers(ByteLen::new(1000), 1));
    assert_refused(new().nfc_buffers(ByteLen::new(0), 1));
    assert_refused(new().nfc_buffers(ByteLen::new(1 << 20), 0));
    assert_refused(new().nfc_read_timeout(Duration::MAX));
    // A later setting does not hide an earlier mistake.
    assert_refused(new().product_name("").product_name("fine"));
}

#[test]
fn the_temporary_directory_is_made_for_this_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a").join("b");
    let configuration = Configuration::new().temporary_directory(&path);
    assert!(configuration.has_temporary_directory());
    let expected = format!("tmpDirectory=\"{}\"\n", path.display());
    assert_eq!(text(&configuration), expected);
    // It stays for the next process.
    assert_eq!(text(&configuration), expected);
    assert!(path.is_dir());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    assert_refused(Configuration::new().temporary_directory(file));
    assert_refused(Configuration::new().temporary_directory(folder.path().join("a\"b")));
}

proptest! {
    /// A reader that follows the guide's syntax finds every pair as it was given, whatever it was.
    #[test]
    fn what_is_accepted_reads_back(pairs in prop::collection::btree_map("[a-zA-Z.]{1,12}", any::<String>(), 0..5)) {
        let mut configuration = Configuration::new();
        for (key, value) in &pairs {
            configuration = configuration.raw(key, value);
        }
        let Ok(text) = configuration.prepare(None) else {
            return Ok(());
        };
        let mut read: Vec<(String, String)> = text
            .lines()
            .map(|line| {
                let (key, value) = line.split_once('=').expect("name=value");
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                (key.to_owned(), value.expect("quoted").to_owned())
            })
            .collect();
        read.sort();
        prop_assert_eq!(read, pairs.into_iter().collect::<Vec<_>>());
    }
}
