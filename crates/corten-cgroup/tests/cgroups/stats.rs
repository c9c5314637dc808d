//! Statistics and out-of-memory events: of trees of files that say what kernels say, and of real cgroups.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use corten_cgroup::stats::{
    Cpu, Cpuset, Hugetlb, HugetlbUsage, Io, IoEntry, MemoryUsage, Misc, Occurrence, OomWatcher, Pids, Psi,
    Rdma, RdmaEntry, Stall, Stats, legacy_oom_kills,
};
use corten_cgroup::{Cgroup, Error, Hierarchy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(30);

/// A directory with files of these names and texts.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn read(directory: &Path) -> Result<Stats, Error> {
    Stats::read(File::open(directory).unwrap())
}

/// Reads v1 statistics, the directory of each controller being one of its name below `root`.
fn read_legacy(root: &Path) -> Result<Stats, Error> {
    let names = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "rdma", "misc"];
    let open = |name: &&'static str| Some((*name, File::open(root.join(name)).ok()?));
    let directories: BTreeMap<_, _> = names.iter().filter_map(open).collect();
    Stats::read_legacy(&|name| directories.get(name).map(|directory| directory.as_fd()))
}

fn entry(major: u64, minor: u64, operation: &str, value: u64) -> IoEntry {
    IoEntry { major, minor, operation: operation.to_owned(), value }
}

