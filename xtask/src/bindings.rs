//! `cargo xtask bindings [--check]`: writes the Rust types and the error table that the C headers give.
//!
//! The output is committed, so that the crates build without libclang. With `--check` nothing is written: every file
//! is made again and compared, and the layouts in `tests/c/layout.c` are compiled for Linux and for Windows.

mod check;
mod codes;

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bindgen::callbacks::{DeriveInfo, ParseCallbacks, TypeKind};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What to install when there is no libclang.
const NEEDS: &str = "libclang and clang are needed to read the headers; \
    on Debian and Ubuntu install the packages clang, libclang-dev and libc6-dev, \
    elsewhere set LIBCLANG_PATH to the directory that holds libclang.so";

/// The basic types of the headers are those of C99. Told so, bindgen prints `u64` instead of an alias.
const BASIC_TYPES: [&str; 6] = [
    "-Duint8=uint8_t",
    "-Duint16=uint16_t",
    "-Duint32=uint32_t",
    "-Duint64=uint64_t",
    "-Dint32=int32_t",
    "-Dint64=int64_t",
];

/// A target whose types are committed.
struct Target {
    file: &'static str,
    triple: &'static str,
}

const TARGETS: [Target; 2] = [
    Target {
        file: "linux.rs",
        triple: "x86_64-unknown-linux-gnu",
    },
    Target {
        file: "windows.rs",
        triple: "x86_64-pc-windows-msvc",
    },
];

/// A crate whose types come from a header.
struct Package {
    folder: &'static str,
    headers: &'static [&'static str],
    types: &'static [&'static str],
    constants: &'static str,
    functions: &'static str,
    imports: &'static str,
    /// Stands in for the imports where the types are compiled alone.
    stand_in: &'static str,
}

const PACKAGES: [Package; 2] = [
    Package {
        folder: "vixdisklib-sys",
        headers: &["vixDiskLib.h", "vixDiskLibExt.h"],
        types: &["VixDiskLib.*", "Bool"],
        constants: "VIXDISKLIB.*",
        functions: "VixDiskLib(Ext)?_.*",
        imports: "use crate::VixError;",
        stand_in: "#[derive(Clone, Copy, Debug)]\npub struct VixError(pub u64);",
    },
    Package {
        folder: "vixmntapi-sys",
        headers: &["vixMntapi.h"],
        types: &["VixOs.*", "VixVolume.*", "VixDiskSet.*"],
        constants: "VIXMNTAPI.*",
        functions: "VixMntapi_.*",
        imports: "use vixdisklib_sys::Bool;",
        stand_in: "pub type Bool = ::core::ffi::c_char;",
    },
];

/// Runs the command.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [only] if only == "--check" => true,
        _ => return Err("usage: cargo xtask bindings [--check]".into()),
    };
    let root = workspace_root();
    require_libclang()?;

    let mut files = vec![(
        root.join("vixdisklib-sys/src/bindings/codes.rs"),
        codes::table(&root)?,
    )];
    for package in &PACKAGES {
        for target in &TARGETS {
            let path = root
                .join(package.folder)
                .join("src/bindings")
                .join(target.file);
            files.push((path, types(&root, package, target)?));
        }
        let path = root.join(package.folder).join("tests/prototypes/mod.rs");
        files.push((path, prototypes(&root, package)?));
    }

    if !check {
        for (path, text) in &files {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, text)?;
        }
        return Ok(());
    }
    for (path, text) in &files {
        let committed = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if committed != *text {
            return Err(format!(
                "{} is not what the headers give; run `cargo xtask bindings`",
                path.display()
            )
            .into());
        }
    }
    for package in &PACKAGES {
        check::layouts(&root, package)?;
        check::windows_types(&root, package)?;
    }
    check::error_codes(&root)
}

fn workspace_root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where the headers are: those of the mount API include those of the disk API.
fn include_arguments(root: &Path) -> Vec<String> {
    PACKAGES
        .iter()
        .map(|package| format!("-I{}", root.join(package.folder).join("include").display()))
        .collect()
}

/// bindgen panics without libclang, so this asks first.
fn require_libclang() -> Result<()> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let version = std::panic::catch_unwind(bindgen::clang_version);
    std::panic::set_hook(hook);
    version.map(|_| ()).map_err(|_| NEEDS.into())
}

