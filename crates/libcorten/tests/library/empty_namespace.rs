//! Mount namespaces that begin empty, beside those that begin as a copy of the host's (docs/adr/0014).

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::common::{TestBundle, skip};
use container_test::container_test;
use libcorten::{Bundle, CreateOptions, Exit, Runtime};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};
use serde_json::json;
use tempfile::TempDir;

/// A bundle whose process tells of its mounts, and a place for the template.
struct Place {
    test: TestBundle,
    template: TempDir,
}

impl Place {
    fn new() -> Self {
        // Its own root stays what it is for whoever enters the namespace, and nobody who has the rights gets
        // below.
        let script = "cat /proc/self/mountinfo >/tmp/mounts; ls -a / >/tmp/root; ls -A /src >>/tmp/root; \
            umount -l / 2>/dev/null; ls -a / >/tmp/again";
        let mut test = TestBundle::new(&["sh", "-c", script]);
        test.config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
        }
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("seen"), "").unwrap();
        let mount =
            json!({ "destination": "/src", "type": "bind", "source": &source, "options": ["bind", "ro"] });
        // The directory for the third is made in the source of the second, and is the source of the fourth.
        let outer = test.beside("outer");
        fs::create_dir(&outer).unwrap();
        let bind = |source: &Path, destination: &str| json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind"] });
        let binds = [
            mount,
            bind(&outer, "/outer"),
            bind(&source, "/outer/inner"),
            bind(&outer.join("inner"), "/inner"),
        ];
        test.config["mounts"].as_array_mut().unwrap().splice(3..3, binds);
        Self { test, template: tempfile::Builder::new().prefix("corten-template-").tempdir().unwrap() }
    }

    fn directory(&self) -> PathBuf {
        self.template.path().join("mounts")
    }

    /// A place with a template, which the first container has made. `None`: this kernel needs none.
    fn with_template() -> Option<Self> {
        let place = Self::new();
        place.run(Some(&place.directory()));
        if !place.has_template() {
            skip("Linux makes empty mount namespaces itself");
            return None;
        }
        Some(place)
    }

    fn has_template(&self) -> bool {
        let found = statfs(&self.directory().join("empty"));
        found.is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
    }

    /// Runs the bundle. Returns what was mounted, as the mountinfo of a container says it without ids, and
    /// what it saw in `/`.
    fn run(&self, template: Option<&Path>) -> (Vec<String>, String) {
        let bundle = Bundle::open(self.test.write().path()).unwrap();
        let runtime = Runtime::new(self.test.state_root()).mount_template(template.map(Path::to_owned));
        let container = runtime.run(&self.test.id, &bundle, &CreateOptions::default()).unwrap();
        assert_eq!(container.wait().unwrap(), Exit::Code(0));
        container.delete(false).unwrap();
        self.test.assert_nothing_left("run");
        let read = |name: &str| fs::read_to_string(self.test.rootfs().join("tmp").join(name)).unwrap();
        let root = read("root");
        assert!(root.contains("seen"), "{root}");
        assert_eq!(
            read("again"),
            root.replace("seen\n", ""),
            "the root is still there, and nothing is below"
        );
        let mounts = read("mounts");
        // Which device number a new filesystem got says nothing.
        let plain = |line: &str| {
            let mut fields: Vec<&str> = line.split(' ').skip(3).collect();
            fields.retain(|field| !field.starts_with("master:"));
            fields.join(" ")
        };
        let mut mounts: Vec<String> = mounts.lines().map(plain).collect();
        mounts.sort();
        (mounts, root)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let directory = self.directory();
        // The namespace, and the directory where it was mounted on itself.
        for path in [directory.join("empty"), directory] {
            umount2(&path, MntFlags::MNT_DETACH).ok();
        }
    }
}

#[container_test]
fn the_first_container_makes_the_template_and_all_see_the_same() {
    let place = Place::new();
    let directory = place.directory();
    let without = place.run(None);
    assert!(!directory.exists());
    let first = place.run(Some(&directory));
    if !place.has_template() {
        return skip("Linux makes empty mount namespaces itself");
    }
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let second = place.run(Some(&directory));
    assert_eq!(first, without);
    assert_eq!(second, without);
    // Unmounted, it is made again.
    umount2(&directory.join("empty"), MntFlags::MNT_DETACH).unwrap();
    assert_eq!(place.run(Some(&directory)), without);
    assert!(place.has_template());
}

#[container_test]
fn a_directory_of_others_is_not_used() {
    let changes: [&dyn Fn(&Path); 3] = [
        &|directory| {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        },
        &|directory| {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(directory, Some(1000), Some(1000)).unwrap();
        },
        &|directory| {
            fs::create_dir(directory.with_file_name("elsewhere")).unwrap();
            symlink("elsewhere", directory).unwrap();
        },
    ];
    for change in changes {
        let place = Place::new();
        change(&place.directory());
        place.run(Some(&place.directory()));
        assert!(!place.has_template());
        assert_eq!(fs::read_dir(place.directory()).unwrap().count(), 0);
    }
}

#[container_test]
fn the_template_is_left_out_of_recursive_bind_mounts() {
    let Some(place) = Place::with_template() else { return };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let above =
        mounts.lines().find(|line| line.contains(&format!(" {} ", place.directory().display()))).unwrap();
    assert!(above.contains(" unbindable "), "{above}");
    let copy = tempfile::tempdir().unwrap();
    let script =
        "mount --rbind \"$1\" \"$2\" && ! grep \" $2/.*mnt:\" /proc/self/mountinfo && ls -A \"$2/mounts\"";
    let mut bind = Command::new("unshare");
    bind.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    let output = bind.arg(place.template.path()).arg(copy.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is below the root of a container is the same for all containers. Looked at by one with more rights
/// than any container.
#[container_test]
fn nothing_can_be_written_below_the_root() {
    let Some(place) = Place::with_template() else { return };
    let namespace = place.directory().join("empty");
    let written = thread::spawn(move || {
        let namespace = fs::File::open(namespace).unwrap();
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        // The mount alone becomes writable; then the filesystem, which must not.
        mount(none, "/", none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, none).unwrap();
        let filesystem = mount(none, "/", none, MsFlags::MS_REMOUNT, none);
        let larger = mount(none, "/", none, MsFlags::MS_REMOUNT, Some("nr_inodes=100,size=1m"));
        let file = fs::write("/file", "");
        let directory = fs::create_dir("/directory");
        let mode = fs::set_permissions("/", Permissions::from_mode(0o777));
        (filesystem, larger, [file, directory, mode].map(|done| done.unwrap_err().raw_os_error()))
    });
    let (filesystem, larger, files) = written.join().unwrap();
    assert!(filesystem.is_err() && larger.is_err(), "{filesystem:?} {larger:?}");
    assert_eq!(files, [Some(libc::EROFS); 3]);
}