#[test]
fn an_empty_directory_has_no_statistics() {
    let directory = tree(&[]);
    assert_eq!(read(directory.path()).unwrap(), Stats::default());
    assert_eq!(read_legacy(directory.path()).unwrap(), Stats::default());
    for name in ["cpu", "cpuacct", "cpuset", "memory", "pids", "hugetlb", "rdma", "misc"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    assert_eq!(read_legacy(directory.path()).unwrap(), Stats::default());
}

#[test]
fn processor_time_is_in_nanoseconds() {
    let stat = "usage_usec 7000\nuser_usec 4000\nsystem_usec 3000\nnice_usec 9\nnr_periods 20\nnr_throttled 5\n\
                throttled_usec 11\nnr_bursts 2\nburst_usec 8\n";
    let pressure = "some avg10=1.50 avg60=0.00 avg300=99.99 total=12345\nfull avg10=0.00 avg60=0.25 avg300=0.00 total=6\n";
    let stats = read(tree(&[("cpu.stat", stat), ("cpu.pressure", pressure)]).path()).unwrap();
    let expected = Cpu {
        total_ns: 7_000_000,
        user_ns: 4_000_000,
        kernel_ns: 3_000_000,
        periods: 20,
        throttled_periods: 5,
        throttled_ns: 11_000,
        bursts: 2,
        burst_ns: 8000,
        ..Cpu::default()
    };
    assert_eq!(stats.cpu, Some(expected));
    let some = Stall { avg10: 1.5, avg60: 0.0, avg300: 99.99, total_us: 12345 };
    let full = Stall { avg60: 0.25, total_us: 6, ..Stall::default() };
    assert_eq!(stats.pressure.cpu, Some(Psi { some, full }));
    assert_eq!((stats.pressure.memory, stats.pressure.io), (None, None));

    let root = tree(&[]);
    for (file, text) in [
        (
            "cpu/cpu.stat",
            "nr_periods 20\nnr_throttled 5\nthrottled_time 11\nnr_bursts 2\nburst_time 8\nwait_sum 3\n",
        ),
        ("cpuacct/cpuacct.usage", "7000000\n"),
        ("cpuacct/cpuacct.stat", "user 4\nsystem 3\n"),
        ("cpuacct/cpuacct.usage_percpu", "6000000 1000000 \n"),
        ("cpuacct/cpuacct.usage_all", "cpu user system\n0 4000000 2000000\n1 500000 500000\n"),
    ] {
        fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
        fs::write(root.path().join(file), text).unwrap();
    }
    let expected = Cpu {
        total_ns: 7_000_000,
        user_ns: 40_000_000,
        kernel_ns: 30_000_000,
        per_cpu_ns: vec![6_000_000, 1_000_000],
        per_cpu_user_ns: vec![4_000_000, 500_000],
        per_cpu_kernel_ns: vec![2_000_000, 500_000],
        periods: 20,
        throttled_periods: 5,
        throttled_ns: 11,
        bursts: 2,
        burst_ns: 8,
    };
    assert_eq!(read_legacy(root.path()).unwrap().cpu, Some(expected));
}

#[test]
fn memory_of_cgroup2_adds_up() {
    let stat = ("memory.stat", "anon 100\nfile 4096\nslab 7\npgfault 9\n");
    let limited = [stat, ("memory.current", "8192\n"), ("memory.max", "65536\n"), ("memory.peak", "9000\n")];
    let swap =
        [("memory.swap.current", "1000\n"), ("memory.swap.max", "2000\n"), ("memory.swap.peak", "1500\n")];
    let memory = read(tree(&[&limited[..], &swap[..]].concat()).path()).unwrap().memory.unwrap();
    assert_eq!(memory.cache, 4096);
    assert_eq!(memory.usage, MemoryUsage { usage: 8192, max_usage: 9000, failures: 0, limit: 65536 });
    assert_eq!(memory.swap, Some(MemoryUsage { usage: 1000, max_usage: 1500, failures: 0, limit: 2000 }));
    assert_eq!(memory.with_swap, Some(MemoryUsage { usage: 9192, max_usage: 0, failures: 0, limit: 67536 }));
    assert_eq!(memory.raw.len(), 4);
    assert_eq!((memory.raw["pgfault"], memory.kernel, memory.kernel_tcp), (9, None, None));

    // No accounting of swap: as if there were none.
    let memory = read(tree(&limited).path()).unwrap().memory.unwrap();
    assert_eq!((memory.swap, memory.with_swap.unwrap().limit), (None, 65536));
    // No limit, and older than memory.peak.
    let unlimited = [stat, ("memory.current", "8192\n"), ("memory.max", "max\n")];
    for files in [&unlimited[..], &[&unlimited[..], &swap[..]].concat()] {
        let memory = read(tree(files).path()).unwrap().memory.unwrap();
        assert_eq!((memory.usage.limit, memory.usage.max_usage), (u64::MAX, 0));
        assert_eq!(memory.with_swap.unwrap().limit, u64::MAX);
    }
    // Swap without a limit.
    let files = [&limited[..], &[("memory.swap.current", "5\n"), ("memory.swap.max", "max\n")]].concat();
    assert_eq!(read(tree(&files).path()).unwrap().memory.unwrap().with_swap.unwrap().limit, u64::MAX);
    // The root has nothing but memory.stat.
    assert_eq!(read(tree(&[stat]).path()).unwrap().memory.unwrap().usage.limit, u64::MAX);
}

#[test]
fn memory_of_v1_has_four_kinds() {
    let root = tree(&[]);
    let memory = root.path().join("memory");
    fs::create_dir(&memory).unwrap();
    fs::write(memory.join("memory.stat"), "cache 5\nrss 6\ntotal_cache 50\nhierarchical_memory_limit 99\n")
        .unwrap();
    for (kind, base) in
        [("memory", 100), ("memory.memsw", 200), ("memory.kmem", 300), ("memory.kmem.tcp", 400)]
    {
        for (name, number) in
            [("usage_in_bytes", 0), ("max_usage_in_bytes", 1), ("failcnt", 2), ("limit_in_bytes", 3)]
        {
            fs::write(memory.join(format!("{kind}.{name}")), format!("{}\n", base + number)).unwrap();
        }
    }
    let usage = |base| MemoryUsage { usage: base, max_usage: base + 1, failures: base + 2, limit: base + 3 };
    let read = read_legacy(root.path()).unwrap().memory.unwrap();
    assert_eq!((read.cache, read.usage, read.swap), (5, usage(100), None));
    assert_eq!(
        (read.with_swap, read.kernel, read.kernel_tcp),
        (Some(usage(200)), Some(usage(300)), Some(usage(400)))
    );
    // What kernels leave out.
    fs::remove_file(memory.join("memory.kmem.limit_in_bytes")).unwrap();
    fs::remove_file(memory.join("memory.memsw.usage_in_bytes")).unwrap();
    let read = read_legacy(root.path()).unwrap().memory.unwrap();
    assert_eq!((read.with_swap, read.kernel.unwrap().limit), (None, 0));
}

#[test]
fn tasks_are_counted_in_one_way_or_another() {
    let pids = |files: &[(&str, &str)]| read(tree(files).path()).unwrap().pids;
    let procs = ("cgroup.procs", "7\n8\n");
    let limited = [("pids.current", "3\n"), ("pids.max", "10\n"), procs];
    assert_eq!(pids(&limited), Some(Pids { current: 3, limit: 10 }));
    assert_eq!(
        pids(&[("pids.current", "3\n"), ("pids.max", "max\n")]),
        Some(Pids { current: 3, limit: u64::MAX })
    );
    assert_eq!(pids(&[procs]), Some(Pids { current: 2, limit: u64::MAX }));
    assert_eq!(pids(&[("cgroup.threads", "7\n8\n9\n")]), Some(Pids { current: 3, limit: u64::MAX }));
}

#[test]
fn transfers_are_listed_by_device() {
    let stat = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:10 253:5 rbytes=0 wbytes=4096 rios=0 wios=1\n8:0 \n";
    let io = read(tree(&[("io.stat", stat)]).path()).unwrap().io.unwrap();
    let (read_bytes, written) = (entry(8, 16, "Read", 1), entry(8, 16, "Write", 2));
    assert_eq!(
        io.service_bytes,
        [read_bytes, written, entry(253, 5, "Read", 0), entry(253, 5, "Write", 4096)]
    );
    let requests = [entry(8, 16, "Read", 3), entry(8, 16, "Write", 4)];
    assert_eq!(io.serviced, [&requests[..], &[entry(253, 5, "Read", 0), entry(253, 5, "Write", 1)]].concat());
    assert_eq!(Io { service_bytes: vec![], serviced: vec![], ..io }, Io::default());
}

/// Each of the three schedulers' files is taken where it has something, and the throttling's otherwise.
#[test]
fn transfers_of_v1_come_from_whoever_counts() {
    let root = tree(&[]);
    let blkio = root.path().join("blkio");
    fs::create_dir(&blkio).unwrap();
    let write = |file: &str, text: &str| fs::write(blkio.join(file), text).unwrap();
    let io = || read_legacy(root.path()).unwrap().io.unwrap();
    assert_eq!(io(), Io::default());
    write("blkio.throttle.io_serviced", "8:0 Read 1\n8:0 Total 1\nTotal 1\n");
    write("blkio.throttle.io_service_bytes", "8:0 Read 512\nTotal 512\n");
    let counted = [entry(8, 0, "Read", 1), entry(8, 0, "Total", 1)];
    assert_eq!((io().serviced, io().service_bytes), (counted.to_vec(), vec![entry(8, 0, "Read", 512)]));
    write("blkio.throttle.io_serviced_recursive", "8:0 Read 2\nTotal 2\n");
    assert_eq!(io().serviced, [entry(8, 0, "Read", 2)]);
    // Nobody uses CFQ, BFQ has counted nothing yet.
    write("blkio.bfq.io_serviced_recursive", "Total 0\n");
    assert_eq!(io().serviced, [entry(8, 0, "Read", 2)]);
    write("blkio.io_serviced_recursive", "8:0 Sync 3\n");
    write("blkio.sectors_recursive", "8:0 77\n");
    assert_eq!((io().serviced, io().sectors), (vec![entry(8, 0, "Sync", 3)], vec![entry(8, 0, "", 77)]));
    write("blkio.bfq.io_serviced_recursive", "8:0 Write 4\nTotal 4\n");
    for (file, number) in
        [("io_queued", 5), ("io_service_time", 6), ("io_wait_time", 7), ("io_merged", 8), ("time", 9)]
    {
        write(&format!("blkio.bfq.{file}_recursive"), &format!("8:0 {number}\n"));
    }
    let io = io();
    assert_eq!(io.serviced, [entry(8, 0, "Write", 4)]);
    let lists = [io.queued, io.service_time, io.wait_time, io.merged, io.time];
    assert_eq!(lists.concat().iter().map(|entry| entry.value).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
}

#[test]
fn huge_pages_are_listed_by_size() {
    let directory = tree(&[
        ("hugetlb.2MB.current", "4096\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.events", "max 3\n"),
        ("hugetlb.2MB.rsvd.current", "8192\n"),
        ("hugetlb.1GB.current", "0\n"),
    ]);
    let hugetlb = read(directory.path()).unwrap().hugetlb;
    let used = HugetlbUsage { usage: 4096, max_usage: 0, failures: 3 };
    let reserved = Some(HugetlbUsage { usage: 8192, ..used });
    let expected = [("1GB".to_owned(), Hugetlb::default()), ("2MB".to_owned(), Hugetlb { used, reserved })];
    assert_eq!(hugetlb, BTreeMap::from(expected));

    let root = tree(&[]);
    fs::create_dir(root.path().join("hugetlb")).unwrap();
    for (kind, base) in [("2MB", 10), ("2MB.rsvd", 20), ("64KB", 30)] {
        for (name, number) in [("usage_in_bytes", 0), ("max_usage_in_bytes", 1), ("failcnt", 2)] {
            let file = root.path().join(format!("hugetlb/hugetlb.{kind}.{name}"));
            fs::write(file, format!("{}\n", base + number)).unwrap();
        }
    }
    let usage = |base| HugetlbUsage { usage: base, max_usage: base + 1, failures: base + 2 };
    let hugetlb = read_legacy(root.path()).unwrap().hugetlb;
    assert_eq!(hugetlb.len(), 2);
    assert_eq!(hugetlb["2MB"], Hugetlb { used: usage(10), reserved: Some(usage(20)) });
    assert_eq!(hugetlb["64KB"], Hugetlb { used: usage(30), reserved: None });
}

#[test]
fn devices_and_scalar_resources_have_names() {
    let files = [
        ("rdma.max", "mlx4_0 hca_handle=2 hca_object=max\nocrdma1 hca_handle=3 hca_object=4\n"),
        ("rdma.current", "mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=0 hca_object=0\n"),
        ("misc.current", "sev 4\nsev_es 0\n"),
        ("misc.events", "sev.max 9\n"),
    ];
    let directory = tree(&files);
    let device = |device: &str, handles, objects| RdmaEntry { device: device.to_owned(), handles, objects };
    let rdma = Rdma {
        limit: vec![device("mlx4_0", 2, u32::MAX), device("ocrdma1", 3, 4)],
        current: vec![device("mlx4_0", 1, 20), device("ocrdma1", 0, 0)],
    };
    let misc = [("sev".to_owned(), Misc { usage: 4, events: 9 }), ("sev_es".to_owned(), Misc::default())];
    let mut expected = Stats::default();
    (expected.rdma, expected.misc) = (Some(rdma), BTreeMap::from(misc));
    assert_eq!(read(directory.path()).unwrap(), expected);
    // v1 has the same files.
    let opened = File::open(directory.path()).unwrap();
    let directory_of = |name: &str| ["rdma", "misc"].contains(&name).then(|| opened.as_fd());
    assert_eq!(Stats::read_legacy(&directory_of).unwrap(), expected);
}

#[test]
fn cpusets_are_read_as_lists_and_flags() {
    let root = tree(&[]);
    let directory = root.path().join("cpuset");
    fs::create_dir(&directory).unwrap();
    let names = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ];
    for (number, name) in names.iter().enumerate() {
        fs::write(directory.join(format!("cpuset.{name}")), format!("{number}\n")).unwrap();
    }
    fs::write(directory.join("cpuset.sched_relax_domain_level"), "-1\n").unwrap();
    fs::write(directory.join("cpuset.cpus"), "0-2,7\n").unwrap();
    fs::write(directory.join("cpuset.mems"), "\n").unwrap();
    let expected = Cpuset {
        cpus: vec![0, 1, 2, 7],
        cpu_exclusive: 0,
        mems: vec![],
        mem_hardwall: 1,
        mem_exclusive: 2,
        memory_migrate: 3,
        memory_spread_page: 4,
        memory_spread_slab: 5,
        memory_pressure: 6,
        sched_load_balance: 7,
        sched_relax_domain_level: -1,
    };
    assert_eq!(read_legacy(root.path()).unwrap().cpuset, Some(expected));
    for text in ["3-1", "a", "1-", "70000", "0,,x"] {
        fs::write(directory.join("cpuset.cpus"), text).unwrap();
        let error = read_legacy(root.path()).unwrap_err().to_string();
        assert!(error.contains("cpuset/cpuset.cpus") && error.contains(text), "{error}");
    }
}

/// What is not understood is told, with the file, and never guessed.
#[test]
fn errors_name_the_file() {
    for (file, text) in [
        ("cpu.stat", "usage_usec\n"),
        ("memory.stat", "anon many\n"),
        ("pids.current", "three\n"),
        ("io.stat", "8:0 rbytes=x\n"),
        ("io.stat", "rbytes=1\n"),
        ("hugetlb.2MB.current", "\n"),
        ("misc.current", "sev  1\n"),
        ("io.pressure", "some avg10=x\n"),
        ("io.pressure", "full total\n"),
    ] {
        let directory = tree(&[(file, text)]);
        let error = read(directory.path()).unwrap_err().to_string();
        let path = fs::canonicalize(directory.path()).unwrap().join(file);
        assert!(error.contains(path.to_str().unwrap()), "{file} {text:?}: {error}");
    }
    let directory = tree(&[("rdma.max", "mlx4_0 hca_handle=-x\n"), ("rdma.current", "")]);
    assert!(read(directory.path()).unwrap_err().to_string().contains("rdma.max"));
    // A file that cannot be read.
    let directory = tree(&[]);
    fs::create_dir(directory.path().join("memory.stat")).unwrap();
    let error = read(directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("memory.stat\")"), "{error}");
    assert_eq!(error.errno(), Some(libc::EISDIR));
    // Links are not followed: there are none in a cgroup filesystem.
    let directory = tree(&[]);
    std::os::unix::fs::symlink("/proc/self/stat", directory.path().join("memory.stat")).unwrap();
    assert_eq!(read(directory.path()).unwrap_err().errno(), Some(libc::ELOOP));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    /// Whatever stands in the files, reading them comes to an end, and an error names the file.
    #[test]
    fn no_text_is_too_strange(text in "(some |full |avg10=|8:0 |rbytes=|[0-9,:=-]{0,6}|max|[ \n]|\\PC){0,12}") {
        for file in [
            "cpu.stat", "memory.stat", "memory.current", "memory.swap.max", "pids.max", "io.stat", "hugetlb.2MB.current",
            "hugetlb.2MB.events", "rdma.max", "misc.current", "cpu.pressure", "memory.usage_in_bytes", "cpuacct.usage",
            "cpuacct.stat", "cpuacct.usage_percpu", "cpuacct.usage_all", "cpuset.cpus", "cpuset.sched_relax_domain_level",
            "blkio.throttle.io_serviced", "hugetlb.2MB.usage_in_bytes",
        ] {
            // What has to be there for the others to be looked at.
            let others = [("cpuacct.usage", "1"), ("cpuset.cpus", "0"), ("memory.stat", ""), ("pids.current", "1"),
                ("memory.swap.current", "1"), ("rdma.current", "")];
            let directory = tree(&others);
            fs::write(directory.path().join(file), &text).unwrap();
            let opened = File::open(directory.path()).unwrap();
            for read in [read(directory.path()), Stats::read_legacy(&|_| Some(opened.as_fd()))] {
                if let Err(error) = read {
                    assert!(error.to_string().contains(file), "{file}: {error}");
                }
            }
        }
    }
}

/// A cgroup in a v1 hierarchy. Removed when dropped, with all that runs there.
struct Legacy {
    path: PathBuf,
    children: Vec<Child>,
}

impl Legacy {
    fn new(controller: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new("/sys/fs/cgroup").join(controller);
        let path = root.join(format!("corten-cgroup-stats-{}-{number}", std::process::id()));
        // On a machine without the hierarchy, the parent is missing or is a directory of cgroup2.
        if !root.join("cgroup.sane_behavior").exists() || fs::create_dir(&path).is_err() {
            println!("skipped: no v1 hierarchy of {controller}, or not allowed to use it");
            return None;
        }
        Some(Self { path, children: Vec::new() })
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.path.join(file), value).unwrap();
    }

    fn open(&self) -> File {
        File::open(&self.path).unwrap()
    }

    /// Starts a shell that moves itself into the cgroup first.
    fn start(&mut self, script: &str) -> &mut Child {
        self.children.push(start_in(&self.path, script));
        self.children.last_mut().unwrap()
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
        let gone = || {
            // Those that the scripts have left.
            for pid in fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
                kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).ok();
            }
            matches!(fs::remove_dir(&self.path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
        };
        until("still busy", gone);
    }
}

