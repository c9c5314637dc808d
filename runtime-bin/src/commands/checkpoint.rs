//! `corten checkpoint`: the processes of a container into image files.

use std::path::PathBuf;

use libcorten::{CgroupsRestored, CheckpointOptions, ImageOptions, PageServer};

use super::runtime;
use crate::arguments::{Checkpoint, Global, Images, NetworkLock};
use crate::log::Log;
use crate::{Failure, Outcome};

pub(crate) fn run(global: &Global, log: &Log, options: &Checkpoint) -> Outcome {
    let container = runtime(global)?.load(&options.id)?;
    let taken = CheckpointOptions {
        images: image_options(&options.images)?,
        parent_path: options.parent_path.clone().filter(|path| !path.as_os_str().is_empty()),
        leave_running: options.leave_running,
        pre_dump: options.pre_dump,
        tcp_skip_in_flight: options.tcp_skip_in_flight,
        link_remap: options.link_remap,
        page_server: options
            .page_server
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(page_server)
            .transpose()?,
        status_fd: u32::try_from(options.status_fd).ok(),
    };
    for warning in container.checkpoint(&taken)? {
        log.warn(&warning);
    }
    Ok(0)
}

/// Turns flags into options. runc's messages.
pub(super) fn image_options(options: &Images) -> Result<ImageOptions, Failure> {
    if let Some(namespace) = options.empty_ns.iter().find(|namespace| *namespace != "network") {
        return Err(Failure::new(format!("namespace {namespace:?} is not supported")));
    }
    let path = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    Ok(ImageOptions {
        image_path: path(&options.image_path).unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: path(&options.work_path),
        tcp_established: options.tcp_established,
        external_unix_sockets: options.ext_unix_sk,
        shell_job: options.shell_job,
        file_locks: options.file_locks,
        auto_dedup: options.auto_dedup,
        lazy_pages: options.lazy_pages,
        cgroups: match options.manage_cgroups_mode.as_deref() {
            None | Some("") => CgroupsRestored::Default,
            Some("soft") => CgroupsRestored::Soft,
            Some("full") => CgroupsRestored::Full,
            Some("strict") => CgroupsRestored::Strict,
            Some("ignore") => CgroupsRestored::Ignore,
            Some(_) => return Err(Failure::new("invalid manage-cgroups-mode value")),
        },
        network_lock: options.network_lock.map(|lock| match lock {
            NetworkLock::Iptables => libcorten::NetworkLock::Iptables,
            NetworkLock::Nftables => libcorten::NetworkLock::Nftables,
            NetworkLock::Skip => libcorten::NetworkLock::Skip,
        }),
    })
}

/// Reads `ADDRESS:PORT`; an IPv6 address stands in brackets.
fn page_server(text: &str) -> Result<PageServer, Failure> {
    let wrong = || Failure::new("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let address = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        None if address.contains(':') => return Err(wrong()),
        None => address,
    };
    if address.is_empty() || port.is_empty() {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| Failure::new("Invalid port number"))?;
    Ok(PageServer { address: address.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers_have_address_and_port() {
        let read = |text| {
            page_server(text).map(|server| (server.address, server.port)).map_err(|failure| failure.message)
        };
        assert_eq!(read("127.0.0.1:27"), Ok(("127.0.0.1".to_owned(), 27)));
        assert_eq!(read("[::1]:27"), Ok(("::1".to_owned(), 27)));
        for text in ["", "x", ":1", "x:", "::1:27", "[::1:27"] {
            assert_eq!(
                read(text),
                Err("Use --page-server ADDRESS:PORT to specify page server".to_owned()),
                "{text}"
            );
        }
        assert_eq!(read("x:y"), Err("Invalid port number".to_owned()));
    }
}
