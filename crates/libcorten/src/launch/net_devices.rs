//! Network devices of the host that the container gets (`linux.netDevices`).
//!
//! Stage: host, once init is in its network namespace. Privilege: CAP_NET_ADMIN in both namespaces,
//! CAP_SYS_ADMIN to enter the container's. Kernel: rtnetlink(7), `setns(2)` on a thread of its own.
//! Spec: config-linux.md#network-devices. Attacker: none; nothing of the container runs yet, and names go by
//! rtnetlink, not through paths.
//!
//! A failure leaves the devices that were moved before inside, on purpose: the namespace ends with init, and
//! then the kernel returns physical devices to the initial namespace and destroys virtual ones. The spec
//! forbids the runtime to move them back.

mod rtnetlink;

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::error::{ErrorKind, Failure};
use crate::sys::{self, SysError};
use rtnetlink::Rtnetlink;

/// Longest name of a device: `IFNAMSIZ` less its NUL.
const NAME_MAX: usize = 15;
/// What the user says about an address, as opposed to what the kernel finds out about it.
const CHOSEN_FLAGS: AddressFlags = AddressFlags::Nodad
    .union(AddressFlags::Homeaddress)
    .union(AddressFlags::Managetempaddr)
    .union(AddressFlags::Noprefixroute)
    .union(AddressFlags::Mcautojoin);

/// Why a network device could not be moved into the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetDeviceError {
    /// A name that no device can have.
    #[error("linux.netDevices[{device:?}]: invalid network device name {name:?}")]
    Name {
        /// The key.
        device: String,
        /// The name, on the host or inside.
        name: String,
    },
    /// The container has such a device.
    #[error("linux.netDevices[{device:?}]: the container's network namespace already has a device {name:?}")]
    Exists {
        /// The key.
        device: String,
        /// The name inside.
        name: String,
    },
    /// A failed call for one device.
    #[error("linux.netDevices[{device:?}]")]
    Call {
        /// The key.
        device: String,
        /// The call and its errno.
        #[source]
        source: SysError,
    },
    /// The namespaces cannot be talked to.
    #[error("linux.netDevices")]
    Namespace(#[source] SysError),
}

impl NetDeviceError {
    /// Returns the errno; `None` when the config is wrong.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Name { .. } => None,
            Self::Exists { .. } => Some(Errno::EEXIST),
            Self::Call { source, .. } | Self::Namespace(source) => Some(source.errno.0),
        }
    }
}

impl Failure for NetDeviceError {
    fn kind(&self) -> ErrorKind {
        self.errno().map_or(ErrorKind::InvalidConfig, ErrorKind::of_errno)
    }
}

/// Whether a device can have this name, by the kernel's rule. A name inside may be a template: with one `%d`
/// in it, for which the kernel puts the first free number.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let shape = !name.is_empty() && name.len() <= NAME_MAX && name != "." && name != "..";
    let bytes = name.bytes().all(|byte| !b"/:\0\x0b".contains(&byte) && !byte.is_ascii_whitespace());
    shape && bytes && (!name.contains('%') || is_template(name))
}

fn is_template(name: &str) -> bool {
    name.matches('%').count() == 1 && name.contains("%d")
}

/// Moves devices from the caller's network namespace into another: (name outside, name inside), in this
/// order.
///
/// They keep what the kernel keeps of them (MTU, hardware address), and their permanent addresses of global
/// scope; they are up afterwards. The caller's thread stays where it is.
///
/// # Errors
/// All names are judged before anything is moved. After that, the devices before the failed one are inside;
/// so may be the failed one.
pub(crate) fn move_devices(
    namespace: BorrowedFd<'_>,
    devices: &[(String, String)],
) -> Result<(), NetDeviceError> {
    if devices.is_empty() {
        return Ok(());
    }
    for (device, inside) in devices {
        for name in [device, inside] {
            if !is_valid_name(name) {
                return Err(NetDeviceError::Name { device: device.clone(), name: name.clone() });
            }
        }
    }
    let mut here = Rtnetlink::open().map_err(NetDeviceError::Namespace)?;
    let mut there = open_inside(namespace).map_err(NetDeviceError::Namespace)?;
    devices.iter().try_for_each(|(device, name)| move_device(&mut here, &mut there, namespace, device, name))
}

/// Brings up the loopback device of a network namespace.
pub(crate) fn raise_loopback(namespace: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut inside = open_inside(namespace)?;
    let index = index_of(&mut inside, "lo")?;
    set_up(&mut inside, index, "lo")
}