fn start_in(directory: &Path, script: &str) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs && echo in && {{ {script}; }}", directory.display());
    let mut child =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_busy_v1_cgroup_has_used_its_processor_time() {
    let (Some(mut account), Some(quota)) = (Legacy::new("cpuacct"), Legacy::new("cpu")) else { return };
    quota.write("cpu.cfs_period_us", "100000");
    quota.write("cpu.cfs_quota_us", "20000");
    let before = Instant::now();
    let busy = account.start("while :; do :; done").id();
    quota.write("cgroup.procs", &busy.to_string());
    let (accounted, limited) = (account.open(), quota.open());
    let stats = || {
        let directory_of = |name: &str| match name {
            "cpuacct" => Some(accounted.as_fd()),
            "cpu" => Some(limited.as_fd()),
            _ => None,
        };
        Stats::read_legacy(&directory_of).unwrap().cpu.unwrap()
    };
    until("never throttled", || stats().throttled_periods >= 3);
    let cpu = stats();
    let spent = u64::try_from(before.elapsed().as_nanos()).unwrap();
    assert!(cpu.total_ns > 10_000_000 && cpu.total_ns < spent, "{cpu:?} in {spent} ns");
    assert!(
        cpu.throttled_ns > 0 && cpu.throttled_ns < spent && cpu.periods >= cpu.throttled_periods,
        "{cpu:?}"
    );
    assert_eq!(cpu.per_cpu_ns.len(), cpu.per_cpu_user_ns.len());
    let parts: u64 = cpu.per_cpu_ns.iter().sum();
    assert!(parts.abs_diff(cpu.total_ns) < 50_000_000, "{cpu:?}");
    assert!((cpu.user_ns + cpu.kernel_ns).abs_diff(cpu.total_ns) < 100_000_000, "{cpu:?}");
}

