//! What is kept of filters, and what is not believed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::seccomp::tests::dockers_profile;

fn profile(errno: usize) -> LinuxSeccomp {
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": {errno},
            "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}}]}}"#
    );
    serde_json::from_str(&json).expect("a profile")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

/// A cache with one profile in it.
struct Cache {
    parent: tempfile::TempDir,
    profile: LinuxSeccomp,
    expected: Filter,
}

impl Cache {
    fn new() -> Self {
        let profile = profile(38);
        let expected = compile(&profile, CompileOptions::default()).expect("a filter");
        let cache = Self { parent: tempfile::tempdir().expect("a directory"), profile, expected };
        cache.ask();
        cache
    }

    fn directory(&self) -> PathBuf {
        self.parent.path().join("a/b")
    }

    fn file(&self) -> PathBuf {
        self.directory().join(Key::of(&self.profile, CompileOptions::default()).expect("a key").file_name())
    }

    /// Whatever is in the cache, the answer is right.
    fn ask(&self) {
        assert_eq!(
            filter(&self.directory(), &self.profile, CompileOptions::default()).expect("a filter"),
            self.expected
        );
    }

    /// Returns whether the file would be used as it is.
    fn hits(&self) -> bool {
        let directory = open_directory(&self.directory());
        let key = Key::of(&self.profile, CompileOptions::default()).expect("a key");
        directory.and_then(|directory| load(&directory, &key)).is_some()
    }
}

#[test]
fn a_miss_stores_and_a_hit_loads() {
    let cache = Cache::new();
    assert_eq!((mode(&cache.directory()), mode(&cache.file())), (0o700, 0o600));
    assert_eq!(files(&cache.directory()), [cache.file()]);
    assert!(cache.hits());
    // The file is what is used: a sound one with another program in it comes out.
    let key = Key::of(&cache.profile, CompileOptions::default()).expect("a key");
    let program = vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f];
    fs::write(cache.file(), [header(&key, &program), program.clone()].concat()).expect("written");
    assert_eq!(
        filter(&cache.directory(), &cache.profile, CompileOptions::default()).expect("a filter").program,
        program
    );
}

#[test]
fn flags_are_the_profiles_own() {
    let cache = Cache::new();
    let mut profile = cache.profile.clone();
    profile.set_flags(Some(vec![]));
    for _ in 0..2 {
        assert_eq!(
            filter(&cache.directory(), &profile, CompileOptions::default()).expect("a filter").flags,
            0
        );
    }
}

#[test]
fn notify_is_the_profiles_own() {
    let cache = Cache::new();
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let profile: LinuxSeccomp = serde_json::from_str(json).expect("a profile");
    for _ in 0..2 {
        assert!(filter(&cache.directory(), &profile, CompileOptions::default()).expect("a filter").notify);
    }
    assert_eq!(files(&cache.directory()).len(), 2);
}

#[test]
fn an_unknown_name_is_an_error_whatever_is_cached() {
    let cache = Cache::new();
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["nope"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let unknown: LinuxSeccomp = serde_json::from_str(json).expect("a profile");
    let strict = CompileOptions { fail_unknown: true };
    for _ in 0..2 {
        filter(&cache.directory(), &unknown, CompileOptions::default()).expect("a filter");
        filter(&cache.directory(), &unknown, strict).expect_err("an unknown name");
        assert_eq!(filter(&cache.directory(), &cache.profile, strict).expect("a filter"), cache.expected);
    }
}

#[test]
fn damage_is_noticed_and_repaired() {
    let cache = Cache::new();
    let sound = fs::read(cache.file()).expect("content");
    let mut damaged: Vec<Vec<u8>> = (0..sound.len())
        .map(|at| {
            let mut content = sound.clone();
            content[at] ^= 1;
            content
        })
        .collect();
    damaged.extend([Vec::new(), sound[..HEADER_BYTES].to_vec(), sound[..sound.len() - 8].to_vec()]);
    damaged.extend([
        [&sound[..], &[0; 8]].concat(),
        [&sound[..], &[0]].concat(),
        vec![0; FILE_BYTES_MAX + 1],
    ]);
    for content in damaged {
        fs::write(cache.file(), &content).expect("written");
        assert!(!cache.hits());
        cache.ask();
        assert_eq!(fs::read(cache.file()).expect("content"), sound);
    }
}

#[test]
fn a_file_of_another_profile_is_not_used() {
    let cache = Cache::new();
    let other = Key::of(&profile(39), CompileOptions::default()).expect("a key");
    fs::rename(cache.file(), cache.directory().join(other.file_name())).expect("renamed");
    let directory = open_directory(&cache.directory()).expect("ours");
    assert!(load(&directory, &other).is_none());
}

#[test]
fn what_others_can_write_is_not_used() {
    for bits in [0o620, 0o602, 0o666] {
        let cache = Cache::new();
        fs::set_permissions(cache.file(), fs::Permissions::from_mode(bits)).expect("chmod");
        assert!(!cache.hits(), "{bits:o}");
        cache.ask();
        assert!(cache.hits() && mode(&cache.file()) == 0o600, "{bits:o}");
    }
    for bits in [0o770, 0o707, 0o1777] {
        let cache = Cache::new();
        fs::set_permissions(cache.directory(), fs::Permissions::from_mode(bits)).expect("chmod");
        assert!(!cache.hits(), "{bits:o}");
        fs::remove_file(cache.file()).expect("removed");
        cache.ask();
        assert!(files(&cache.directory()).is_empty(), "{bits:o}");
    }
}

#[test]
fn what_belongs_to_others_is_not_used() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: needs root for chown");
        return;
    }
    let cache = Cache::new();
    std::os::unix::fs::chown(cache.file(), Some(1000), None).expect("chown");
    assert!(!cache.hits());
    cache.ask();
    assert!(cache.hits());
    std::os::unix::fs::chown(cache.directory(), Some(1000), None).expect("chown");
    assert!(!cache.hits());
    cache.ask();
}

