//! The engines' configuration: texts in, texts out.
//!
//! Where an engine reads a directory of files, corten has one of its own there. Where it does not, corten is
//! added to the file that is there, and all else in it stays as it is, comments too.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use crate::Result;

/// An engine that runs containers with a runtime of the user's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Engine {
    Buildkit,
    Containerd,
    Crio,
    Docker,
    Podman,
}

/// What the engines are told.
#[derive(Debug)]
pub(super) struct Runtime<'a> {
    /// The binary.
    pub(super) path: &'a Path,
    /// Whether it is used when no runtime is named.
    pub(super) is_default: bool,
}

/// The name under which engines know the runtime. Podman's own lists go by the binary's name, which is the
/// same.
const NAME: &str = "corten";

impl Engine {
    pub(super) const ALL: [Self; 5] =
        [Self::Buildkit, Self::Containerd, Self::Crio, Self::Docker, Self::Podman];

    /// Returns the file that is to hold the configuration. `read` reads a file.
    pub(super) fn file(self, read: impl Fn(&Path) -> Result<Option<String>>) -> Result<PathBuf> {
        Ok(match self {
            Self::Buildkit => "/etc/buildkit/buildkitd.toml".into(),
            Self::Containerd => {
                let main = Path::new("/etc/containerd/config.toml");
                let imported = read(main)?.and_then(|text| containerd_directory(&text));
                imported.map_or(main.to_owned(), |directory| directory.join("corten.toml"))
            }
            Self::Crio => "/etc/crio/crio.conf.d/50-corten.conf".into(),
            Self::Docker => "/etc/docker/daemon.json".into(),
            Self::Podman => "/etc/containers/containers.conf.d/50-corten.conf".into(),
        })
    }

    /// Whether the file is corten's alone.
    pub(super) fn has_own_file(self) -> bool {
        matches!(self, Self::Crio | Self::Podman)
    }

    /// Returns a file of corten's alone for the engine's service, if it has to be told there: dockerd's own
    /// BuildKit takes the runtime of `docker build` from nowhere but the environment.
    pub(super) fn drop_in(self) -> Option<&'static Path> {
        matches!(self, Self::Docker).then_some(Path::new("/etc/systemd/system/docker.service.d/corten.conf"))
    }

    /// Returns what is in that file; none if corten is not the default.
    pub(super) fn drop_in_text(self, runtime: &Runtime) -> Option<String> {
        // A percent sign means something to systemd.
        let path = runtime.path.to_str()?.replace('%', "%%");
        let text = format!("[Service]\nEnvironment=\"DOCKER_BUILDKIT_RUNC_COMMAND={path}\"\n");
        (runtime.is_default && self.drop_in().is_some()).then_some(text)
    }

    /// Returns what is to be done for the engine to read its configuration. One with a
    /// [drop-in](Self::drop_in) must be started again.
    pub(super) fn next_step(self, has_drop_in: bool) -> &'static str {
        match self {
            Self::Docker if has_drop_in => {
                "now: dockerd --validate && systemctl daemon-reload && systemctl restart docker"
            }
            Self::Buildkit => "now: systemctl restart buildkit",
            Self::Containerd => "now: systemctl restart containerd",
            Self::Crio => "now: systemctl restart crio",
            Self::Docker => "now: dockerd --validate && systemctl reload docker",
            Self::Podman => "podman reads it the next time that it runs",
        }
    }

    /// Returns the text of the file with corten in it.
    pub(super) fn with(self, existing: Option<&str>, runtime: &Runtime) -> Result<String> {
        let path = runtime.path.to_str().ok_or("the path of the binary is not UTF-8")?;
        match self {
            Self::Buildkit => {
                let mut document = parse(existing)?;
                table(document.as_table_mut(), &["worker", "oci"])?.insert("binary", value(path));
                Ok(document.to_string())
            }
            Self::Containerd => with_containerd(existing, path, runtime.is_default),
            Self::Crio => Ok(crio(path, runtime.is_default)),
            Self::Docker => with_docker(existing, path, runtime.is_default),
            Self::Podman => Ok(podman(path, runtime.is_default)),
        }
    }

    /// Returns the text of the file without corten, none if nothing is left in it.
    pub(super) fn without(self, existing: &str, path: &Path) -> Result<Option<String>> {
        match self {
            Self::Buildkit => {
                let mut document = parse(Some(existing))?;
                remove(document.as_table_mut(), &["worker", "oci", "binary"], path.to_str());
                Ok(left(&document))
            }
            Self::Containerd => without_containerd(existing),
            Self::Docker => without_docker(existing),
            Self::Crio | Self::Podman => Ok(None),
        }
    }
}

