//! `corten update`: other limits for a container.

use std::io::Read;

use libcorten::oci::{LinuxBlockIo, LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxPidsBuilder, LinuxResources};
use libcorten::spec::parse_resources;

use super::runtime;
use crate::arguments::{Global, Update};
use crate::log::Log;
use crate::{Failure, Outcome, reason};

pub(crate) fn run(global: &Global, log: &Log, options: &Update) -> Outcome {
    let resources = match &options.resources {
        Some(file) => from_file(file)?,
        None => from_flags(options)?,
    };
    let mut intel_rdt = LinuxIntelRdt::default();
    intel_rdt.set_l3_cache_schema(options.l3_cache_schema.clone());
    intel_rdt.set_mem_bw_schema(options.mem_bw_schema.clone());
    runtime(global)?.load(&options.id)?.update(&libcorten::Update { resources, intel_rdt })?;
    if options.kernel_memory.is_some() || options.kernel_memory_tcp.is_some() {
        log.warn("Kernel memory settings are ignored and will be removed");
    }
    Ok(0)
}

fn from_file(file: &std::path::Path) -> Result<LinuxResources, Failure> {
    let failed = |error| Failure::new(format!("--resources {file:?}: {}", reason(&error)));
    let mut text = Vec::new();
    if file == std::path::Path::new("-") {
        std::io::stdin().read_to_end(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read(file).map_err(failed)?;
    }
    parse_resources(&text)
        .map_err(|error| Failure::new(format!("--resources: {}", error.about(&file.to_string_lossy()))))
}

fn from_flags(options: &Update) -> Result<LinuxResources, Failure> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(options.cpu_share);
    cpu.set_quota(options.cpu_quota);
    cpu.set_period(options.cpu_period);
    cpu.set_burst(options.cpu_burst);
    cpu.set_idle(options.cpu_idle);
    cpu.set_realtime_period(options.cpu_rt_period);
    cpu.set_realtime_runtime(options.cpu_rt_runtime);
    cpu.set_cpus(options.cpuset_cpus.clone());
    cpu.set_mems(options.cpuset_mems.clone());
    let mut memory = LinuxMemory::default();
    memory.set_limit(options.memory);
    memory.set_reservation(options.memory_reservation);
    memory.set_swap(options.memory_swap);
    let mut block_io = LinuxBlockIo::default();
    block_io.set_weight(options.blkio_weight);
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()));
    resources.set_memory(Some(memory).filter(|memory| *memory != LinuxMemory::default()));
    resources.set_block_io(Some(block_io).filter(|block_io| *block_io != LinuxBlockIo::default()));
    if let Some(limit) = options.pids_limit {
        let pids = LinuxPidsBuilder::default().limit(limit).build();
        resources.set_pids(Some(pids.map_err(|error| Failure::new(format!("--pids-limit: {error}")))?));
    }
    Ok(resources)
}
