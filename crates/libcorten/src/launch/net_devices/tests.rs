//! Messages of rtnetlink, as bytes.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkHeader, LinkInfo};
use nix::sched::unshare;

use super::*;

/// Runs a test in a network namespace of its own thread, if it may.
fn in_new_namespace(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return;
    }
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test();
        });
        run.join().unwrap();
    });
}

fn new_namespace() -> OwnedFd {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap().into()
}

fn make_veth(socket: &mut Rtnetlink, name: &str, peer: &str) {
    let mut other = LinkMessage::default();
    other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    socket.new_link(link, || format!("make {name}")).unwrap();
}

fn give_address(
    socket: &mut Rtnetlink,
    name: &str,
    ip: IpAddr,
    prefix_len: u8,
    scope: AddressScope,
    more: &[AddressAttribute],
) {
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix_len;
    message.header.scope = scope;
    message.header.index = index_of(socket, name).unwrap();
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    message.attributes.extend_from_slice(more);
    socket.new_address(message, || format!("give {ip} to {name}")).unwrap();
}

fn header(socket: &mut Rtnetlink, name: &str) -> LinkHeader {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    socket.get_link(message, || format!("look at {name}")).unwrap().unwrap()
}

/// The addresses of a device but the link-local ones, as text, with the flags that somebody chose.
fn addresses(socket: &mut Rtnetlink, name: &str) -> Vec<String> {
    let index = index_of(socket, name).unwrap();
    let all = socket.dump_addresses(index, || "dump".to_owned()).unwrap();
    let mut texts: Vec<String> = all
        .iter()
        .filter(|address| address.header.scope != AddressScope::Link)
        .map(|address| format!("{} {:#x}", address_text(address), (flags_of(address) & CHOSEN_FLAGS).bits()))
        .collect();
    texts.sort();
    texts
}

fn pair(device: &str, name: &str) -> (String, String) {
    (device.to_owned(), name.to_owned())
}

#[test]
fn a_device_keeps_its_lasting_addresses_and_is_up() {
    in_new_namespace(|| {
        let mut here = Rtnetlink::open().unwrap();
        make_veth(&mut here, "outside0", "peer0");
        let host = AddressScope::Universe;
        give_address(
            &mut here,
            "outside0",
            "10.11.12.13".parse().unwrap(),
            24,
            host,
            &[AddressAttribute::Broadcast("10.11.12.255".parse().unwrap())],
        );
        give_address(&mut here, "outside0", "10.11.12.14".parse().unwrap(), 24, host, &[]);
        give_address(&mut here, "outside0", "169.254.7.7".parse().unwrap(), 16, AddressScope::Link, &[]);
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        give_address(
            &mut here,
            "outside0",
            "fd00:1::2".parse().unwrap(),
            64,
            host,
            &[AddressAttribute::Flags(flags)],
        );
        // One that ends in an hour: not permanent.
        let mut lifetime = netlink_packet_route::address::CacheInfo::default();
        lifetime.ifa_preferred = 3600;
        lifetime.ifa_valid = 3600;
        give_address(
            &mut here,
            "outside0",
            "10.99.0.1".parse().unwrap(),
            24,
            host,
            &[AddressAttribute::CacheInfo(lifetime)],
        );
        // Up, so that going down would cost it its IPv6 addresses.
        let index = index_of(&mut here, "outside0").unwrap();
        set_up(&mut here, index, "outside0").unwrap();
        let inside = new_namespace();

        move_devices(inside.as_fd(), &[pair("outside0", "eth7")]).unwrap();

        assert_eq!(index_of(&mut here, "outside0").unwrap_err().errno.0, Errno::ENODEV);
        assert_eq!(
            index_of(&mut here, "eth7").unwrap_err().errno.0,
            Errno::ENODEV,
            "this thread has changed namespaces"
        );
        let mut there = open_inside(inside.as_fd()).unwrap();
        assert!(header(&mut there, "eth7").flags.contains(LinkFlags::Up));
        let expected = ["10.11.12.13/24 0x0", "10.11.12.14/24 0x0", "fd00:1::2/64 0x202"];
        assert_eq!(addresses(&mut there, "eth7"), expected);
        let index = index_of(&mut there, "eth7").unwrap();
        let all = there.dump_addresses(index, || "dump".to_owned()).unwrap();
        let broadcast = AddressAttribute::Broadcast("10.11.12.255".parse().unwrap());
        assert!(all.iter().any(|address| address.attributes.contains(&broadcast)));
        assert!(!all.iter().any(|address| address_text(address).starts_with("169.254.7.7")));
    });
}