fn podman(path: &str, is_default: bool) -> String {
    let default = if is_default { format!("runtime = \"{NAME}\"\n") } else { String::new() };
    // A list takes the place of the built-in one, which is in each: those of Podman 5. VMs are not corten's.
    format!(
        r#"[engine]
{default}runtime_supports_json = ["{NAME}", "crun", "runc", "kata", "runsc", "youki", "krun"]
runtime_supports_nocgroup = ["{NAME}", "crun", "krun"]

[engine.runtimes]
{NAME} = [{path:?}]
"#
    )
}

fn crio(path: &str, is_default: bool) -> String {
    let default =
        if is_default { format!("[crio.runtime]\ndefault_runtime = \"{NAME}\"\n\n") } else { String::new() };
    format!(
        r#"{default}[crio.runtime.runtimes.{NAME}]
runtime_path = {path:?}
runtime_type = "oci"
runtime_root = "/run/{NAME}"
"#
    )
}

fn docker(existing: Option<&str>) -> Result<Map<String, Value>> {
    match existing.map(str::trim) {
        None | Some("") => Ok(Map::new()),
        Some(text) => match serde_json::from_str(text)? {
            Value::Object(object) => Ok(object),
            _ => Err("not a JSON object".into()),
        },
    }
}

fn with_docker(existing: Option<&str>, path: &str, is_default: bool) -> Result<String> {
    let mut object = docker(existing)?;
    let runtimes = object.entry("runtimes").or_insert_with(|| json!({}));
    let runtimes = runtimes.as_object_mut().ok_or("runtimes: not a JSON object")?;
    // Its other settings, runtimeArgs, are the administrator's.
    let runtime = runtimes.entry(NAME).or_insert_with(|| json!({}));
    runtime
        .as_object_mut()
        .ok_or(format!("runtimes.{NAME}: not a JSON object"))?
        .insert("path".into(), path.into());
    if is_default {
        object.insert("default-runtime".into(), NAME.into());
    }
    pretty(existing, object)
}

fn without_docker(existing: &str) -> Result<Option<String>> {
    let mut object = docker(Some(existing))?;
    let before = object.clone();
    if let Some(runtimes) = object.get_mut("runtimes").and_then(Value::as_object_mut) {
        runtimes.shift_remove(NAME);
        if runtimes.is_empty() {
            object.shift_remove("runtimes");
        }
    }
    if object.get("default-runtime").is_some_and(|runtime| runtime == NAME) {
        object.shift_remove("default-runtime");
    }
    match object {
        same if same == before => Ok(Some(existing.to_owned())),
        empty if empty.is_empty() => Ok(None),
        object => pretty(Some(existing), object).map(Some),
    }
}

/// Writes JSON with the indent that the file has.
fn pretty(existing: Option<&str>, object: Map<String, Value>) -> Result<String> {
    let indent = existing.and_then(|text| {
        text.lines()
            .map(|line| &line[..line.len() - line.trim_start().len()])
            .find(|indent| !indent.is_empty())
    });
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.unwrap_or("    ").as_bytes());
    serde::Serialize::serialize(&object, &mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

/// The directory whose files the configuration imports. Before version 3 an imported file takes the place of
/// all settings of the plugins in it.
fn containerd_directory(text: &str) -> Option<PathBuf> {
    let document: DocumentMut = text.parse().ok()?;
    if document.get("version")?.as_integer()? < 3 {
        return None;
    }
    let imports = document.get("imports")?.as_array()?.iter().filter_map(toml_edit::Value::as_str);
    imports
        .filter_map(|import| import.strip_suffix("/*.toml"))
        .map(PathBuf::from)
        .find(|path| path.is_absolute())
}

/// The plugin that runs containers for Kubernetes, by the version of the configuration.
fn containerd_plugin(document: &DocumentMut) -> Result<&'static str> {
    match document.get("version").and_then(Item::as_integer) {
        Some(2) => Ok("io.containerd.grpc.v1.cri"),
        Some(3..) => Ok("io.containerd.cri.v1.runtime"),
        _ => Err(
            "a configuration of version 1; `containerd config migrate` prints it as one of a later version"
                .into(),
        ),
    }
}

