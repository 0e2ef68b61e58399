//! The loader, against distributions that the C compiler makes here.
//!
//! Libraries stay loaded and the dynamic linker knows them by SONAME, so each test gives its libraries names of their
//! own. `TAG` in a name or a source stands for that.

#![cfg(all(feature = "loader", target_os = "linux"))]

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vixdisklib_sys::FnTable;
use vixdisklib_sys::loader::{self, LoadError, Loaded};

/// A folder laid out as a distribution.
struct Fake {
    folder: TempDir,
    tag: &'static str,
}

impl Fake {
    fn new(tag: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir(folder.path().join("lib64")).expect("lib64");
        Self { folder, tag }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("exists")
    }

    fn lib64(&self, name: &str) -> PathBuf {
        self.root()
            .join("lib64")
            .join(name.replace("TAG", self.tag))
    }

    /// Compiles a library into `lib64`, linked against others there.
    fn library(&self, name: &str, soname: Option<&str>, source: &str, needs: &[&str]) -> PathBuf {
        let output = self.lib64(name);
        let input = self.root().join(format!(
            "{}.c",
            output.file_name().expect("named").display()
        ));
        fs::write(&input, source.replace("TAG", self.tag)).expect("source");
        let mut command = Command::new("cc");
        command.args([
            "-shared",
            "-fPIC",
            "-Wno-builtin-declaration-mismatch",
            "-o",
        ]);
        command.arg(&output).arg(&input);
        if let Some(soname) = soname {
            command.arg(format!("-Wl,-soname,{}", soname.replace("TAG", self.tag)));
        }
        command.arg(format!("-L{}", self.root().join("lib64").display()));
        command.arg(format!(
            "-Wl,-rpath-link,{}",
            self.root().join("lib64").display()
        ));
        for name in needs {
            command.arg(format!("-l:{}", name.replace("TAG", self.tag)));
        }
        assert!(command.status().expect("a C compiler").success(), "{name}");
        output
    }

    /// Compiles a private library whose SONAME is its name.
    fn private(&self, name: &str, source: &str, needs: &[&str]) -> PathBuf {
        self.library(name, Some(name), source, needs)
    }

    /// Compiles VixDiskLib itself: `source` and a stub for each required function that is neither there nor left out.
    fn disk_lib(
        &self,
        file: &str,
        soname: &str,
        source: &str,
        needs: &[&str],
        left_out: &[&str],
    ) -> PathBuf {
        let mut source = source.to_owned();
        for symbol in FnTable::SYMBOLS.iter().filter(|symbol| symbol.required) {
            if !source.contains(symbol.name) && !left_out.contains(&symbol.name) {
                source += &format!("unsigned long long {}(void) {{ return 6; }}\n", symbol.name);
            }
        }
        self.library(file, Some(soname), &source, needs)
    }

    /// As above, as release 8.0.3 with its usual link.
    fn release_8(&self, source: &str, needs: &[&str]) {
        self.disk_lib(
            "libvixDiskLib.so.8.0.3",
            "libvixDiskLib.so.8",
            source,
            needs,
            &[],
        );
        symlink("libvixDiskLib.so.8.0.3", self.lib64("libvixDiskLib.so.8")).expect("link");
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(&self.root())
    }
}

fn load(path: &Path) -> Result<Loaded, LoadError> {
    // SAFETY: the fakes have no initialisers, and the tests call only functions that the fakes define as declared.
    unsafe { loader::load(path) }
}

/// What the fake's `VixDiskLib_GetTransportMode` says.
fn says(loaded: &Loaded) -> String {
    // SAFETY: the fake ignores the handle and returns a string constant.
    let text = unsafe { (loaded.table.get_transport_mode)(std::ptr::null_mut()) };
    // SAFETY: see above.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().expect("ASCII").to_owned()
}

const MIDDLE: &str =
    "const char *TAG_deep(void); const char *TAG_middle(void) { return TAG_deep(); }";
