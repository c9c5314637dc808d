//! `cargo xtask bench`: Corten beside its peers, and beside the least that the kernel lets one get away with.
//!
//! What is measured and how is told in docs/performance.md. What counts is the median and the ratio of
//! medians; single times on a shared machine mean little.

mod figures;
mod floor;
mod machine;
mod measure;
mod plot;
mod report;
mod runtime;
mod statistics;
mod supervise;
mod workloads;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::{Result, bundle, packages, shell};
use figures::{Report, Role};
use machine::Machine;
use measure::{Entrant, Rounds};
use runtime::{Bundle, Floor, Runtime};
use workloads::Workload;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The workloads [default: those that are quick]
    names: Vec<String>,
    /// Print the names of the workloads
    #[arg(long)]
    list: bool,
    /// Counted rounds
    #[arg(long, default_value_t = 60)]
    runs: usize,
    /// Rounds before those
    #[arg(long, default_value_t = 5)]
    warm_ups: usize,
    /// A build of Corten to measure; may be given more than once [default: the release build, made anew]
    #[arg(long, value_name = "FILE")]
    corten: Vec<PathBuf>,
    /// Make the musl build and measure it, too
    #[arg(long)]
    musl: bool,
    /// More runtimes to compare with
    #[arg(long, value_name = "FILE")]
    runtime: Vec<PathBuf>,
    /// Only the runtimes whose names have one of these words in them
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Which cgroups the containers get
    #[arg(long, value_enum, default_value = "pure-v2")]
    cgroups: Layout,
    /// How many containers there are in the workloads with many
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    containers: usize,
    /// The program that makes containers through the library [default: made anew when it is needed]
    #[arg(long, value_name = "FILE")]
    embedder: Option<PathBuf>,
    /// Write the figures to a file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw plots into a directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Show figures that were written to files by --json, instead of measuring
    #[arg(long, value_name = "FILE")]
    show: Vec<PathBuf>,
    /// Print tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// The directory of the bench that is supervised
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// The layout of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Nothing but cgroup2, in a mount namespace of the bench's own
    PureV2,
    /// As the machine has them
    Host,
}

pub(crate) fn run(options: &Options) -> Result {
    if options.list {
        workloads::ALL.iter().for_each(Workload::print);
        return Ok(());
    }
    if !options.show.is_empty() {
        return show(&report::read(&options.show)?, options);
    }
    if !shell::is_root() {
        return Err("making containers needs root".into());
    }
    let workloads = workloads::chosen(&options.names)?;
    match &options.inside {
        None => supervise::run(options.cgroups == Layout::PureV2),
        Some(directory) => {
            supervise::enter()?;
            let report = measure(&Bench::new(options, directory)?, &workloads)?;
            if let Some(path) = &options.json {
                report::write(&report, path)?;
            }
            show(&report, options)?;
            let failed = report.failures();
            if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
        }
    }
}

/// Prints and draws.
fn show(report: &Report, options: &Options) -> Result {
    options.plots.as_ref().map_or(Ok(()), |directory| plot::draw(report, directory))?;
    report::show(report, options.markdown)
}

/// Runs the workloads. One that cannot be run is told, and the others are.
fn measure(bench: &Bench<'_>, workloads: &[&Workload]) -> Result<Report> {
    let layout = if shell::is_hybrid() { "hybrid" } else { "v2" };
    let mut machine = Machine::look(layout, &bench.runtimes);
    let (mut measurements, mut failed) = (Vec::new(), Vec::new());
    for workload in workloads {
        println!("measuring: {}", workload.about);
        match (workload.measure)(bench) {
            Ok(measured) => measurements.extend(measured),
            Err(error) => failed.push(format!("{}: {error}", workload.name)),
        }
    }
    machine.finish();
    Ok(Report { machine, measurements, not_measured: failed })
}

/// What all workloads need.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    options: &'a Options,
    /// A directory in memory, which nobody else sees.
    pub(crate) directory: &'a Path,
    /// The floors, the builds of Corten, the peers.
    pub(crate) runtimes: Vec<Runtime>,
    /// The bundle that `runc spec` makes.
    pub(crate) default: Bundle,
    /// The bundle that Docker makes.
    pub(crate) docker: Bundle,
    ids: Cell<u32>,
}

