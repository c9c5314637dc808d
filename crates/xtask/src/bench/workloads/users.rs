//! `run` with a user namespace, by root and by an ordinary user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::json;

use super::run::runs;
use crate::bench::figures::{Measurement, Role, Unit};
use crate::bench::measure::{Case, alternate, time};
use crate::bench::runtime::{Bundle, Floor, Runtime};
use crate::bench::{Bench, entrants};
use crate::{Result, bundle, shell};

/// Root of the container, on the host.
const MAPPED_ROOT: u32 = 100_000;

/// Nobody: a user without subordinate ids.
const USER: u32 = 65534;

/// A user namespace with a range of ids.
pub(super) fn namespace(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let corten = corten(bench)?;
    let bundle = Bundle { directory: bench.directory.join("userns"), floor: Floor::None };
    bundle::default(&corten.program, &bundle.directory, &["/bin/true"])?;
    let maps = json!([{ "containerID": 0, "hostID": MAPPED_ROOT, "size": 65536 }]);
    bundle::edit(&bundle.directory, |config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.push(json!({ "type": "user" }));
        }
        config["linux"]["uidMappings"] = maps.clone();
        config["linux"]["gidMappings"] = maps;
    })?;
    give(&bundle, MAPPED_ROOT)?;
    Ok(runs(bench, bench.rounds(), Case::new("userns", "", Unit::Milliseconds), &bundle))
}

/// Rootless: the config that `spec --rootless` writes, without cgroups, which this user has none of.
pub(super) fn rootless(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let directory = bench.directory.join("rootless");
    let bundle = Bundle { directory: directory.join("bundle"), floor: Floor::None };
    bundle::default(&corten(bench)?.program, &bundle.directory, &["/bin/true"])?;
    fs::remove_file(bundle.directory.join("config.json"))?;
    give(&bundle, USER)?;
    let spec = &mut Command::new(&corten(bench)?.program);
    shell::check(spec.args(["spec", "--rootless", "--bundle"]).arg(&bundle.directory).uid(USER).gid(USER))?;
    bundle::edit(&bundle.directory, |config| {
        config["ociVersion"] = json!("1.0.2");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/true"]);
    })?;
    let mut runtimes = Vec::new();
    for (number, runtime) in bench.oci_runtimes().into_iter().enumerate() {
        let mut runtime = Runtime { root: directory.join(number.to_string()), ..runtime.clone() };
        fs::create_dir_all(&runtime.root)?;
        chown(&runtime.root, Some(USER), Some(USER))?;
        if !runtime.label.starts_with("runc") {
            runtime.options.push("--cgroup-manager=disabled".to_owned());
        }
        runtimes.push(runtime);
    }
    let runtimes: Vec<_> = runtimes.iter().collect();
    let case = Case::new("rootless", "", Unit::Milliseconds);
    Ok(alternate(bench.rounds(), &[case], &entrants(&runtimes), |index| {
        let runtime = runtimes[index];
        let mut command = runtime.run(&bundle, &bench.id())?;
        command.uid(USER).gid(USER).env("XDG_RUNTIME_DIR", &runtime.root);
        Ok(vec![time(&mut command)?])
    }))
}

fn corten<'a>(bench: &'a Bench<'_>) -> Result<&'a Runtime> {
    Ok(bench.runtimes.iter().find(|runtime| runtime.role == Role::Corten).ok_or("no build of Corten")?)
}

/// Gives a bundle to a user, who may also pass through the directory above.
fn give(bundle: &Bundle, user: u32) -> Result {
    let owner = format!("{user}:{user}");
    shell::check(
        Command::new("chown").args(["--recursive", "--no-dereference", &owner]).arg(&bundle.directory),
    )?;
    for directory in bundle.directory.ancestors().take(2) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