fn with_containerd(existing: Option<&str>, path: &str, is_default: bool) -> Result<String> {
    // All containerds of today read version 2.
    let mut document = parse(Some(existing.unwrap_or("version = 2\n")))?;
    let plugin = containerd_plugin(&document)?;
    let root = document.as_table_mut();
    let runc = ["plugins", plugin, "containerd", "runtimes", "runc", "options", "SystemdCgroup"];
    let systemd = find(root, &runc).and_then(Item::as_bool);
    if is_default {
        table(root, &["plugins", plugin, "containerd"])?.insert("default_runtime_name", value(NAME));
    }
    let runtime = ["plugins", plugin, "containerd", "runtimes", NAME];
    table(root, &runtime)?.insert("runtime_type", value("io.containerd.runc.v2"));
    let options = table(root, &[runtime.as_slice(), &["options"]].concat())?;
    options.insert("BinaryName", value(path));
    // Who makes runc's cgroups makes corten's.
    if let Some(systemd) = systemd {
        options.insert("SystemdCgroup", value(systemd));
    }
    Ok(document.to_string())
}

fn without_containerd(existing: &str) -> Result<Option<String>> {
    let mut document = parse(Some(existing))?;
    // One of version 1 cannot have been changed here.
    let Ok(plugin) = containerd_plugin(&document) else { return Ok(Some(existing.to_owned())) };
    remove(document.as_table_mut(), &["plugins", plugin, "containerd", "runtimes", NAME], None);
    remove(document.as_table_mut(), &["plugins", plugin, "containerd", "default_runtime_name"], Some(NAME));
    let has_more = document.iter().any(|(key, _)| key != "version");
    Ok(if has_more { left(&document) } else { None })
}

fn parse(existing: Option<&str>) -> Result<DocumentMut> {
    Ok(existing.unwrap_or_default().parse()?)
}

/// Returns the table at a path, which is made if it is not there.
fn table<'a>(root: &'a mut Table, path: &[&str]) -> Result<&'a mut dyn TableLike> {
    let mut table: &mut dyn TableLike = root;
    for (depth, key) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        let new = || {
            let mut table = Table::new();
            // A heading for what is in it, none for what is only on the way.
            table.set_implicit(!is_last);
            Item::Table(table)
        };
        let item = table.entry(key).or_insert_with(new);
        table = item.as_table_like_mut().ok_or(format!("{}: not a table", path[..=depth].join(".")))?;
    }
    Ok(table)
}

fn find<'a>(root: &'a Table, path: &[&str]) -> Option<&'a Item> {
    let (last, tables) = path.split_last()?;
    let mut table: &dyn TableLike = root;
    for key in tables {
        table = table.get(key)?.as_table_like()?;
    }
    table.get(last)
}

/// Removes what is at a path, if it is `expected` or nothing is expected, and the tables on the way that are
/// empty then.
fn remove(table: &mut dyn TableLike, path: &[&str], expected: Option<&str>) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(item) = table.get_mut(first) else { return };
    let is_gone = if rest.is_empty() {
        expected.is_none_or(|expected| item.as_str() == Some(expected))
    } else {
        let Some(inner) = item.as_table_like_mut() else { return };
        let before = inner.len();
        remove(inner, rest, expected);
        inner.is_empty() && before > 0
    };
    if is_gone {
        table.remove(first);
    }
}

