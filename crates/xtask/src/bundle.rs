//! Bundles to run: a root filesystem of a static busybox, and a config.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::shell::check;

/// Makes a root filesystem of busybox.
fn root_filesystem(directory: &Path) -> Result {
    let busybox = crate::packages::busybox().ok_or("no static busybox")?;
    let bin = directory.join("bin");
    // As images have them: no runtime has to make them.
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(directory.join(name))?;
    }
    fs::copy(busybox, bin.join("busybox"))?;
    for applet in ["cat", "echo", "hostname", "id", "ls", "ps", "sh", "sleep", "true", "uname", "wc"] {
        symlink("busybox", bin.join(applet))?;
    }
    Ok(())
}

/// Makes a bundle in an empty or missing directory from `corten spec`'s config.
pub(crate) fn default(corten: &Path, directory: &Path, arguments: &[&str]) -> Result {
    fs::create_dir_all(directory)?;
    root_filesystem(&directory.join("rootfs"))?;
    check(Command::new(corten).args(["spec", "--bundle"]).arg(directory))?;
    let path = directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    // Peers of distributions are older than the newest specification.
    config["ociVersion"] = json!("1.0.2");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(arguments);
    fs::write(path, serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// Makes a bundle with the config that Docker writes for a plain container.
pub(crate) fn docker(directory: &Path, arguments: &[&str]) -> Result {
    const CONFIG: &str = include_str!("../../libcorten/tests/data/docker-config.json");
    fs::create_dir_all(directory)?;
    root_filesystem(&directory.join("rootfs"))?;
    let mut config: Value = serde_json::from_str(CONFIG)?;
    config["process"]["args"] = json!(arguments);
    // The peers would meet in one cgroup.
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("cgroupsPath");
    }
    fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// Changes the config of a bundle.
pub(crate) fn edit(directory: &Path, change: impl FnOnce(&mut Value)) -> Result {
    let path = directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    change(&mut config);
    fs::write(path, serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}
