//! The namespaces of a config (`linux.namespaces`).

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

/// Returns the config's namespace of this type.
pub(crate) fn namespace(spec: &Spec, typ: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.into_iter().flatten().find(|namespace| namespace.typ() == typ)
}

/// Whether the namespace exists already and is joined by its path.
pub(crate) fn is_joined(namespace: &LinuxNamespace) -> bool {
    namespace.path().as_ref().is_some_and(|path| !path.as_os_str().is_empty())
}

/// Returns the spec's word; the type's own `Display` says what `/proc/PID/ns` says (`mnt`, `net`).
pub(crate) fn namespace_name(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}