#[test]
fn a_v1_cgroup_tells_its_memory_and_its_end() {
    const LIMIT: u64 = 32 << 20;
    let Some(mut memory) = Legacy::new("memory") else { return };
    memory.write("memory.limit_in_bytes", &LIMIT.to_string());
    let directory = memory.open();
    let stats = || {
        let directory_of = |name: &str| (name == "memory").then(|| directory.as_fd());
        Stats::read_legacy(&directory_of).unwrap().memory.unwrap()
    };
    let mut watcher = OomWatcher::legacy(&directory).unwrap();
    let soon = Duration::from_millis(50);
    assert_eq!(watcher.wait(soon, None).unwrap(), None);
    assert_eq!(legacy_oom_kills(&directory).unwrap(), 0);

    // A string of 8 MiB.
    memory.start("x=$(head -c 8388608 /dev/zero | tr '\\0' x); sleep 1000");
    until("uses no memory", || stats().raw["rss"] > 8 << 20);
    let used = stats();
    // The files are read one after the other.
    assert!(used.usage.usage > 8 << 20 && used.usage.max_usage > 8 << 20, "{used:?}");
    assert!(used.usage.usage <= LIMIT && used.usage.max_usage <= LIMIT, "{used:?}");
    assert_eq!(used.usage.limit, LIMIT);
    assert!(used.raw["rss"] < LIMIT, "{used:?}");
    assert!(used.with_swap.is_none_or(|both| both.usage > 8 << 20 && both.limit >= LIMIT), "{used:?}");
    assert!(used.kernel.is_some_and(|kernel| kernel.usage > 0 && kernel.usage < LIMIT), "{used:?}");
    assert_eq!(watcher.wait(soon, None).unwrap(), None);

    // tail keeps the line that does not end.
    let killed = memory.start("exec tail /dev/zero").wait().unwrap();
    assert!(!killed.success(), "{killed:?}");
    assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::OutOfMemory));
    assert_eq!(legacy_oom_kills(&directory).unwrap(), 1);
    assert!(stats().usage.failures > 0);
    // Once is enough, though the kernel may tell of each attempt.
    while watcher.wait(soon, None).unwrap() == Some(Occurrence::OutOfMemory) {}

    // An end that is told from outside: of a process that ends, or of a pipe.
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(watcher.wait(soon, Some(reader.as_fd())).unwrap(), None);
    drop(writer);
    assert_eq!(watcher.wait(DEADLINE, Some(reader.as_fd())).unwrap(), Some(Occurrence::Ended));
    drop(memory);
    // The kernel signals the eventfd for this, too, a moment later; that is nobody's memory.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::Ended));
}

