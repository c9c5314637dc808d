//! `run` on a host with many mounts: in a mount namespace that is copied, each costs.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::run::runs;
use crate::Result;
use crate::bench::Bench;
use crate::bench::figures::{Measurement, Unit};
use crate::bench::measure::Case;

/// How many mounts there are beside those of the machine.
const COUNTS: [usize; 4] = [0, 500, 1000, 2000];

/// The counts take turns, too, so that a machine that gets slower makes no growth.
const TURNS: usize = 4;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let directory = bench.directory.join("mounts");
    fs::create_dir_all(&directory)?;
    let mut all: Vec<Measurement> = Vec::new();
    for _ in 0..TURNS {
        let mounts = Mounts::new(&directory)?;
        let mut there = 0;
        for count in COUNTS {
            mounts.add(there..count)?;
            there = count;
            let case = Case::new("host-mounts", format!("{count} more mounts"), Unit::Milliseconds);
            for measurement in runs(bench, bench.rounds().divided(TURNS), case, &bench.default) {
                match all.iter_mut().find(|other| other.case == measurement.case) {
                    Some(other) => other.append(measurement),
                    None => all.push(measurement),
                }
            }
        }
    }
    Ok(all)
}

/// Mounts of the bench's own mount namespace. Gone when dropped.
struct Mounts<'a> {
    directory: &'a Path,
}

impl<'a> Mounts<'a> {
    fn new(directory: &'a Path) -> Result<Self> {
        mount(Some("corten-bench"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        Ok(Self { directory })
    }

    fn add(&self, numbers: std::ops::Range<usize>) -> Result {
        for number in numbers {
            let path = self.directory.join(number.to_string());
            fs::create_dir(&path)?;
            mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(())
    }
}

impl Drop for Mounts<'_> {
    fn drop(&mut self) {
        // All below go with it.
        if let Err(error) = umount2(self.directory, MntFlags::MNT_DETACH) {
            println!("cannot unmount {}: {error}", self.directory.display());
        }
    }
}