fn move_device(
    here: &mut Rtnetlink,
    there: &mut Rtnetlink,
    namespace: BorrowedFd<'_>,
    device: &str,
    name: &str,
) -> Result<(), NetDeviceError> {
    let failed = |source| NetDeviceError::Call { device: device.to_owned(), source };
    let index = index_of(here, device).map_err(failed)?;
    // Before the device goes down, as the kernel forgets its IPv6 addresses then (runc 1.4 reads them after).
    let addresses = lasting_addresses(here, index, device).map_err(failed)?;
    let template = is_template(name);
    // The device's index may change on the way, so that only a name known before finds it again.
    let arrival = if template { format!("corten{index:x}") } else { name.to_owned() };
    // The kernel would find out only after the move when the name outside is free inside.
    match index_of(there, &arrival) {
        Err(error) if error.errno.0 == Errno::ENODEV => {}
        Err(error) => return Err(failed(error)),
        Ok(_) => return Err(NetDeviceError::Exists { device: device.to_owned(), name: arrival }),
    }
    change_namespace(here, index, namespace, device, &arrival).map_err(failed)?;
    let index = index_of(there, &arrival).map_err(failed)?;
    if template {
        rename(there, index, &arrival, name).map_err(failed)?;
    }
    for address in &addresses {
        add_address(there, index, address, name).map_err(failed)?;
    }
    set_up(there, index, name).map_err(failed)
}

/// Opens a socket of another network namespace. A socket stays in the namespace that it was made in, so the
/// thread that enters it can end.
fn open_inside(namespace: BorrowedFd<'_>) -> Result<Rtnetlink, SysError> {
    sys::in_a_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            SysError::new(errno, || format!("setns({}, CLONE_NEWNET)", namespace.as_raw_fd()))
        })?;
        Rtnetlink::open()
    })?
}

fn index_of(socket: &mut Rtnetlink, name: &str) -> Result<u32, SysError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let call = || format!("rtnetlink(RTM_GETLINK, {name:?})");
    let link = socket.get_link(message, call)?;
    link.map(|header| header.index).ok_or_else(|| SysError::new(Errno::ENODEV, call))
}

/// The addresses that stay valid elsewhere: permanent ones of global scope, as the spec has it.
fn lasting_addresses(
    socket: &mut Rtnetlink,
    index: u32,
    name: &str,
) -> Result<Vec<AddressMessage>, SysError> {
    let mut addresses = socket.dump_addresses(index, || format!("rtnetlink(RTM_GETADDR, {name:?})"))?;
    addresses.retain(|address| {
        address.header.scope == AddressScope::Universe && flags_of(address).contains(AddressFlags::Permanent)
    });
    Ok(addresses)
}

/// All flags; the header has room for the first eight only.
fn flags_of(address: &AddressMessage) -> AddressFlags {
    let all = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    all.unwrap_or_else(|| AddressFlags::from_bits_retain(address.header.flags.bits().into()))
}

fn change_namespace(
    socket: &mut Rtnetlink,
    index: u32,
    namespace: BorrowedFd<'_>,
    device: &str,
    name: &str,
) -> Result<(), SysError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    // The kernel takes the device down by itself, once nothing speaks against the move.
    socket.set_link(message, || {
        format!("rtnetlink(RTM_SETLINK, {device:?}, IFLA_NET_NS_FD, IFLA_IFNAME {name:?})")
    })
}

fn rename(socket: &mut Rtnetlink, index: u32, name: &str, new: &str) -> Result<(), SysError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::IfName(new.to_owned()));
    socket.set_link(message, || format!("rtnetlink(RTM_SETLINK, {name:?}, IFLA_IFNAME {new:?})"))
}

fn set_up(socket: &mut Rtnetlink, index: u32, name: &str) -> Result<(), SysError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    socket.set_link(message, || format!("rtnetlink(RTM_SETLINK, {name:?}, IFF_UP)"))
}

/// Adds an address as it was outside, but for its label, which begins with the device's name there.
fn add_address(
    socket: &mut Rtnetlink,
    index: u32,
    outside: &AddressMessage,
    name: &str,
) -> Result<(), SysError> {
    let flags = flags_of(outside) & CHOSEN_FLAGS;
    let mut message = AddressMessage::default();
    message.header = outside.header.clone();
    message.header.index = index;
    message.header.flags = AddressHeaderFlags::empty();
    for attribute in &outside.attributes {
        match attribute {
            AddressAttribute::Address(_)
            | AddressAttribute::Local(_)
            | AddressAttribute::Broadcast(_)
            | AddressAttribute::RoutePriority(_) => message.attributes.push(attribute.clone()),
            _ => {}
        }
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    socket.new_address(message, || format!("rtnetlink(RTM_NEWADDR, {name:?}, {})", address_text(outside)))
}

fn address_text(address: &AddressMessage) -> String {
    let own = |local: bool| {
        address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) if local => Some(ip.to_string()),
            AddressAttribute::Address(ip) if !local => Some(ip.to_string()),
            _ => None,
        })
    };
    // With a peer, `Address` is the peer's.
    let ip = own(true).or_else(|| own(false)).unwrap_or_default();
    format!("{ip}/{}", address.header.prefix_len)
}

#[cfg(test)]
mod tests;
