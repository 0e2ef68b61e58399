//! What compilers say of the headers and of the types made from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::codes::{self, Code};
use super::{NEEDS, Package, Result, TARGETS, include_arguments};

/// Compiles the table of sizes and offsets for Linux with the C compiler, and for both targets with clang.
pub(super) fn layouts(root: &Path, package: &Package) -> Result<()> {
    let source = root.join(package.folder).join("tests/c/layout.c");
    compile(root, "cc", &[], &source)?;
    for target in &TARGETS {
        compile(
            root,
            "clang",
            &[&format!("--target={}", target.triple)],
            &source,
        )?;
    }
    Ok(())
}

/// Compiles the Rust types for Windows, on whatever machine this is: all that differs there, packing apart, is the
/// width of `long`.
pub(super) fn windows_types(root: &Path, package: &Package) -> Result<()> {
    let path = root.join(package.folder).join("src/bindings/windows.rs");
    let text = fs::read_to_string(&path)?
        .replace(package.imports, package.stand_in)
        .replace("::core::ffi::c_long", "i32");
    let folder = Scratch::new()?;
    let source = folder.0.join("types.rs");
    fs::write(&source, text)?;
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .args(["--cap-lints", "allow", "--out-dir"])
        .arg(&folder.0)
        .arg(&source)
        .status()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("rustc rejects {}", path.display()).into())
    }
}

/// Has the compiler confirm each number that was read from the text of the error header.
pub(super) fn error_codes(root: &Path) -> Result<()> {
    let mut text = String::from("#include \"vixDiskLib.h\"\n");
    for Code { name, number, .. } in codes::read(root)? {
        text.push_str(&format!(
            "_Static_assert({name} == {number}, \"{name}\");\n"
        ));
    }
    let folder = Scratch::new()?;
    let source = folder.0.join("codes.c");
    fs::write(&source, text)?;
    compile(root, "cc", &[], &source)
}

/// A folder that goes away again.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("vixdisklib-bindings-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn compile(root: &Path, compiler: &str, extra: &[&str], source: &Path) -> Result<()> {
    let status = Command::new(compiler)
        .args(extra)
        .args(include_arguments(root))
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"])
        .arg(source)
        .status()
        .map_err(|error| format!("cannot run {compiler} ({error}); {NEEDS}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "{compiler} {} rejects {}",
            extra.join(" "),
            source.display()
        )
        .into())
    }
}