/// What every run of bindgen has in common.
fn builder(root: &Path, package: &Package, target: &Target) -> Result<bindgen::Builder> {
    let mut builder = bindgen::builder()
        .clang_arg(format!("--target={}", target.triple))
        .clang_args(include_arguments(root))
        .clang_args(BASIC_TYPES)
        .rust_target(bindgen::RustTarget::stable(95, 0).map_err(|error| error.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .use_core()
        .ctypes_prefix("::core::ffi")
        .allowlist_recursively(false)
        .disable_header_comment()
        .formatter(bindgen::Formatter::None);
    for header in package.headers {
        let path = root.join(package.folder).join("include").join(header);
        builder = builder.header(path.display().to_string());
    }
    Ok(builder)
}

/// The functions of one crate as the header declares them, and a function which puts each into the field of the table
/// that is named after it. It is part of a test: it compiles where the hand-written table has the same signatures.
fn prototypes(root: &Path, package: &Package) -> Result<String> {
    let generated = builder(root, package, &TARGETS[0])?
        .with_codegen_config(bindgen::CodegenConfig::FUNCTIONS)
        .allowlist_function(package.functions)
        .merge_extern_blocks(true)
        .generate_comments(false)
        .generate()
        .map_err(|error| error.to_string())?;
    let generated = rustfmt(&generated.to_string())?;
    let mut text = format!(
        "// Generated by `cargo xtask bindings` from {}. Do not edit.\n\nuse {}::*;\n\n{generated}\n\
         /// Puts each function into its field.\npub fn assign(table: &mut FnTable) {{\n",
        package.headers.join(" and "),
        package.folder.replace('-', "_"),
    );
    let declarations = generated.split(';');
    for declaration in declarations {
        let Some((name, parameters)) = declaration
            .split_once("pub fn ")
            .and_then(|(_, declaration)| declaration.split_once('('))
        else {
            continue;
        };
        let blanks = vec!["_"; parameters.matches(": ").count()].join(", ");
        text.push_str(&format!(
            "table.{} = ({name} as unsafe extern \"C\" fn({blanks}) -> _).into();\n",
            field_name(name)
        ));
    }
    text.push_str("}\n");
    rustfmt(&text)
}

/// `VixDiskLib_ReadAsync` as `read_async`, `VixDiskLibExt_Trim` as `ext_trim`.
fn field_name(symbol: &str) -> String {
    let (prefix, rest) = symbol.split_once('_').unwrap_or(("", symbol));
    let mut name = String::from(if prefix.ends_with("Ext") { "ext" } else { "" });
    for letter in rest.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[derive(Debug)]
struct DeriveDebug;

impl ParseCallbacks for DeriveDebug {
    fn add_derives(&self, info: &DeriveInfo<'_>) -> Vec<String> {
        match info.kind {
            TypeKind::Union => Vec::new(),
            TypeKind::Struct | TypeKind::Enum => vec!["Debug".to_owned()],
        }
    }
}

/// The types and constants of one crate on one target.
fn types(root: &Path, package: &Package, target: &Target) -> Result<String> {
    let mut builder = builder(root, package, target)?
        .with_codegen_config(bindgen::CodegenConfig::TYPES | bindgen::CodegenConfig::VARS)
        .allowlist_var(package.constants)
        // Hand-written, as `va_list` has no stable counterpart in Rust: `vixdisklib_sys::va_list`.
        .blocklist_type("VixDiskLibGenericLog.*")
        .newtype_enum(".*")
        .prepend_enum_name(false)
        // What bindgen writes for `Debug` does not compile for packed structures; what rustc derives does.
        .no_debug(".*")
        .parse_callbacks(Box::new(DeriveDebug))
        .derive_default(true)
        .derive_eq(true)
        .layout_tests(true);
    for name in package.types {
        builder = builder.allowlist_type(name);
    }
    let generated = builder.generate().map_err(|error| error.to_string())?;
    let mut text = format!(
        "// Generated by `cargo xtask bindings` from {} for {}. Do not edit.\n\n{}\n\n",
        package.headers.join(" and "),
        target.triple,
        package.imports
    );
    let comments = macro_comments(root, package)?;
    let generated = rustfmt(&generated.to_string())?;
    for line in generated.lines() {
        let constant = line
            .strip_prefix("pub const ")
            .and_then(|rest| rest.split_once(':'));
        if let Some((name, _)) = constant {
            let comment = comments
                .iter()
                .find(|(macro_name, _)| macro_name == name)
                .ok_or(format!("{name} has no comment"))?;
            text.push_str(&format!("/// {}\n", comment.1));
        }
        match doc_attribute(line) {
            Some(doc) => text.push_str(&doc),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    let unions = generated
        .lines()
        .filter_map(|line| line.strip_prefix("pub union ")?.strip_suffix(" {"));
    for union in unions {
        text.push_str(&format!(
            "impl ::core::fmt::Debug for {union} {{\n\
             fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n\
             formatter.debug_struct(\"{union}\").finish_non_exhaustive()\n\
             }}\n}}\n"
        ));
    }
    rustfmt(&text)
}

/// The comments of macros, which clang does not keep: name and text of each `/** .. */` before a `#define`.
fn macro_comments(root: &Path, package: &Package) -> Result<Vec<(String, String)>> {
    let mut comments = Vec::new();
    for header in package.headers {
        let path = root.join(package.folder).join("include").join(header);
        let text = fs::read_to_string(path)?;
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let comment = pair[0]
                .strip_prefix("/** ")
                .and_then(|rest| rest.strip_suffix(" */"));
            let name = pair[1]
                .strip_prefix("#define ")
                .and_then(|rest| rest.split_whitespace().next());
            if let (Some(comment), Some(name)) = (comment, name) {
                comments.push((name.to_owned(), comment.to_owned()));
            }
        }
    }
    Ok(comments)
}

/// A `#[doc = ".."]` line as the comment that a person would write.
fn doc_attribute(line: &str) -> Option<String> {
    let text = line.trim_start().strip_prefix("#[doc = \"")?;
    let text = text.strip_suffix("\"]")?.replace("\\\"", "\"");
    let lines: Vec<String> = text
        .split("\\n")
        .map(|line| format!("/// {}", line.trim()))
        .collect();
    Some(lines.join("\n"))
}

fn rustfmt(source: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run rustfmt: {error}"))?;
    child
        .stdin
        .take()
        .ok_or("rustfmt has no standard input")?
        .write_all(source.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("rustfmt failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
