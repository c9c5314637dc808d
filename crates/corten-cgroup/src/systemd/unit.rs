//! The unit of a container: its name, and where its cgroup is.
//!
//! Spec: config-linux.md#cgroups-path, which leaves the meaning to the runtime; runc's `slice:prefix:name` is
//! what engines write.

use std::path::PathBuf;

use super::error::{Error, Repr};
use super::property::Property;

/// The prefix of a scope whose config names none. It is runc's and not a name of our own: scripts and
/// monitors of people who used runc look for `runc-ID.scope`.
const DEFAULT_PREFIX: &str = "runc";

/// How long a unit's name may be: systemd's UNIT_NAME_MAX without the final NUL.
const MAX_LENGTH: usize = 255;

/// A scope or slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Unit {
    name: String,
    slice: String,
}

impl Unit {
    /// Takes apart a `cgroupsPath` of the form `slice:prefix:name`.
    ///
    /// The unit is the scope `prefix-name.scope`, or the slice `name` if that ends in `.slice`. An empty
    /// `slice` is `system.slice`, or `user.slice` for the manager of a user (`rootless`). An empty
    /// `cgroups_path` stands for `:runc:ID`, as with runc.
    ///
    /// # Errors
    /// There are not three parts; or systemd would refuse the name of the slice or of the unit.
    pub fn from_cgroups_path(cgroups_path: &str, id: &str, rootless: bool) -> Result<Self, Error> {
        let (from, [slice, prefix, name]) = if cgroups_path.is_empty() {
            ("container id (with no linux.cgroupsPath)", ["", DEFAULT_PREFIX, id])
        } else {
            let parts: Vec<&str> = cgroups_path.split(':').collect();
            let parts =
                <[&str; 3]>::try_from(parts).map_err(|_| Repr::Format { path: cgroups_path.to_owned() })?;
            ("linux.cgroupsPath", parts)
        };
        let slice = match (slice, rootless) {
            ("", false) => "system.slice",
            ("", true) => "user.slice",
            (slice, _) => slice,
        };
        expand_slice(slice)?;
        check(from, slice)?;
        let name = if name.ends_with(".slice") {
            expand_slice(name)?;
            name.to_owned()
        } else {
            format!("{prefix}-{name}.scope")
        };
        check(from, &name)?;
        Ok(Self { name, slice: slice.to_owned() })
    }

    /// Returns the name of the unit, as `runc-ID.scope`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the slice that a scope is in, or that a slice wants.
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// Whether the unit is a slice, and not a scope. A slice has no processes of its own.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Returns the path of the unit's cgroup below the mount point, starting with `/`.
    ///
    /// `control_group` is the cgroup of the manager: empty for the system's, and [`Manager::control_group`]
    /// for a user's. A slice is where its own name says: systemd looks at nothing else.
    ///
    /// [`Manager::control_group`]: super::Manager::control_group
    pub fn path(&self, control_group: &str) -> PathBuf {
        let mut path = format!("/{}", control_group.trim_matches('/'));
        // Both names were expanded once, when the unit was made.
        if self.is_slice() {
            path += &expand_slice(&self.name).unwrap_or_default();
        } else {
            path += &expand_slice(&self.slice).unwrap_or_default();
            path = format!("{}/{}", path.trim_end_matches('/'), self.name);
        }
        PathBuf::from(path.replace("//", "/"))
    }

    /// Returns the properties that the unit of every container has: description, place, delegation of the
    /// cgroup (of a scope: the container or the runtime makes cgroups below), accounting, and no dependencies
    /// on targets that systemd would add.
    ///
    /// `legacy` is for a machine whose controllers are v1 hierarchies: there the accounting of disks has
    /// another name.
    pub fn properties(&self, id: &str, legacy: bool) -> Vec<Property> {
        let mut properties = vec![Property::new("Description", format!("libcontainer container {id}"))];
        if self.is_slice() {
            properties.push(Property::new("Wants", vec![self.slice.clone()]));
        } else {
            properties.push(Property::new("Slice", self.slice.clone()));
            properties.push(Property::new("Delegate", true));
        }
        let io = if legacy { "BlockIOAccounting" } else { "IOAccounting" };
        // Optional: systemd drops those that stand for what is always on, and those of v1.
        let accounting = ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"];
        properties.extend(accounting.map(|name| Property::new(name, true).since(1)));
        properties.push(Property::new("DefaultDependencies", false));
        properties
    }
}

/// Returns the path of a slice's cgroup: `a-b.slice` is at `/a.slice/a-b.slice`, and `-.slice` is the root
/// (systemd.slice(5)).
fn expand_slice(slice: &str) -> Result<String, Error> {
    let invalid = || Repr::Slice { slice: slice.to_owned() };
    let stem = slice.strip_suffix(".slice").filter(|stem| !stem.contains('/')).ok_or_else(invalid)?;
    if stem == "-" {
        return Ok("/".to_owned());
    }
    let (mut path, mut above) = (String::new(), String::new());
    for part in stem.split('-') {
        // Nothing before, after or between dashes.
        if part.is_empty() {
            return Err(invalid().into());
        }
        path += &format!("/{above}{part}.slice");
        above += &format!("{part}-");
    }
    Ok(path)
}

