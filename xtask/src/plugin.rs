//! nbdkit's plug-in for VDDK, which loads our shared library as other programs load VDDK.
//!
//! Debian 12 has nbdkit without it; Debian 13 has it as a package of its own, whose plug-in runs under either. It comes
//! from wherever this machine gets its packages, through an apt that keeps all its state in the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::shell::{command, run, target, works};

/// The release and the part of it that have the package.
const SUITE: &str = "trixie";
const COMPONENT: &str = "contrib";
const PACKAGE: &str = "nbdkit-plugin-vddk";
/// What the package is fetched for.
const FILE: &str = "nbdkit-vddk-plugin.so";

/// The plug-in, if it was fetched.
pub(crate) fn fetched() -> Option<PathBuf> {
    Some(path()).filter(|path| path.exists())
}

/// Fetches the plug-in, once.
pub(crate) fn provide() -> Result {
    if fetched().is_some() {
        return Ok(());
    }
    for tool in ["apt-get", "dpkg"] {
        if !works(command(tool).arg("--version")) {
            return Err(format!("{tool} is not here").into());
        }
    }
    let sources = Sources::of_the_machine()?;
    let folder = path().with_file_name("apt");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("sources"))?;
    fs::write(folder.join("sources/machine.list"), sources.lines)?;
    fs::write(folder.join("sources/machine.sources"), sources.stanzas)?;
    fs::write(folder.join("apt.conf"), configuration(&folder)?)?;
    let apt = || {
        let mut apt = command("apt-get");
        apt.current_dir(&folder).arg("-qq").arg("-c=apt.conf");
        apt
    };
    // A source beside Debian's may lack the suite. What matters is whether one has the package.
    if let Err(error) = run(apt().arg("update")) {
        eprintln!("{error}");
    }
    run(apt().args(["download", PACKAGE]))?;
    let package = find(&folder, |path| path.extension() == Some("deb".as_ref()))?;
    let unpacked = folder.join("unpacked");
    run(command("dpkg").arg("-x").arg(package).arg(&unpacked))?;
    // It lies in a folder with the name of the architecture.
    let plugin = find(&unpacked.join("usr/lib"), |path| path.ends_with(FILE))?;
    fs::copy(plugin, path())?;
    Ok(())
}

fn path() -> PathBuf {
    target().join("peers").join(FILE)
}

/// Where apt keeps what it fetches. The machine's own settings, such as a proxy, stay; the commands that it runs after
/// each update are left out, as they would change its own state.
fn configuration(folder: &Path) -> Result<String> {
    for name in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let folder = folder.display();
    Ok(format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc::SourceList \"/dev/null\";\n\
         Dir::Etc::SourceParts \"{folder}/sources\";\n\
         APT::Sandbox::User \"\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n"
    ))
}

/// The one file below `folder` that is meant.
fn find(folder: &Path, is_meant: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_meant(&path) {
                return Ok(path);
            }
        }
    }
    Err(format!("nothing in {} is what was looked for", folder.display()).into())
}

/// Package sources for [`SUITE`] and [`COMPONENT`], in apt's two formats.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    lines: String,
    stanzas: String,
}

impl Sources {
    /// From where the machine gets its own release.
    fn of_the_machine() -> Result<Self> {
        let codename = codename(&fs::read_to_string("/etc/os-release")?)
            .ok_or("this system's release has no code name")?;
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
        }
        files.sort();
        let mut sources = Self::default();
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources.lines += &changed_lines(&text, &codename),
                Some("sources") => sources.stanzas += &changed_stanzas(&text, &codename),
                _ => {}
            }
        }
        if sources == Self::default() {
            return Err(format!("no package source of this machine has {codename} main").into());
        }
        Ok(sources)
    }
}

fn codename(os_release: &str) -> Option<String> {
    let name = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// `deb [options] URI suite component...` for each line that has the main part of this release.
fn changed_lines(text: &str, codename: &str) -> String {
    let changed = text.lines().filter_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (options, rest) = rest.split_once(']')?;
                (format!("[{}] ", options.trim()), rest)
            }
            None => (String::new(), rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        let ours = words.next()? == codename && words.any(|component| component == "main");
        ours.then(|| format!("deb {options}{uri} {SUITE} {COMPONENT}\n"))
    });
    changed.collect()
}

/// The same of stanzas of `Field: value` lines, which may go on in lines that begin with white space.
fn changed_stanzas(text: &str, codename: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas = lines.split(|line| line.trim().is_empty());
    stanzas
        .filter_map(|stanza| changed_stanza(stanza, codename))
        .collect()
}

fn changed_stanza(stanza: &[&str], codename: &str) -> Option<String> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza {
        match fields.last_mut() {
            Some((_, value)) if line.starts_with([' ', '\t']) => {
                value.push('\n');
                value.push_str(line);
            }
            _ => {
                let (name, value) = line.split_once(':')?;
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
    let has = |field: &str, word: &str| {
        let mut found = fields.iter().filter(|(name, _)| name == field);
        found.any(|(_, value)| value.split_whitespace().any(|other| other == word))
    };
    if !has("types", "deb")
        || !has("suites", codename)
        || !has("components", "main")
        || has("enabled", "no")
    {
        return None;
    }
    let mut changed = String::new();
    for (name, value) in &fields {
        let value = match name.as_str() {
            "types" => "deb",
            "suites" => SUITE,
            "components" => COMPONENT,
            _ => value,
        };
        changed += &format!("{name}: {value}\n");
    }
    changed.push('\n');
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_their_suite_and_keep_their_options() {
        let text = "# deb https://packages.example/old bookworm main\n\
             deb [ signed-by=/k.gpg arch=amd64 ] https://packages.example/debian bookworm main contrib # ours\n\
             deb\thttps://packages.example/mirror\tbookworm main\n\
             deb-src https://packages.example/debian bookworm main\n\
             deb https://packages.example/security bookworm-security main\n\
             deb https://packages.example/tool bookworm stable\n";
        assert_eq!(
            changed_lines(text, "bookworm"),
            "deb [signed-by=/k.gpg arch=amd64] https://packages.example/debian trixie contrib\n\
             deb https://packages.example/mirror trixie contrib\n"
        );
    }

    #[test]
    fn stanzas_change_their_suite_and_keep_their_keys() {
        let text = "Types: deb deb-src\n# a note\nURIs: https://packages.example/debian\n\
             Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n\n\
             Types: deb\nURIs: https://packages.example/security\nSuites: bookworm-security\nComponents: main\n \n\
             Enabled: no\nTypes: deb\nURIs: https://packages.example/off\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            changed_stanzas(text, "bookworm"),
            "types: deb\nuris: https://packages.example/debian\nsuites: trixie\ncomponents: contrib\n\
             signed-by: \n -----BEGIN\n .\n -----END\n\n"
        );
    }

    #[test]
    fn the_code_name_is_read() {
        assert_eq!(
            codename("NAME=\"Debian\"\nVERSION_CODENAME=bookworm\n").as_deref(),
            Some("bookworm")
        );
        assert_eq!(codename("NAME=\"Some Linux\"\n"), None);
    }
}