fn left(document: &DocumentMut) -> Option<String> {
    let text = document.to_string();
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/usr/local/bin/corten";

    /// Adds corten as the default runtime, and sees that a second time changes nothing and that it can be
    /// taken out again.
    fn with(engine: Engine, existing: &str) -> String {
        let add = |existing: &str, is_default| {
            engine.with(Some(existing), &Runtime { path: Path::new(PATH), is_default }).unwrap()
        };
        let take_out = |text: &str| engine.without(text, Path::new(PATH)).unwrap().unwrap();
        let text = add(existing, true);
        assert_eq!(add(&text, true), text);
        assert_eq!(take_out(existing), existing);
        assert_eq!(take_out(&add(existing, false)), existing);
        let rest = take_out(&text);
        assert!(!rest.contains(NAME), "{rest}");
        text
    }

    /// What is written where nothing is.
    fn new(engine: Engine, is_default: bool) -> String {
        let text = engine.with(None, &Runtime { path: Path::new(PATH), is_default }).unwrap();
        assert_eq!(engine.without(&text, Path::new(PATH)).unwrap(), None);
        text
    }

    #[test]
    fn files_that_are_made() {
        let mut all = String::new();
        for engine in Engine::ALL {
            for is_default in [false, true] {
                all += &format!("### {engine:?}, default: {is_default}\n{}\n", new(engine, is_default));
            }
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn docker_keeps_what_it_has() {
        let existing = r#"{
  "data-root": "/srv/docker",
  "runtimes": {
    "nvidia": {
      "path": "nvidia-container-runtime"
    }
  },
  "debug": false
}
"#;
        insta::assert_snapshot!(with(Engine::Docker, existing));
        let arguments = r#"{"runtimes": {"corten": {"path": "/old", "runtimeArgs": ["--debug"]}}}"#;
        let text = Engine::Docker
            .with(Some(arguments), &Runtime { path: Path::new(PATH), is_default: false })
            .unwrap();
        assert!(text.contains(PATH) && text.contains("--debug") && !text.contains("/old"), "{text}");
        for wrong in ["[]", "{\"runtimes\": []}", "{", "{\"runtimes\": {\"corten\": 1}}"] {
            let runtime = Runtime { path: Path::new(PATH), is_default: false };
            assert!(Engine::Docker.with(Some(wrong), &runtime).is_err(), "{wrong}");
        }
    }

    #[test]
    fn containerd_keeps_what_it_has() {
        let existing = r#"# Ours.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.10" # pinned
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = true
"#;
        insta::assert_snapshot!(with(Engine::Containerd, existing));
    }

    #[test]
    fn containerd_of_version_3_has_another_plugin() {
        insta::assert_snapshot!(with(Engine::Containerd, "version = 3\nroot = \"/srv/containerd\"\n"));
    }

    #[test]
    fn containerd_of_version_1_is_left_alone() {
        let runtime = Runtime { path: Path::new(PATH), is_default: false };
        let error = Engine::Containerd.with(Some("disabled_plugins = [\"cri\"]\n"), &runtime).unwrap_err();
        assert!(error.to_string().contains("containerd config migrate"), "{error}");
        let text = "disabled_plugins = [\"cri\"]\n";
        assert_eq!(Engine::Containerd.without(text, Path::new(PATH)).unwrap().as_deref(), Some(text));
    }

    #[test]
    fn containerd_imports_a_directory() {
        let file = |text: &'static str| Engine::Containerd.file(|_| Ok(Some(text.to_owned()))).unwrap();
        let main = Path::new("/etc/containerd/config.toml");
        let imports = "version = 3\nimports = [\"/opt/x.toml\", \"/etc/containerd/conf.d/*.toml\"]\n";
        assert_eq!(file(imports), Path::new("/etc/containerd/conf.d/corten.toml"));
        assert_eq!(file("version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"), main);
        assert_eq!(file("version = 3\nimports = [\"conf.d/*.toml\"]\n"), main);
        assert_eq!(file("version = 3\n"), main);
        assert_eq!(Engine::Containerd.file(|_| Ok(None)).unwrap(), main);
    }

    #[test]
    fn buildkit_keeps_what_it_has() {
        let existing = "debug = true\n\n[worker.oci]\n  gc = false\n";
        insta::assert_snapshot!(with(Engine::Buildkit, existing));
    }
}