/// Refuses a name that systemd would refuse, by systemd.unit(5) and systemd's `unit_name_is_valid()`.
fn check(from: &'static str, name: &str) -> Result<(), Error> {
    let refused = |why: String| Err(Repr::Name { from, name: name.to_owned(), why }.into());
    if name.len() > MAX_LENGTH {
        return refused(format!("it has {} bytes, more than {MAX_LENGTH}", name.len()));
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || r":-_.\@".contains(c);
    if let Some(bad) = name.chars().find(|c| !valid(*c)) {
        return refused(format!("character {bad:?}"));
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    match stem.find('@') {
        Some(0) => refused("nothing before the `@`".to_owned()),
        Some(at) if at == stem.len() - 1 => refused("a template cannot be started".to_owned()),
        Some(_) if name.ends_with(".slice") => refused("a slice can be no instance of a template".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Unit {
        Unit::from_cgroups_path(path, "id", false).expect(path)
    }

    #[test]
    fn a_path_names_a_scope_or_a_slice() {
        for (path, name, below) in [
            ("system.slice:docker:1234", "docker-1234.scope", "/system.slice/docker-1234.scope"),
            (":cri-containerd:ab", "cri-containerd-ab.scope", "/system.slice/cri-containerd-ab.scope"),
            ("a-b-c.slice:p:n", "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            ("-.slice:p:n", "p-n.scope", "/p-n.scope"),
            ("::n", "-n.scope", "/system.slice/-n.scope"),
            ("kube.slice:x:kube-pod.slice", "kube-pod.slice", "/kube.slice/kube-pod.slice"),
            ("", "runc-id.scope", "/system.slice/runc-id.scope"),
        ] {
            assert_eq!(unit(path).name(), name, "{path}");
            assert_eq!(unit(path).path(""), PathBuf::from(below), "{path}");
        }
    }

    #[test]
    fn a_users_units_are_below_the_manager_of_the_user() {
        let unit = Unit::from_cgroups_path(":libpod:ab", "id", true).unwrap();
        assert_eq!(unit.slice(), "user.slice");
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(unit.path(manager), PathBuf::from(format!("{manager}/user.slice/libpod-ab.scope")));
        let top = Unit::from_cgroups_path("-.slice:libpod:ab", "id", true).unwrap();
        assert_eq!(top.path(manager), PathBuf::from(format!("{manager}/libpod-ab.scope")));
    }

    #[test]
    fn other_forms_are_refused_in_runcs_words() {
        for path in ["a", "a:b", "a:b:c:d", "/machine.slice/x"] {
            let error = Unit::from_cgroups_path(path, "id", false).unwrap_err().to_string();
            let words = "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got";
            assert_eq!(error, format!("linux.cgroupsPath: {words} {path:?} instead"));
        }
        for slice in [".slice", "-a.slice", "a-.slice", "a--b.slice", "a", "a/b.slice", "system.scope"] {
            let error =
                Unit::from_cgroups_path(&format!("{slice}:p:n"), "id", false).unwrap_err().to_string();
            assert_eq!(error, format!("linux.cgroupsPath: invalid slice name: {slice}"));
        }
        let error = Unit::from_cgroups_path("a.slice:p:a--b.slice", "id", false).unwrap_err().to_string();
        assert_eq!(error, "linux.cgroupsPath: invalid slice name: a--b.slice");
    }

    #[test]
    fn names_that_systemd_refuses_are_refused_with_the_reason() {
        let long = "x".repeat(250);
        for (path, id, said) in [
            (
                "a.slice:p:n n",
                "",
                "linux.cgroupsPath: systemd takes no unit of the name \"p-n n.scope\": character ' '",
            ),
            (
                "a+b.slice:p:n",
                "",
                "linux.cgroupsPath: systemd takes no unit of the name \"a+b.slice\": character '+'",
            ),
            ("a.slice:p:../x", "", "character '/'"),
            ("a.slice:p:\u{e4}", "", "character '\u{e4}'"),
            (
                "",
                "a+b",
                "container id (with no linux.cgroupsPath): systemd takes no unit of the name \"runc-a+b.scope\"",
            ),
            (&format!("a.slice:p:{long}"), "", "it has 258 bytes, more than 255"),
            ("a.slice:p:n@", "", "a template cannot be started"),
            ("a.slice:@p:n", "", "nothing before the `@`"),
            ("a@b.slice:p:n", "", "a slice can be no instance of a template"),
        ] {
            let error = Unit::from_cgroups_path(path, id, false).unwrap_err();
            assert!(error.to_string().contains(said), "{path:?} {id:?}: {error}");
            assert_eq!(error.kind(), super::super::ErrorKind::Config);
        }
        assert_eq!(unit("a.slice:p:n@i").name(), "p-n@i.scope");
        assert_eq!(unit(r"a.slice:p:n\x20m").name(), r"p-n\x20m.scope");
    }

    #[test]
    fn scopes_are_delegated_and_slices_want_theirs() {
        let names = |unit: &Unit, legacy| -> Vec<String> {
            unit.properties("ID", legacy).iter().map(ToString::to_string).collect()
        };
        let common = |io: &str, place: &[&str]| -> Vec<String> {
            let mut all = vec!["Description=\"libcontainer container ID\"".to_owned()];
            all.extend(place.iter().map(ToString::to_string));
            all.extend(["MemoryAccounting=true", "CPUAccounting=true"].map(str::to_owned));
            all.push(format!("{io}=true"));
            all.extend(["TasksAccounting=true", "DefaultDependencies=false"].map(str::to_owned));
            all
        };
        assert_eq!(
            names(&unit("a.slice:p:n"), false),
            common("IOAccounting", &["Slice=\"a.slice\"", "Delegate=true"])
        );
        assert_eq!(
            names(&unit("a.slice:p:a-b.slice"), true),
            common("BlockIOAccounting", &["Wants=[\"a.slice\"]"])
        );
    }
}
