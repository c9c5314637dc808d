//! A socket to the kernel's rtnetlink: one request, its replies, its acknowledgement.
//!
//! Kernel: rtnetlink(7); `NETLINK_EXT_ACK` (4.12), by which the kernel says in words why it refuses.
//! Attacker: none; the socket is connected to the kernel, so that nobody else can send to it.

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST,
    NLMSG_ALIGNTO, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NlasIterator, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkHeader, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::sys::SysError;

/// How long a reply may take. The kernel works while it takes the request, so replies are there at once.
const REPLY_DEADLINE_S: i64 = 10;
/// How often a list is asked for again that changed while it was read.
const DUMPS_MAX: u32 = 8;
/// Message types (linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
/// The words of an extended acknowledgement (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Length of the header of a message, which an acknowledgement repeats.
const HEADER_LEN: usize = 16;

/// A socket of one network namespace.
#[derive(Debug)]
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

/// What one message of an answer means.
enum Answer<'a> {
    /// A part of the answer: its type and content.
    Part(u16, &'a [u8]),
    /// Nothing follows.
    End,
    /// The kernel refuses, in words perhaps.
    Refused(Errno, Option<String>),
}

impl Rtnetlink {
    /// Opens a socket in the namespace of this thread.
    pub(super) fn open() -> Result<Self, SysError> {
        let call = |call: &'static str| move |error| SysError::from_io(&error, || call.to_owned());
        let socket = Socket::new(NETLINK_ROUTE).map_err(call("socket(AF_NETLINK, NETLINK_ROUTE)"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(call("connect(AF_NETLINK, 0)"))?;
        socket.set_ext_ack(true).map_err(call("setsockopt(NETLINK_EXT_ACK)"))?;
        socket.set_cap_ack(true).map_err(call("setsockopt(NETLINK_CAP_ACK)"))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(REPLY_DEADLINE_S, 0))
            .map_err(|errno| SysError::new(errno, || "setsockopt(SO_RCVTIMEO)".to_owned()))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Returns the header of a link: of its attributes nothing is needed, and new kernels add some that no
    /// parser knows.
    pub(super) fn get_link(
        &mut self,
        mut link: LinkMessage,
        call: impl Fn() -> String,
    ) -> Result<Option<LinkHeader>, SysError> {
        link.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut found = None;
        self.request(RouteNetlinkMessage::GetLink(link), NLM_F_ACK, &call, |kind, content| {
            if kind == RTM_NEWLINK {
                found = Some(LinkHeader::parse(content).map_err(|_| Errno::EBADMSG)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Changes a link.
    pub(super) fn set_link(&mut self, link: LinkMessage, call: impl Fn() -> String) -> Result<(), SysError> {
        self.request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK, &call, |_, _| Ok(()))
    }

    /// Makes a link.
    #[cfg(test)]
    pub(super) fn new_link(&mut self, link: LinkMessage, call: impl Fn() -> String) -> Result<(), SysError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewLink(link), flags, &call, |_, _| Ok(()))
    }

    /// Adds an address that is not there yet.
    pub(super) fn new_address(
        &mut self,
        address: AddressMessage,
        call: impl Fn() -> String,
    ) -> Result<(), SysError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewAddress(address), flags, &call, |_, _| Ok(()))
    }

    /// Returns the addresses of a link, of all families, in the kernel's order: a primary one before its
    /// secondary ones.
    pub(super) fn dump_addresses(
        &mut self,
        index: u32,
        call: impl Fn() -> String,
    ) -> Result<Vec<AddressMessage>, SysError> {
        let mut dumps = 1;
        loop {
            let mut found = Vec::new();
            let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            let dumped = self.request(all, NLM_F_DUMP, &call, |kind, content| {
                // The kernel lists those of all links; only ours have to be understood.
                if kind == RTM_NEWADDR
                    && AddressHeader::parse(content).map_err(|_| Errno::EBADMSG)?.index == index
                {
                    found.push(AddressMessage::parse(content).map_err(|_| Errno::EBADMSG)?);
                }
                Ok(())
            });
            match dumped {
                Ok(()) => return Ok(found),
                Err(error) if error.errno.0 == Errno::EINTR && dumps < DUMPS_MAX => dumps += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request and reads until its end. `EINTR`: what was listed changed meanwhile.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: &impl Fn() -> String,
        mut part: impl FnMut(u16, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), SysError> {
        let failed = |errno| SysError::new(errno, call);
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.send(&bytes).map_err(failed)?;
        // A list is read to its end even if it is of no use, so that the next request does not meet its rest.
        let mut outcome = Ok(());
        loop {
            let datagram = self.receive().map_err(failed)?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(|_| failed(Errno::EBADMSG))?;
                let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(usize::from(NLMSG_ALIGNTO))..).unwrap_or_default();
                if message.sequence_number() != self.sequence {
                    continue;
                }
                if message.flags() & NLM_F_DUMP_INTR != 0 && flags & NLM_F_DUMP == NLM_F_DUMP {
                    outcome = Err(Errno::EINTR);
                }
                match read_answer(&message).map_err(failed)? {
                    Answer::Part(kind, content) => outcome = outcome.and_then(|()| part(kind, content)),
                    Answer::End => return outcome.map_err(failed),
                    Answer::Refused(errno, None) => return Err(failed(errno)),
                    Answer::Refused(errno, Some(words)) => {
                        return Err(SysError::new(errno, || format!("{} ({words})", call())));
                    }
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>, Errno> {
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => return Ok(datagram),
                // While it waits; what has come is not lost.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(Errno::ETIMEDOUT),
                Err(error) => return Err(errno(&error)),
            }
        }
    }
}

fn read_answer<'a>(message: &NetlinkBuffer<&'a [u8]>) -> Result<Answer<'a>, Errno> {
    match message.message_type() {
        NLMSG_OVERRUN => Err(Errno::ENOBUFS),
        // The end of a list carries an errno, too; without one it may carry nothing.
        kind @ (NLMSG_ERROR | NLMSG_DONE) => {
            let end = ErrorBuffer::new_checked(message.payload());
            let code =
                end.as_ref().ok().and_then(ErrorBuffer::code).map_or(0, |code| code.get().wrapping_neg());
            match (code, end) {
                (0, _) => Ok(Answer::End),
                (code, Ok(end)) if kind == NLMSG_ERROR => {
                    Ok(Answer::Refused(Errno::from_raw(code), words(end.payload())))
                }
                (code, _) => Ok(Answer::Refused(Errno::from_raw(code), None)),
            }
        }
        kind => Ok(Answer::Part(kind, message.payload())),
    }
}

/// The kernel's words behind the repeated header.
fn words(payload: &[u8]) -> Option<String> {
    NlasIterator::new(payload.get(HEADER_LEN..)?).map_while(Result::ok).find_map(|attribute| {
        let text = String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned();
        (attribute.kind() == NLMSGERR_ATTR_MSG && !text.is_empty()).then_some(text)
    })
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
