//! A program outside the workspace, built from what would be published: it shows that the packages hold all that they
//! need, and that a product can be written with them. It runs on libraries with the shape of releases of VDDK.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell::{cargo, command, root, run, target};
use crate::{Result, libraries};

/// The features that the program is built with. The last ones are without the engine and the NBD server.
const FEATURE_SETS: [&[&str]; 3] = [
    &[],
    &["--features", "vixdisklib/nbd"],
    &["--no-default-features", "--features", "vixdisklib/loader"],
];

/// Sectors of the disk that is read, all of them filled with ones.
const SECTORS: usize = 10_000;

/// `cargo xtask outside`.
pub(crate) fn run_everywhere() -> Result {
    let program = build()?;
    let libraries = libraries::build()?;
    let datastore = target().join("outside/datastore");
    fs::create_dir_all(datastore.join("vm"))?;
    fs::write(datastore.join("vm/disk-flat.vmdk"), vec![1; SECTORS * 512])?;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
         RW {SECTORS} FLAT \"disk-flat.vmdk\" 0\n"
    );
    fs::write(datastore.join("vm/disk.vmdk"), text)?;
    let sum = SECTORS * 512;
    for library in ["vddk-6.7", "vddk-7.0", "vddk-8.0", "vddk-9.0"] {
        let output = command(&program)
            .arg(libraries.join(library))
            .args(["vc.example.com", "[store] vm/disk.vmdk"])
            .env("VDDK_LIKE_DATASTORE", &datastore)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || text != format!("{sum}\n{sum}\n") {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("on {library} the program outside says: {text}{errors}").into());
        }
        println!(
            "outside, on {library}: read {sum} bytes of ones, by moref and as first class disk"
        );
    }
    Ok(())
}

/// Packs what would be published, builds the program `tests/outside` from that, and returns its path.
fn build() -> Result<PathBuf> {
    let folder = target().join("outside");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let packages = published()?;
    pack(&packages, &folder.join("packed"))?;
    let program = folder.join("program");
    fs::create_dir_all(program.join("src"))?;
    let source = root().join("tests/outside");
    fs::copy(source.join("src/main.rs"), program.join("src/main.rs"))?;
    let mut manifest = fs::read_to_string(source.join("Cargo.toml"))?;
    manifest.push_str("\n[workspace]\n\n[patch.crates-io]\n");
    for package in &packages {
        let path = folder.join("packed").join(&package.folder);
        writeln!(manifest, "{} = {{ path = {path:?} }}", package.name)?;
    }
    fs::write(program.join("Cargo.toml"), manifest)?;
    // The same versions of everything else.
    fs::copy(root().join("Cargo.lock"), program.join("Cargo.lock"))?;
    for features in FEATURE_SETS {
        let build = ["build", "--manifest-path"];
        run(cargo()
            .args(build)
            .arg(program.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(folder.join("target"))
            .args(features))?;
    }
    Ok(folder.join("target/debug/outside"))
}

/// A crate that is published.
struct Package {
    name: String,
    /// What its files are under once they are unpacked.
    folder: String,
}

fn published() -> Result<Vec<Package>> {
    let words = ["metadata", "--no-deps", "--format-version", "1"];
    let output = cargo().args(words).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .filter(|package| package["publish"].is_null())
        .map(|package| {
            let name = text(package, "name");
            let folder = format!("{name}-{}", text(package, "version"));
            Package { name, folder }
        })
        .collect())
}

/// `cargo package` of all of them, unpacked.
fn pack(packages: &[Package], folder: &Path) -> Result {
    let mut package = cargo();
    // What is built below is built from these packages, so cargo need not do so too.
    package.args(["package", "--quiet", "--allow-dirty", "--no-verify"]);
    for each in packages {
        package.args(["-p", &each.name]);
    }
    run(&mut package)?;
    fs::create_dir_all(folder)?;
    for each in packages {
        let file = target().join(format!("package/{}.crate", each.folder));
        run(command("tar").arg("-xzf").arg(file).arg("-C").arg(folder))?;
    }
    Ok(())
}