const DEEP: &str = "const char *TAG_deep(void) { return \"two levels down\"; }";
const ASKS_MIDDLE: &str = "const char *TAG_middle(void); const char *VixDiskLib_GetTransportMode(void *h) { (void)h; return TAG_middle(); }";

fn two_levels(tag: &'static str) -> Fake {
    let fake = Fake::new(tag);
    fake.private("libTAGdeep.so.2", DEEP, &[]);
    fake.private("libTAGmiddle.so", MIDDLE, &["libTAGdeep.so.2"]);
    fake.release_8(ASKS_MIDDLE, &["libTAGmiddle.so"]);
    fake
}

#[test]
fn private_libraries_two_levels_deep_are_found_from_the_root() {
    let fake = two_levels("tworoot");
    let loaded = fake.load().expect("loads");
    assert_eq!(says(&loaded), "two levels down");
    assert_eq!(loaded.path, fake.lib64("libvixDiskLib.so.8.0.3"));
    assert_eq!(loaded.root, fake.root());
    assert_eq!(loaded.version.expect("named").numbers(), [8, 0, 3]);
    assert!(loaded.shadowed.is_empty());
    assert!(loaded.refused.is_empty());
    assert!(loaded.table.query_allocated_blocks.is_none());
}

#[test]
fn private_libraries_two_levels_deep_are_found_from_lib64() {
    let fake = two_levels("twolib");
    let loaded = load(&fake.root().join("lib64")).expect("loads");
    assert_eq!(says(&loaded), "two levels down");
    assert_eq!(loaded.root, fake.root());
}

#[test]
fn private_libraries_two_levels_deep_are_found_from_the_file() {
    let fake = two_levels("twofile");
    let loaded = load(&fake.lib64("libvixDiskLib.so.8")).expect("loads");
    assert_eq!(says(&loaded), "two levels down");
    assert_eq!(loaded.root, fake.root());
}

#[test]
fn loading_twice_is_the_same_library() {
    let fake = two_levels("twice");
    let one = fake.load().expect("loads");
    let other = fake.load().expect("loads again");
    assert_eq!(one.table.read as usize, other.table.read as usize);
    assert!(other.shadowed.is_empty(), "{:?}", other.shadowed);
}

#[test]
fn a_link_from_elsewhere_finds_the_neighbours_of_the_real_file() {
    let fake = two_levels("linked");
    let elsewhere = tempfile::tempdir().expect("a scratch folder");
    symlink(
        fake.lib64("libvixDiskLib.so.8"),
        elsewhere.path().join("libvixDiskLib.so.8"),
    )
    .expect("link");
    let loaded = load(elsewhere.path()).expect("loads");
    assert_eq!(says(&loaded), "two levels down");
    assert_eq!(loaded.version.expect("named").to_string(), "8.0.3");
}

/// glibc installs `libBrokenLocale.so.1`, and next to nothing loads it.
#[test]
fn a_private_library_wins_over_one_that_the_system_has() {
    let fake = Fake::new("system");
    let private = fake.private(
        "libBrokenLocale.so.1",
        "const char *which(void) { return \"private\"; }",
        &[],
    );
    fake.release_8(
        "const char *which(void); const char *VixDiskLib_GetTransportMode(void *h) { (void)h; return which(); }",
        &["libBrokenLocale.so.1"],
    );
    let loaded = fake.load().expect("loads");
    assert_eq!(says(&loaded), "private");
    assert!(loaded.shadowed.is_empty());
    assert!(mapped(&private));
}