#[test]
fn v1_tasks_and_cpusets_are_read() {
    if let Some(mut pids) = Legacy::new("pids") {
        pids.write("pids.max", "7");
        pids.start("sleep 1000 & sleep 1000");
        let directory = pids.open();
        let stats =
            || Stats::read_legacy(&|name| (name == "pids").then(|| directory.as_fd())).unwrap().pids.unwrap();
        until("not three tasks", || stats() == Pids { current: 3, limit: 7 });
    }
    if let Some(cpuset) = Legacy::new("cpuset") {
        cpuset.write("cpuset.cpus", "0");
        let directory = cpuset.open();
        let stats = Stats::read_legacy(&|name| (name == "cpuset").then(|| directory.as_fd())).unwrap();
        let read = stats.cpuset.unwrap();
        assert_eq!((read.cpus, read.mems), (vec![0], vec![]));
        assert_eq!((read.sched_load_balance, read.sched_relax_domain_level), (1, -1));
    }
}

/// A cgroup of cgroup2, if they can be made here.
fn unified() -> Option<Cgroup> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/corten-cgroup-stats-{}-{number}", std::process::id());
    match Hierarchy::detect().and_then(|hierarchy| hierarchy.create(path.as_ref())) {
        Ok(cgroup) => Some(cgroup),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn on_host(cgroup: &Cgroup) -> PathBuf {
    Hierarchy::detect().unwrap().mount_point().join(cgroup.path().strip_prefix("/").unwrap())
}

#[test]
fn a_cgroup_of_cgroup2_is_watched_until_it_is_empty() {
    let Some(cgroup) = unified() else { return };
    let before = Instant::now();
    let mut child = start_in(&on_host(&cgroup), "while :; do :; done");
    let mut watcher = OomWatcher::new(&cgroup).unwrap();
    let stats = || Stats::read(&cgroup).unwrap();
    until("no processor time", || stats().cpu.unwrap().total_ns > 30_000_000);
    let read = stats();
    let (cpu, pids) = (read.cpu.unwrap(), read.pids.unwrap());
    let spent = u64::try_from(before.elapsed().as_nanos()).unwrap();
    assert!(
        cpu.total_ns < spent && (cpu.user_ns + cpu.kernel_ns).abs_diff(cpu.total_ns) < 1_000_000,
        "{cpu:?}"
    );
    assert_eq!((pids.current, pids.limit), (1, u64::MAX));
    assert_eq!(read.pressure.cpu.is_some(), on_host(&cgroup).join("cpu.pressure").exists());
    let sizes = fs::read_dir(on_host(&cgroup)).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().ends_with("B.current")
    });
    assert_eq!(read.hugetlb.len(), sizes.count());
    assert_eq!(cgroup.oom_kills().unwrap(), 0);

    assert_eq!(watcher.wait(Duration::from_millis(50), None).unwrap(), None);
    // The watcher waits by poll: it is woken at once.
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| (watcher.wait(DEADLINE, None).unwrap(), Instant::now()));
        std::thread::sleep(Duration::from_millis(100));
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        let (seen, woken) = watch.join().unwrap();
        assert_eq!(seen, Some(Occurrence::Ended));
        assert!(woken.saturating_duration_since(killed) < Duration::from_secs(5));
    });
    assert_eq!(OomWatcher::new(&cgroup).unwrap().wait(DEADLINE, None).unwrap(), Some(Occurrence::Ended));
    let removed = fs::File::open(on_host(&cgroup)).unwrap();
    cgroup.remove(DEADLINE).unwrap();
    assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::Ended));
    assert_eq!(Stats::read(removed).unwrap(), Stats::default());
}

