//! A connection to a service manager: where it listens, and a loop that runs on the calling thread.
//!
//! zbus is asynchronous, and its own loop would leave a thread behind that serves the connection between
//! calls. The runtime of a container must stay single-threaded (setns(2) into a user namespace refuses
//! others), so zbus gets a loop that runs only within a call: [`Loop`].

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use zbus::Address;
use zbus::address::Transport;
use zbus::address::transport::{Unix, UnixSocket};
use zbus::connection::Builder;
use zbus::runtime::{Interest, IoSource, traits};
use zruntime::{Shared, SharedRuntime};

/// Where a message bus with a service manager on it may be reached.
///
/// Only a bus: systemd also has sockets of its own (`/run/systemd/private`), but says there that its messages
/// come from `org.freedesktop.systemd1`, which zbus (6.2) takes for a broken message.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Address);

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Endpoint {
    pub(super) fn socket(path: impl Into<PathBuf>) -> Self {
        UnixSocket::File(path.into()).into()
    }

    /// Connects as a user. That is said outright, because zbus would say who we are in our own user
    /// namespace.
    pub(super) async fn connect(&self, uid: u32, driver: &Loop) -> zbus::Result<zbus::Connection> {
        Builder::address(self.0.clone()).user_id(uid).runtime(driver.clone()).build().await
    }
}

impl From<UnixSocket> for Endpoint {
    fn from(socket: UnixSocket) -> Self {
        Self(Transport::Unix(Unix::new(socket)).into())
    }
}

/// Returns where the system's manager is.
pub(super) fn system_endpoint() -> Endpoint {
    Endpoint::socket("/run/dbus/system_bus_socket")
}

/// Returns where a user's manager may be: at the addresses that the environment gives, else in the user's
/// runtime directory.
///
/// # Errors
/// An address cannot be understood or is not that of a local socket.
pub(super) fn user_endpoints(
    uid: u32,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Endpoint>, String> {
    let given = |name| environment(name).filter(|value: &OsString| !value.is_empty());
    if let Some(addresses) = given("DBUS_SESSION_BUS_ADDRESS") {
        let addresses = addresses.to_string_lossy();
        let parsed = addresses.split(';').filter(|address| !address.is_empty()).map(|address| {
            unix_socket(address).map(Endpoint::from).ok_or_else(|| {
                format!("DBUS_SESSION_BUS_ADDRESS {address:?}: not the address of a unix socket")
            })
        });
        return parsed.collect();
    }
    let directory = match given("XDG_RUNTIME_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(format!("/run/user/{uid}")),
    };
    Ok(vec![Endpoint::socket(directory.join("bus"))])
}

/// Reads an address of the form `unix:path=…` or `unix:abstract=…`, by the D-Bus specification, "Server
/// Addresses".
///
/// Others than unix sockets would be resolved by name, or start programs; systemd is on this machine. Not by
/// zbus, which takes escaped bytes of a path as they stand (6.2).
fn unix_socket(address: &str) -> Option<UnixSocket> {
    let mut options = address.strip_prefix("unix:")?.split(',').filter_map(|option| option.split_once('='));
    options.find_map(|(key, value)| match key {
        "path" => Some(UnixSocket::File(unescape(value)?.into())),
        "abstract" => Some(UnixSocket::Abstract(unescape(value)?)),
        _ => None,
    })
}

/// Replaces each `%` and the two hexadecimal digits after it by the byte they stand for.
fn unescape(text: &str) -> Option<OsString> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(OsString::from_vec(bytes))
}

/// Returns which user of the host a user of our user namespace is, by the text of /proc/self/uid_map.
pub(super) fn host_uid(uid: u32, uid_map: &str) -> u32 {
    let mapped = uid_map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        uid.checked_sub(inside)
            .filter(|offset| *offset < count)
            .and_then(|offset| outside.checked_add(offset))
    });
    mapped.unwrap_or(uid)
}

/// A loop for zbus that runs only while a caller waits in it.
#[derive(Debug, Clone)]
pub(super) struct Loop(pub(super) SharedRuntime);

impl traits::Runtime for Loop {
    type RegisteredIoSource = Registration;
    type Sleep = zruntime::Sleep<Shared>;
    type Task<T>
        = Task<T>
    where
        T: Send + 'static;

    fn register_io_source(&self, source: IoSource) -> io::Result<Registration> {
        self.0.register(source).map(Registration)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        Task(self.0.spawn(name.to_owned(), future))
    }

    async fn connect_tcp(&self, _: SocketAddr) -> io::Result<IoSource> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect_unix(&self, path: &Path) -> io::Result<IoSource> {
        // Waits while the backlog is full, as the kernel itself does not for sockets that must not block.
        let stream = zruntime::net::unix::UnixStream::<Shared>::connect(&self.0, path).await?;
        Ok(IoSource::from(OwnedFd::from(stream.into_std())))
    }

    fn spawn_process(
        &self,
        _: Command,
        _: Stdio,
        _: Stdio,
        _: Stdio,
    ) -> io::Result<Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send + 'static>>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A socket that the loop watches.
pub(super) struct Registration(zruntime::Registration<Shared>);

impl traits::PollIo for Registration {
    fn poll_io<T>(
        &self,
        context: &mut Context<'_>,
        interest: Interest,
        operation: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let interest = match interest {
            Interest::Writable => zruntime::Interest::Writable,
            _ => zruntime::Interest::Readable,
        };
        self.0.poll_io(context, interest, operation)
    }
}

/// A task of the loop, ended when it is dropped.
pub(super) struct Task<T>(zruntime::Task<T, Shared>);

impl<T> Future for Task<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(context)
    }
}

impl<T: Send + 'static> traits::TaskHandle<T> for Task<T> {
    fn detach(self) {
        self.0.detach();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(environment: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Ok(user_endpoints(1000, lookup)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_users_manager_is_looked_for_where_the_environment_says() {
        assert_eq!(user(&[]).unwrap(), ["unix:path=/run/user/1000/bus"]);
        assert_eq!(
            user(&[("XDG_RUNTIME_DIR", "/tmp/x"), ("DBUS_SESSION_BUS_ADDRESS", "")]).unwrap(),
            ["unix:path=/tmp/x/bus"]
        );
        let both = [
            ("XDG_RUNTIME_DIR", "/tmp/x"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/a%20b,guid=1;unix:abstract=c"),
        ];
        assert_eq!(user(&both).unwrap(), ["unix:path=/a%20b", "unix:abstract=c"]);
    }

    #[test]
    fn addresses_that_are_no_local_sockets_are_refused() {
        for address in [
            "tcp:host=localhost,port=1",
            "unixexec:path=/bin/true",
            "x",
            "unix:path=/a;tcp:host=b,port=1",
            "unix:tmpdir=/tmp",
            "unix:path=/a%",
            "unix:path=/a%zz",
        ] {
            let error = user(&[("DBUS_SESSION_BUS_ADDRESS", address)]).unwrap_err();
            assert!(error.starts_with("DBUS_SESSION_BUS_ADDRESS \""), "{error}");
        }
    }

    #[test]
    fn the_host_knows_us_by_the_id_outside() {
        let initial = "         0          0 4294967295\n";
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        for (map, uid, outside) in [
            (initial, 0, 0),
            (initial, 1000, 1000),
            (rootless, 0, 1000),
            (rootless, 1, 100_000),
            (rootless, 65_536, 165_535),
            (rootless, 65_537, 65_537),
            ("", 5, 5),
        ] {
            assert_eq!(host_uid(uid, map), outside, "{uid} in {map:?}");
        }
    }
}