#[test]
fn a_name_is_kept_or_chosen_by_the_kernel() {
    in_new_namespace(|| {
        let mut here = Rtnetlink::open().unwrap();
        make_veth(&mut here, "a0", "a1");
        make_veth(&mut here, "b0", "b1");
        let inside = new_namespace();
        let devices = [pair("a0", "a0"), pair("a1", "net%d"), pair("b0", "net%d")];

        move_devices(inside.as_fd(), &devices).unwrap();

        let mut there = open_inside(inside.as_fd()).unwrap();
        for name in ["a0", "net0", "net1"] {
            assert!(header(&mut there, name).flags.contains(LinkFlags::Up), "{name}");
        }
        assert!(index_of(&mut here, "b1").is_ok());
    });
}

#[test]
fn a_taken_name_is_refused_before_the_move() {
    in_new_namespace(|| {
        let mut here = Rtnetlink::open().unwrap();
        make_veth(&mut here, "a0", "a1");
        let inside = new_namespace();
        let mut there = open_inside(inside.as_fd()).unwrap();
        make_veth(&mut there, "eth0", "other");

        let error = move_devices(inside.as_fd(), &[pair("a0", "eth0")]).unwrap_err();

        let expected =
            "linux.netDevices[\"a0\"]: the container's network namespace already has a device \"eth0\"";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.errno(), Some(Errno::EEXIST));
        assert!(index_of(&mut here, "a0").is_ok());
    });
}

/// Only the name that the device gets has to be free inside.
#[test]
fn the_name_outside_may_be_taken_inside() {
    in_new_namespace(|| {
        let mut here = Rtnetlink::open().unwrap();
        make_veth(&mut here, "eth0", "peer");
        let inside = new_namespace();
        let mut there = open_inside(inside.as_fd()).unwrap();
        make_veth(&mut there, "eth0", "other");

        move_devices(inside.as_fd(), &[pair("eth0", "eth1")]).unwrap();

        assert!(header(&mut there, "eth1").flags.contains(LinkFlags::Up));
        assert!(!header(&mut there, "eth0").flags.contains(LinkFlags::Up));
    });
}

#[test]
fn errors_name_the_field_the_call_and_the_errno() {
    use std::error::Error;
    in_new_namespace(|| {
        let inside = new_namespace();
        let error = move_devices(inside.as_fd(), &[pair("eth0", "eth0")]).unwrap_err();
        let call = error.source().unwrap();
        let text = format!("{error}: {call}: {}", call.source().unwrap());
        assert_eq!(text, "linux.netDevices[\"eth0\"]: rtnetlink(RTM_GETLINK, \"eth0\"): no such device");
        // The loopback device never leaves; the words are the kernel's and differ by version.
        let error = move_devices(inside.as_fd(), &[pair("lo", "lo7")]).unwrap_err();
        let call = error.source().unwrap().to_string();
        let expected = "rtnetlink(RTM_SETLINK, \"lo\", IFLA_NET_NS_FD, IFLA_IFNAME \"lo7\")";
        assert!(call.starts_with(expected), "{call}");
        assert_eq!(error.errno(), Some(Errno::EINVAL));
        // No network namespace.
        let error =
            move_devices(File::open("/proc/self/ns/uts").unwrap().as_fd(), &[pair("lo", "lo")]).unwrap_err();
        assert!(
            matches!(&error, NetDeviceError::Namespace(source) if source.errno.0 == Errno::EINVAL),
            "{error:?}"
        );
    });
}

#[test]
fn names_are_judged_before_anything_is_done() {
    for name in ["eth0", "a", "fifteen-letters", "net%d", "veth@x", "é"] {
        assert!(is_valid_name(name), "{name:?}");
    }
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a\tb",
        "a\u{b}b",
        "a:1",
        "sixteen-letters!",
        "a%s",
        "a%",
        "%d%d",
        "a\0",
    ] {
        assert!(!is_valid_name(name), "{name:?}");
        let devices = [pair("eth0", "eth0"), pair("eth1", name)];
        // Not even the namespace is looked at.
        let error = move_devices(File::open("/dev/null").unwrap().as_fd(), &devices).unwrap_err();
        assert!(matches!(&error, NetDeviceError::Name { device, .. } if device == "eth1"), "{error:?}");
        assert_eq!(error.errno(), None);
    }
}