/// Needs cgroup2 with the memory controller.
#[test]
fn a_cgroup_of_cgroup2_tells_when_memory_is_used_up() {
    let Some(cgroup) = unified() else { return };
    let directory = on_host(&cgroup);
    let parent = directory.parent().unwrap();
    fs::write(parent.join("cgroup.subtree_control"), "+memory").ok();
    if !directory.join("memory.max").exists() {
        println!("skipped: no memory controller in cgroup2");
        return cgroup.remove(DEADLINE).unwrap();
    }
    fs::write(directory.join("memory.max"), (32 << 20).to_string()).unwrap();
    fs::write(directory.join("memory.swap.max"), "0").ok();
    let mut sleeper = start_in(&directory, "x=$(head -c 8388608 /dev/zero | tr '\\0' x); exec sleep 1000");
    let mut watcher = OomWatcher::new(&cgroup).unwrap();
    let memory = || Stats::read(&cgroup).unwrap().memory.unwrap();
    until("no memory used", || memory().usage.max_usage > 8 << 20);
    assert_eq!(memory().usage.limit, 32 << 20);
    assert_eq!(watcher.wait(Duration::from_millis(50), None).unwrap(), None);
    for kills in 1..=2 {
        let killed = start_in(&directory, "exec tail /dev/zero").wait().unwrap();
        assert!(!killed.success());
        assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::OutOfMemory));
        assert_eq!(cgroup.oom_kills().unwrap(), kills);
        assert_eq!(watcher.wait(Duration::from_millis(50), None).unwrap(), None);
    }
    // Who dies of it last: both are told, in this order.
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let mut last = start_in(&directory, "sleep 0.2; exec tail /dev/zero");
    assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::OutOfMemory));
    assert!(!last.wait().unwrap().success());
    assert_eq!(watcher.wait(DEADLINE, None).unwrap(), Some(Occurrence::Ended));
    cgroup.remove(DEADLINE).unwrap();
}