/// What the machine lacks that a peer needs. crun sets that limit before it loads a device filter, whatever
/// it is.
fn hint(error: &str) -> &'static str {
    if error.contains("RLIM_MEMLOCK") {
        " (hint: it needs CAP_SYS_RESOURCE, or an unlimited hard limit on locked memory: ulimit -Hl)"
    } else {
        ""
    }
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, directory: &'a Path) -> Result<Self> {
        let runtimes = runtimes(options, directory)?;
        let corten =
            runtimes.iter().find(|runtime| runtime.role == Role::Corten).ok_or("no build of Corten")?;
        let default = Bundle { directory: directory.join("default"), floor: Floor::Default };
        bundle::default(&corten.program, &default.directory, &["/bin/true"])?;
        let mut docker = Bundle { directory: directory.join("docker"), floor: Floor::None };
        bundle::docker(&docker.directory, &["/bin/true"])?;
        match floor::export_filter(corten, &docker, &directory.join("filter")) {
            Ok(file) => docker.floor = Floor::Docker(file),
            Err(error) => println!("left out: the floor of Docker's config: {error}"),
        }
        let mut bench = Self { options, directory, runtimes, default, docker, ids: Cell::new(0) };
        let able = bench.runtimes.iter().filter(|runtime| bench.can_run(runtime)).cloned().collect();
        bench.runtimes = able;
        Ok(bench)
    }

    /// Whether a runtime runs the default bundle; it says why not.
    fn can_run(&self, runtime: &Runtime) -> bool {
        let run =
            runtime.run(&self.default, &self.id()).and_then(|mut command| measure::succeed(&mut command));
        run.inspect_err(|error| println!("left out: {}: {error}{}", runtime.label, hint(&error.to_string())))
            .is_ok()
    }

    /// How often something quick is measured.
    pub(crate) fn rounds(&self) -> Rounds {
        Rounds { warm_ups: self.options.warm_ups, counted: self.options.runs }
    }

    /// How many containers make many.
    pub(crate) fn containers(&self) -> usize {
        self.options.containers
    }

    /// The program that makes containers through the library, if the caller has one.
    pub(crate) fn embedder(&self) -> Option<PathBuf> {
        self.options.embedder.clone()
    }

    /// An id of a container that nobody has had.
    pub(crate) fn id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("{}-{}", supervise::prefix(self.directory), self.ids.get())
    }

    /// Corten and its peers, without the floor.
    pub(crate) fn oci_runtimes(&self) -> Vec<&Runtime> {
        self.runtimes.iter().filter(|runtime| runtime.is_oci()).collect()
    }

    /// A bundle like another one, with another config. The root filesystem is the other's.
    pub(crate) fn variant(
        &self,
        name: &str,
        of: &Bundle,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Bundle> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)?;
        fs::copy(of.directory.join("config.json"), directory.join("config.json"))?;
        bundle::edit(&directory, |config| {
            config["root"]["path"] = of.directory.join("rootfs").to_string_lossy().into();
            change(config);
        })?;
        Ok(Bundle { directory, floor: Floor::None })
    }

    /// The same bundle with a process that stays.
    pub(crate) fn idle(&self, name: &str, of: &Bundle) -> Result<Bundle> {
        self.variant(name, of, |config| {
            config["process"]["args"] = serde_json::json!(["/bin/sleep", "100000"])
        })
    }
}

/// Those who take part in a comparison.
pub(crate) fn entrants(runtimes: &[&Runtime]) -> Vec<Entrant> {
    runtimes.iter().map(|runtime| Entrant { label: runtime.label.clone(), role: runtime.role }).collect()
}

/// Finds all that is to be compared: builds of Corten, its peers, the floor.
fn runtimes(options: &Options, directory: &Path) -> Result<Vec<Runtime>> {
    let states = directory.join("state");
    let mut builds = options.corten.clone();
    if builds.is_empty() {
        packages::install_build_needs()?;
        builds.push(shell::build_release()?);
    }
    if options.musl {
        builds.push(build_musl()?);
    }
    packages::install_peers();
    // The floor is the same container in pure v2 only.
    let mut runtimes = if shell::is_hybrid() { Vec::new() } else { floor::compile(directory)? };
    for (number, build) in builds.iter().enumerate() {
        let program = runtime::install(build, &directory.join(format!("build-{number}")))?;
        runtimes.push(Runtime::new(&program, Role::Corten, &states)?);
    }
    let peers = ["crun", "runc", "youki"].into_iter().filter_map(shell::find);
    for peer in options.runtime.iter().cloned().chain(peers) {
        let peer = Runtime::new(&fs::canonicalize(&peer).unwrap_or(peer), Role::Peer, &states)?;
        if runtimes.iter().all(|runtime| runtime.label != peer.label) {
            runtimes.push(peer);
        }
    }
    let is_asked_for = |runtime: &Runtime| {
        options.only.is_empty() || options.only.iter().any(|word| runtime.label.contains(word.as_str()))
    };
    runtimes.retain(is_asked_for);
    Ok(runtimes)
}

/// Has the musl build made, whose path is the last thing that is printed.
fn build_musl() -> Result<PathBuf> {
    let output =
        shell::output(Command::new(std::env::current_exe()?).arg("musl").current_dir(shell::workspace()))?;
    Ok(output.lines().last().ok_or("cargo xtask musl: no path")?.into())
}