/// `libthread_db.so.1` of glibc has `td_symbol_list`, which returns a list of names.
#[test]
fn a_private_library_gives_way_to_one_that_is_loaded_already_and_says_so() {
    // SAFETY: a library of glibc, made to be loaded by debuggers.
    let own = unsafe { libloading::Library::new("libthread_db.so.1") }.expect("glibc has it");
    // SAFETY: the signature of `thread_db.h`.
    let own_list =
        unsafe { own.get::<unsafe extern "C" fn() -> *const *const i8>(c"td_symbol_list") }
            .expect("has it");
    // SAFETY: takes nothing and returns a static list.
    let own_before = unsafe { own_list() };

    let fake = Fake::new("loaded");
    let private = fake.private(
        "libthread_db.so.1",
        "const char **td_symbol_list(void) { return 0; }",
        &[],
    );
    fake.release_8(
        "const char **td_symbol_list(void); const char *VixDiskLib_GetTransportMode(void *h) \
         { (void)h; return td_symbol_list() ? \"system\" : \"private\"; }",
        &["libthread_db.so.1"],
    );
    let loaded = fake.load().expect("loads");
    assert_eq!(says(&loaded), "system");
    let [shadowed] = loaded.shadowed.as_slice() else {
        panic!("one report: {:?}", loaded.shadowed);
    };
    assert_eq!(shadowed.private, private);
    assert!(shadowed.in_use.ends_with("libthread_db.so.1"));
    assert_ne!(shadowed.in_use, private);
    assert!(!mapped(&private));
    // SAFETY: as above.
    assert_eq!(unsafe { own_list() }, own_before);
}

/// `libanl.so.1` of glibc lacks the symbol that the private one has.
#[test]
fn a_refusal_because_of_a_library_that_is_loaded_already_names_it() {
    // SAFETY: a library of glibc without initialisers of note.
    let _own = unsafe { libloading::Library::new("libanl.so.1") }.expect("glibc has it");
    let fake = Fake::new("refusal");
    let private = fake.private("libanl.so.1", "int only_here(void) { return 1; }", &[]);
    fake.release_8("int only_here(void); void *VixDiskLib_GetTransportMode(void *h) { return only_here() ? h : 0; }", &[
        "libanl.so.1",
    ]);
    let error = fake.load().expect_err("a symbol is missing");
    let text = error.to_string();
    assert!(matches!(error, LoadError::Refused { .. }), "{error:?}");
    assert!(text.contains("only_here"), "{text}");
    assert!(text.contains(&private.display().to_string()), "{text}");
}

fn mapped(file: &Path) -> bool {
    fs::read_to_string("/proc/self/maps")
        .expect("Linux")
        .contains(&file.display().to_string())
}

const OPENS_PLUGIN: &str = "#include <dlfcn.h>\n\
    const char *VixDiskLib_GetTransportMode(void *h) {\n\
       const char *(*plugin)(void); (void)h;\n\
       void *handle = dlopen(\"libTAGplugin.so\", RTLD_NOW);\n\
       if (!handle) return \"no plug-in\";\n\
       plugin = (const char *(*)(void))dlsym(handle, \"TAG_plugin\");\n\
       return plugin ? plugin() : \"no symbol\";\n\
    }\n";

