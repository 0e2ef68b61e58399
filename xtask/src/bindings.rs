//! `cargo xtask bindings [--check]`: writes the Rust types and the error table that the C headers give.
//!
//! The output is committed, so that the crates build without libclang. With `--check` nothing is written: every file
//! is made again and compared, and the layouts in `tests/c/layout.c` are compiled for Linux and for Windows.

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
        error_table(&root)?,
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
        check_layouts(&root, package)?;
        check_windows_types(&root, package)?;
    }
    check_codes(&root)
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

/// One code of the error header.
struct Code {
    name: String,
    number: u16,
    meaning: String,
}

/// Reads the enumeration of the error header: a comment and one `NAME = NUMBER,` per code.
fn error_codes(root: &Path) -> Result<Vec<Code>> {
    let path = root.join("vixdisklib-sys/include/vixDiskLibErrors.h");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let body = text
        .split_once("enum {\n")
        .and_then(|(_, rest)| rest.split_once("};"))
        .map(|(body, _)| body)
        .ok_or("the error header has no enumeration")?;
    let mut codes: Vec<Code> = Vec::new();
    let mut meaning = None;
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/** ") {
            meaning = comment.strip_suffix(" */").map(str::to_owned);
        } else if let Some((name, number)) = line.trim_end_matches(',').split_once(" = ") {
            let code = Code {
                name: name.to_owned(),
                number: number.parse()?,
                meaning: meaning.take().ok_or(format!("{name} has no comment"))?,
            };
            if codes.last().is_some_and(|last| last.number >= code.number) {
                return Err(format!("{name} is out of order").into());
            }
            codes.push(code);
        } else if !(line.is_empty() || line.starts_with("/* ")) {
            return Err(format!("{}: cannot read the line {line:?}", path.display()).into());
        }
    }
    Ok(codes)
}

/// The constants of `VixError` and the table behind its names and meanings.
fn error_table(root: &Path) -> Result<String> {
    let codes = error_codes(root)?;
    let mut text = String::from(
        "// Generated by `cargo xtask bindings` from vixDiskLibErrors.h. Do not edit.\n\n\
         use crate::VixError;\n\n\
         /// Every named code.\n\
         impl VixError {\n",
    );
    for Code {
        name,
        number,
        meaning,
    } in &codes
    {
        let short = name
            .strip_prefix("VIX_E_")
            .or(name.strip_prefix("VIX_"))
            .ok_or(format!("{name} has no known prefix"))?;
        text.push_str(&format!(
            "/// `{name}`: {meaning}.\n#[doc(alias = \"{name}\")]\npub const {short}: Self = Self({number});\n"
        ));
    }
    text.push_str(
        "}\n\n\
         /// Code, C name and meaning of every named code, in the order of the codes.\n\
         pub(crate) const CODES: &[(u16, &str, &str)] = &[\n",
    );
    for Code {
        name,
        number,
        meaning,
    } in &codes
    {
        text.push_str(&format!("({number}, {name:?}, {meaning:?}),\n"));
    }
    text.push_str("];\n");
    rustfmt(&text)
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

/// Compiles the table of sizes and offsets for Linux with the C compiler, and for both targets with clang.
fn check_layouts(root: &Path, package: &Package) -> Result<()> {
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
fn check_windows_types(root: &Path, package: &Package) -> Result<()> {
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
fn check_codes(root: &Path) -> Result<()> {
    let mut text = String::from("#include \"vixDiskLib.h\"\n");
    for Code { name, number, .. } in error_codes(root)? {
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