#[test]
fn only_regular_files_are_used() {
    let cache = Cache::new();
    let moved = cache.directory().join("moved");
    fs::rename(cache.file(), &moved).expect("renamed");
    symlink(&moved, cache.file()).expect("symlink");
    assert!(!cache.hits());
    cache.ask();
    assert!(cache.hits() && fs::symlink_metadata(cache.file()).expect("a file").is_file());

    fs::remove_file(cache.file()).expect("removed");
    nix::unistd::mkfifo(&cache.file(), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    assert!(!cache.hits());
    cache.ask();
    assert!(cache.hits());

    fs::remove_file(cache.file()).expect("removed");
    fs::create_dir(cache.file()).expect("a directory");
    assert!(!cache.hits());
    cache.ask();
    assert_eq!(files(&cache.directory()).len(), 2, "no temporary file is left");
}

#[test]
fn a_directory_that_cannot_be_used_costs_time_only() {
    let cache = Cache::new();
    let moved = cache.parent.path().join("moved");
    fs::rename(cache.directory(), &moved).expect("renamed");
    symlink(&moved, cache.directory()).expect("symlink");
    assert!(!cache.hits());
    cache.ask();
    for path in ["/proc/1/no", "/dev/null", "/dev/null/no", ""] {
        assert_eq!(
            filter(Path::new(path), &cache.profile, CompileOptions::default()).expect("a filter"),
            cache.expected,
            "{path}"
        );
    }
}

#[test]
fn the_number_of_files_is_bounded() {
    let cache = Cache::new();
    fs::write(cache.directory().join(".1.0.tmp"), "left by a killed runtime").expect("written");
    let old = SystemTime::now() - Duration::from_secs(3600);
    for path in files(&cache.directory()) {
        File::options().write(true).open(path).and_then(|file| file.set_modified(old)).expect("made old");
    }
    for errno in 100..100 + FILES_MAX {
        filter(&cache.directory(), &profile(errno), CompileOptions::default()).expect("a filter");
        assert!(files(&cache.directory()).len() <= FILES_MAX);
    }
    assert!(!cache.file().exists() && !cache.directory().join(".1.0.tmp").exists());
}

#[test]
fn threads_do_not_disturb_each_other() {
    let cache = Cache::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    cache.ask();
                    // Gone already is as good.
                    drop(fs::remove_file(cache.file()));
                }
            });
        }
    });
    assert!(files(&cache.directory()).len() <= 1);
}

/// `cargo test --release -- --ignored --nocapture time_of_a_hit`
#[test]
#[ignore = "measures, judges nothing"]
fn time_of_a_hit() {
    let cache = Cache::new();
    let profile = dockers_profile();
    for round in ["miss", "hit"] {
        let count = if round == "miss" { 1 } else { 1000 };
        let start = Instant::now();
        for _ in 0..count {
            filter(&cache.directory(), &profile, CompileOptions::default()).expect("a filter");
        }
        eprintln!("{round}: {:?}", start.elapsed() / count);
    }
}