#[test]
fn a_plugin_that_is_opened_later_by_bare_name_is_found_with_what_it_needs() {
    let fake = Fake::new("plug");
    fake.private(
        "libTAGhelper.so.1",
        "const char *TAG_help(void) { return \"helped\"; }",
        &[],
    );
    fake.private(
        "libTAGplugin.so",
        "const char *TAG_help(void); const char *TAG_plugin(void) { return TAG_help(); }",
        &["libTAGhelper.so.1"],
    );
    fake.release_8(OPENS_PLUGIN, &[]);
    assert_eq!(says(&fake.load().expect("loads")), "helped");
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_reported_and_not_fatal() {
    let fake = Fake::new("badplug");
    let gone = fake.private("libTAGgone.so.1", "int TAG_gone(void) { return 1; }", &[]);
    let plugin = fake.private(
        "libTAGplugin.so",
        "int TAG_gone(void); int TAG_plugin(void) { return TAG_gone(); }",
        &["libTAGgone.so.1"],
    );
    fake.release_8(OPENS_PLUGIN, &[]);
    fs::remove_file(gone).expect("remove");
    let loaded = fake.load().expect("loads");
    let [LoadError::MissingDependency { path, name }] = loaded.refused.as_slice() else {
        panic!("one report: {:?}", loaded.refused);
    };
    assert_eq!(*path, plugin);
    assert_eq!(name, "libbadpluggone.so.1");
    assert_eq!(says(&loaded), "no plug-in");
}

#[test]
fn a_file_beside_it_that_is_no_library_is_reported_and_not_fatal() {
    let fake = Fake::new("script");
    let script = fake.lib64("libTAGscript.so");
    fs::write(&script, "INPUT(elsewhere)").expect("written");
    fake.release_8("", &[]);
    let loaded = fake.load().expect("loads");
    assert!(
        matches!(loaded.refused.as_slice(), [LoadError::NotALibrary { path, .. }] if *path == script),
        "{:?}",
        loaded.refused
    );
}

#[test]
fn every_missing_symbol_is_named_in_one_error() {
    let fake = Fake::new("symbols");
    let left_out = ["VixDiskLib_Flush", "VixDiskLib_Wait", "VixDiskLib_Read"];
    let path = fake.disk_lib(
        "libvixDiskLib.so.8",
        "libvixDiskLib.so.8",
        "",
        &[],
        &left_out,
    );
    let error = fake.load().expect_err("symbols are missing");
    let LoadError::MissingSymbols {
        path: named,
        source,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(*named, path);
    assert_eq!(
        source.names(),
        ["VixDiskLib_Read", "VixDiskLib_Flush", "VixDiskLib_Wait"]
    );
    assert_eq!(
        std::error::Error::source(&error)
            .expect("a cause")
            .to_string(),
        "required symbols missing: VixDiskLib_Read, VixDiskLib_Flush, VixDiskLib_Wait"
    );
}

/// Rewrites the machine in the head of an ELF file.
fn make_foreign(path: &Path) {
    let mut bytes = fs::read(path).expect("compiled");
    bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_library_for_another_machine_is_refused_by_name() {
    let fake = Fake::new("foreign");
    let path = fake.disk_lib("libvixDiskLib.so.8", "libvixDiskLib.so.8", "", &[], &[]);
    make_foreign(&path);
    let error = fake.load().expect_err("foreign");
    assert_eq!(
        error.to_string(),
        format!(
            "{} is built for AArch64, this process needs x86-64",
            path.display()
        )
    );
}

#[test]
fn a_private_library_for_another_machine_is_refused_by_name() {
    let fake = two_levels("foreigndeep");
    let deep = fake.lib64("libTAGdeep.so.2");
    make_foreign(&deep);
    let error = fake.load().expect_err("foreign");
    assert!(
        matches!(&error, LoadError::WrongArchitecture { path, .. } if *path == deep),
        "{error:?}"
    );
}

#[test]
fn a_missing_private_library_is_named_with_the_one_that_needs_it() {
    let fake = two_levels("missing");
    fs::remove_file(fake.lib64("libTAGdeep.so.2")).expect("remove");
    let error = fake.load().expect_err("incomplete");
    assert!(
        matches!(&error, LoadError::MissingDependency { path, name }
            if *path == fake.lib64("libTAGmiddle.so") && name == "libmissingdeep.so.2"),
        "{error:?}"
    );
}

#[test]
fn nothing_to_load() {
    let fake = Fake::new("empty");
    let error = fake.load().expect_err("empty");
    let LoadError::NoLibrary { path, looked_for } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*path, fake.root());
    assert_eq!(looked_for.first(), Some(&fake.lib64("libvixDiskLib.so.9")));
    assert_eq!(
        looked_for.last(),
        Some(&fake.root().join("libvixDiskLib.so.6"))
    );

    let nowhere = fake.root().join("nowhere");
    assert!(matches!(load(&nowhere), Err(LoadError::Unreadable { path, .. }) if path == nowhere));

    let text = fake.root().join("text.so");
    fs::write(&text, "no library\n").expect("written");
    assert!(matches!(load(&text), Err(LoadError::NotALibrary { path, .. }) if path == text));
    fs::write(&text, b"\x7fELF\x02\x01\x01").expect("written");
    assert!(matches!(load(&text), Err(LoadError::NotALibrary { path, .. }) if path == text));

    let dangling = fake.lib64("libvixDiskLib.so.7");
    symlink("nowhere", &dangling).expect("link");
    assert!(matches!(fake.load(), Err(LoadError::Unreadable { path, .. }) if path == dangling));
}

fn release(fake: &Fake, number: u32, left_out: &[&str]) {
    let soname = format!("libvixDiskLib.so.{number}");
    let source = format!(
        "const char *VixDiskLib_GetTransportMode(void *h) {{ (void)h; return \"release {number}\"; }}"
    );
    fake.disk_lib(&format!("{soname}.0.0"), &soname, &source, &[], left_out);
    symlink(format!("{soname}.0.0"), fake.lib64(&soname)).expect("link");
}

#[test]
fn the_newest_release_that_loads_is_taken() {
    let fake = Fake::new("several");
    release(&fake, 7, &[]);
    release(&fake, 8, &[]);
    release(&fake, 9, &[]);
    let loaded = fake.load().expect("loads");
    assert_eq!(says(&loaded), "release 9");
    assert_eq!(loaded.version.expect("named").major(), 9);
}

#[test]
fn a_release_that_does_not_load_gives_way_to_an_older_one() {
    let fake = Fake::new("older");
    release(&fake, 8, &[]);
    release(&fake, 9, &[]);
    make_foreign(&fake.lib64("libvixDiskLib.so.9.0.0"));
    let loaded = fake.load().expect("loads");
    assert_eq!(says(&loaded), "release 8");
}

#[test]
fn of_several_errors_the_first_is_kept() {
    let fake = Fake::new("first");
    release(&fake, 7, &["VixDiskLib_Open"]);
    release(&fake, 9, &["VixDiskLib_Close"]);
    let error = fake.load().expect_err("both are bad");
    assert!(
        matches!(&error, LoadError::MissingSymbols { source, .. } if source.names() == ["VixDiskLib_Close"]),
        "{error:?}"
    );
}

/// Builds without `-soname`, as small projects do.
#[test]
fn a_dependency_and_a_plugin_without_soname_are_found() {
    let fake = Fake::new("nameless");
    fake.library("libTAGdeep.so", None, DEEP, &[]);
    fake.library("libTAGmiddle.so", None, MIDDLE, &["libTAGdeep.so"]);
    fake.library(
        "libTAGplugin.so",
        None,
        "const char *TAG_middle(void); const char *TAG_plugin(void) { return TAG_middle(); }",
        &["libTAGmiddle.so"],
    );
    fake.release_8(OPENS_PLUGIN, &["libTAGmiddle.so"]);
    let loaded = fake.load().expect("loads");
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    assert_eq!(says(&loaded), "two levels down");
}

#[test]
fn a_plugin_is_found_by_a_link_that_is_not_its_soname() {
    let fake = Fake::new("linkname");
    fake.private(
        "libTAGplugin.so.4",
        "const char *TAG_plugin(void) { return \"by its link\"; }",
        &[],
    );
    symlink(
        fake.lib64("libTAGplugin.so.4"),
        fake.lib64("libTAGplugin.so"),
    )
    .expect("link");
    fake.release_8(OPENS_PLUGIN, &[]);
    assert_eq!(says(&fake.load().expect("loads")), "by its link");
}

#[test]
fn a_library_without_soname_in_a_folder_that_no_rpath_can_name_is_an_error() {
    let fake = Fake::new("colon");
    let folder = fake.root().join("a:b");
    fs::create_dir(&folder).expect("folder");
    fake.library("libTAGdeep.so", None, DEEP, &[]);
    fake.disk_lib(
        "libvixDiskLib.so.8",
        "libvixDiskLib.so.8",
        "const char *TAG_deep(void); const char *VixDiskLib_GetTransportMode(void *h) { (void)h; return TAG_deep(); }",
        &["libTAGdeep.so"],
        &[],
    );
    fs::rename(fake.root().join("lib64"), folder.join("lib64")).expect("moved");
    let error = load(&folder).expect_err("no alias");
    assert!(
        matches!(&error, LoadError::Nameless { path, .. } if path.ends_with("libcolondeep.so")),
        "{error:?}"
    );
}
