//! A service manager: starts, changes and stops units.
//!
//! Source: org.freedesktop.systemd1(5), "The Manager Object".

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use zbus::message::Type;
use zbus::{DBusError, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};
use zruntime::SharedRuntime;

use super::bus::{self, Endpoint, Loop};
use super::error::{Answer, Error, Repr};
use super::property::Property;
use super::unit::Unit;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// How often a call that failed for a moment is repeated; the first wait; each following one is twice as long
/// (as runc).
const RETRIES: u32 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How often something is asked within the time limit. systemd may be busy with other things for long
/// (`daemon-reload`, thousands of mounts), and forgets who waits for an answer when it executes itself anew.
const ASKED: u32 = 3;

/// Whether the machine was booted with systemd (sd_booted(3)).
pub fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A property that was not given to systemd, because this systemd does not have it. Displays as a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The name of the property.
    pub property: String,
    /// Since which version systemd has it.
    pub since: u32,
    /// The version of the systemd that was asked.
    pub version: u32,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, since, version } = self;
        if since > version {
            write!(
                f,
                "systemd {version} has no property {property} (it came with {since}), so it is not told"
            )
        } else {
            write!(f, "systemd {version} does not know the property {property}, so it is not told")
        }
    }
}

/// A connection to systemd. Not shared with anything else, and closed when dropped.
pub struct Manager {
    driver: Loop,
    /// There until the manager is dropped.
    connection: Option<zbus::Connection>,
    within: Duration,
    version: u32,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Manager {
    /// Connects to the system's manager, by the system's bus. Connecting, and each later operation, takes no
    /// longer than `within`. What has no answer after a third of it is asked again, if that changes nothing.
    ///
    /// # Errors
    /// systemd cannot be reached or does not answer.
    pub fn system(within: Duration) -> Result<Self, Error> {
        Self::connect("the system's manager", &[bus::system_endpoint()], host_uid(), within)
    }

    /// Connects to the manager of the user that the host knows the caller as, also from within a user
    /// namespace: by `DBUS_SESSION_BUS_ADDRESS`, else by the bus in `XDG_RUNTIME_DIR`, else by that in
    /// `/run/user/UID`.
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn user(within: Duration) -> Result<Self, Error> {
        let (uid, manager) = (host_uid(), "the manager of the user");
        let endpoints = bus::user_endpoints(uid, |name| std::env::var_os(name))
            .map_err(|tried| Repr::Unreachable { manager, tried })?;
        Self::connect(manager, &endpoints, uid, within)
    }

    /// Connects to the first of several places where a manager answers.
    pub(super) fn connect(
        manager: &'static str,
        endpoints: &[Endpoint],
        uid: u32,
        within: Duration,
    ) -> Result<Self, Error> {
        let driver = Loop(SharedRuntime::new().map_err(|source| Repr::Runtime { source })?);
        let watch = Watch::new(&driver.0, within);
        let connection = driver.0.block_on(async {
            let mut tried = Vec::new();
            for endpoint in endpoints {
                let call = format!("connect to {endpoint}");
                match watch.patiently(&call, async || endpoint.connect(uid, &driver).await).await? {
                    Ok(connection) => return Ok(connection),
                    Err(error) => tried.push(format!("{endpoint}: {}", chain(&error))),
                }
            }
            Err(Error::from(Repr::Unreachable { manager, tried: tried.join("; ") }))
        })?;
        let mut manager = Self { driver, connection: Some(connection), within, version: 0 };
        let text = manager.run(async |session| session.property(PATH, MANAGER, "Version").await)?;
        manager.version = parse_version(&text).ok_or_else(|| Repr::Reply {
            call: "Get(Version)".to_owned(),
            why: format!("no version: {text:?}"),
        })?;
        Ok(manager)
    }

    /// Returns systemd's version, as 252.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the path of the manager's own cgroup: empty for the system's, as
    /// `/user.slice/user-1000.slice/user@1000.service` for a user's. The units are below it ([`Unit::path`]).
    ///
    /// # Errors
    /// systemd does not answer, or not with a path.
    pub fn control_group(&self) -> Result<String, Error> {
        self.run(async |session| session.property(PATH, MANAGER, "ControlGroup").await)
    }

    /// Starts a unit with processes in it, by one call with all properties, and waits until it is started. A
    /// failed unit of the same name that was left behind is cleared away first. Returns the properties that
    /// were left out.
    ///
    /// `pids` are the processes of a scope as systemd sees them; a slice has none.
    ///
    /// # Errors
    /// There is a unit of that name; systemd refuses a property; the unit does not start, or not in time. A
    /// unit that did not start is cleared away.
    pub fn start_unit(
        &self,
        unit: &Unit,
        pids: &[u32],
        properties: Vec<Property>,
    ) -> Result<Vec<LeftOut>, Error> {
        let (mut properties, mut left_out) = self.known(properties);
        if !pids.is_empty() {
            properties.push(Property::new("PIDs", pids.to_vec()));
        }
        self.run(async |session| {
            let mut jobs = session.jobs(unit).await?;
            let mut leftover = true;
            let job = loop {
                let auxiliary: [(&str, Vec<(&str, OwnedVariant)>); 0] = [];
                let arguments = (unit.name(), "replace", pairs(&properties), &auxiliary[..]);
                match session.call(PATH, MANAGER, "StartTransientUnit", unit.name(), &arguments).await {
                    Ok(reply) => break answer::<OwnedObjectPath>("StartTransientUnit", &reply)?,
                    Err(error)
                        if leftover && error.bus_name() == Some("org.freedesktop.systemd1.UnitExists") =>
                    {
                        leftover = false;
                        session.reset_failed(unit).await;
                    }
                    Err(error) => left_out.push(self.leave_out(&mut properties, &error).ok_or(error)?),
                }
            };
            let result = jobs.result(&session, &job, unit, |state| state == Some("active")).await;
            let failed = match result {
                Ok(result) if result == "done" => return Ok(left_out),
                Ok(result) => {
                    let why = session.reason(unit).await;
                    Repr::Job { action: "creating", unit: unit.name().to_owned(), result, why }.into()
                }
                Err(error) => error,
            };
            session.reset_failed(unit).await;
            Err(failed)
        })
    }

    /// Changes properties of a unit until the next boot. Returns the properties that were left out.
    ///
    /// # Errors
    /// systemd refuses one of them, and has changed none.
    pub fn set_properties(&self, unit: &Unit, properties: Vec<Property>) -> Result<Vec<LeftOut>, Error> {
        let (mut properties, mut left_out) = self.known(properties);
        self.run(async |session| {
            while !properties.is_empty() {
                let arguments = (unit.name(), true, pairs(&properties));
                match session.call(PATH, MANAGER, "SetUnitProperties", unit.name(), &arguments).await {
                    Ok(_) => break,
                    Err(error) => left_out.push(self.leave_out(&mut properties, &error).ok_or(error)?),
                }
            }
            Ok(left_out)
        })
    }

    /// Stops a unit, waits until it is stopped, and clears away a failed one. A unit that is gone is no
    /// error.
    ///
    /// # Errors
    /// systemd refuses; the unit does not stop, or not in time.
    pub fn stop_unit(&self, unit: &Unit) -> Result<(), Error> {
        self.run(async |session| {
            let mut jobs = session.jobs(unit).await?;
            let stopped = match session
                .call(PATH, MANAGER, "StopUnit", unit.name(), &(unit.name(), "replace"))
                .await
            {
                Ok(reply) => {
                    let job = answer::<OwnedObjectPath>("StopUnit", &reply)?;
                    let is_over = |state: Option<&str>| matches!(state, None | Some("inactive" | "failed"));
                    match jobs.result(&session, &job, unit, is_over).await {
                        Ok(result) if result == "done" => Ok(()),
                        Ok(result) => {
                            let why = session.reason(unit).await;
                            Err(Repr::Job { action: "removing", unit: unit.name().to_owned(), result, why }
                                .into())
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(error) if error.bus_name() == Some("org.freedesktop.systemd1.NoSuchUnit") => {
                    return Ok(());
                }
                Err(error) => Err(error),
            };
            session.reset_failed(unit).await;
            stopped
        })
    }

    /// Moves processes into a unit's cgroup, or into the cgroup at the path `subcgroup` below it. For a
    /// caller who may not write `cgroup.procs`: systemd does it (since 238).
    ///
    /// # Errors
    /// The path has `.`, `..` or empty parts; systemd refuses.
    pub fn attach_processes(&self, unit: &Unit, subcgroup: &str, pids: &[u32]) -> Result<(), Error> {
        let below = subcgroup.strip_prefix('/').unwrap_or(subcgroup);
        if !below.is_empty() && below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Repr::Subcgroup { path: subcgroup.to_owned() }.into());
        }
        let arguments = (unit.name(), format!("/{below}"), pids);
        let whole = format!("{}{}{below}", unit.name(), if below.is_empty() { "" } else { "/" });
        self.run(async |session| {
            session.call(PATH, MANAGER, "AttachProcessesToUnit", &whole, &arguments).await.map(drop)
        })
    }

    /// Returns the path of the cgroup that a unit has below the mount point; `None` if the unit is gone or
    /// has none.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn control_group_of(&self, unit: &Unit) -> Result<Option<String>, Error> {
        self.run(async |session| {
            let path = session.unit_property(unit, of_type(unit), "ControlGroup").await?;
            Ok(path.filter(|path| !path.is_empty()))
        })
    }

    /// Runs an operation to its end, on this thread, with a time limit of its own.
    fn run<T>(&self, operation: impl AsyncFnOnce(Session<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let watch = Watch::new(&self.driver.0, self.within);
        let Some(connection) = &self.connection else {
            unreachable!("only a dropped manager has no connection")
        };
        self.driver.0.block_on(operation(Session { connection, watch }))
    }

    /// Divides properties into those that this systemd has and those that it is too old for.
    fn known(&self, properties: Vec<Property>) -> (Vec<Property>, Vec<LeftOut>) {
        let (known, unknown): (Vec<_>, Vec<_>) =
            properties.into_iter().partition(|property| property.since <= self.version);
        (known, unknown.into_iter().map(|property| self.left_out(property)).collect())
    }

    fn left_out(&self, property: Property) -> LeftOut {
        LeftOut { property: property.name.into_owned(), since: property.since, version: self.version }
    }

    /// Takes the property away that systemd says it does not know, if it is an optional one. (The manager of
    /// a user, or a build of systemd without some feature, may know less than the version says.)
    fn leave_out(&self, properties: &mut Vec<Property>, error: &Error) -> Option<LeftOut> {
        let message = error.bus_message()?;
        let name = message.strip_prefix("Cannot set property ")?.split(',').next()?;
        let at = properties.iter().position(|property| property.since > 0 && property.name == name)?;
        Some(self.left_out(properties.remove(at)))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let runtime = &self.driver.0;
        // The connection's tasks hold its socket and the loop. They end only while the loop runs.
        let close = async {
            // It is of no use any more, whatever happens to it.
            drop(connection.clone().close().await);
            connection.graceful_shutdown().await;
            // A task that was ended is let go in the turn after.
            runtime.sleep(Duration::from_millis(1)).await;
        };
        runtime.block_on(runtime.timeout(Duration::from_secs(1), close)).unwrap_or(());
    }
}

/// One operation and its time limit.
struct Session<'a> {
    connection: &'a zbus::Connection,
    watch: Watch,
}

impl Session<'_> {
    /// Calls a method. `what` says about which object, for errors.
    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        what: &str,
        body: &B,
    ) -> Result<Message, Error>
    where
        B: serde::Serialize + DynamicType,
    {
        let call = format!("{method}({what})");
        let made =
            async || self.connection.call_method(Some(NAME), path, Some(interface), method, body).await;
        self.watch.patiently(&call, made).await?.map_err(|error| refused(call, error))
    }

    /// Calls a method that changes nothing, again if there is no answer for long.
    async fn ask<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        what: &str,
        body: &B,
    ) -> Result<Message, Error>
    where
        B: serde::Serialize + DynamicType,
    {
        for _ in 1..ASKED {
            match self.watch.part(self.call(path, interface, method, what, body)).await {
                Some(Err(error)) if error.bus_name() == Some("org.freedesktop.DBus.Error.NoReply") => {}
                Some(answer) => return answer,
                None => {}
            }
        }
        self.call(path, interface, method, what, body).await
    }

    /// Reads a property that is a string.
    async fn property(&self, path: &str, interface: &str, name: &str) -> Result<String, Error> {
        let reply = self.ask(path, PROPERTIES, "Get", name, &(interface, name)).await?;
        let value: OwnedVariant = answer("Get", &reply)?;
        String::try_from(value)
            .map_err(|error| Repr::Reply { call: format!("Get({name})"), why: error.to_string() }.into())
    }

    /// Reads a property of a unit; `None` if it is not loaded.
    async fn unit_property(&self, unit: &Unit, interface: &str, name: &str) -> Result<Option<String>, Error> {
        let found = async {
            let reply = self.ask(PATH, MANAGER, "GetUnit", unit.name(), &unit.name()).await?;
            let path: OwnedObjectPath = answer("GetUnit", &reply)?;
            self.property(path.as_str(), interface, name).await
        };
        match found.await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.bus_name() == Some("org.freedesktop.systemd1.NoSuchUnit") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns why a unit failed, for the end of an error; empty if systemd does not say.
    async fn reason(&self, unit: &Unit) -> String {
        match self.unit_property(unit, of_type(unit), "Result").await {
            Ok(Some(result)) if result != "success" => format!(" (the unit's result is `{result}`)"),
            _ => String::new(),
        }
    }

    /// Lets systemd forget a failed unit, so that its name can be taken.
    async fn reset_failed(&self, unit: &Unit) {
        // An error says that there is none, or that it has not failed: then there is nothing to forget.
        drop(self.call(PATH, MANAGER, "ResetFailedUnit", unit.name(), &unit.name()).await);
    }

    /// Starts to listen for the ends of the jobs of a unit. That must be before the job is made, or its end
    /// may be missed.
    async fn jobs(&self, unit: &Unit) -> Result<Jobs, Error> {
        // systemd tells the end of a job to those who asked for it, also without a call of Subscribe(), which
        // would make it send everybody all signals. The bus passes on only those of this unit (the third
        // argument).
        let call = || format!("AddMatch({})", unit.name());
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NAME)
            .path(PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .arg(2, unit.name())
            .build()
            .map_err(|source| Repr::Broken { call: call(), source })?
            .into_owned();
        let listening = async || MessageStream::for_match_rule(rule.clone(), self.connection, None).await;
        self.watch.patiently(&call(), listening).await?.map(Jobs).map_err(|error| refused(call(), error))
    }
}

/// The ends of the jobs of a unit.
struct Jobs(MessageStream);

impl Jobs {
    /// Waits for the end of a job and returns its result, as `done`. Where the end is not told for long, the
    /// unit is looked at: `is_over` says by its state, `None` if there is none, whether the job has done what
    /// it was to.
    async fn result(
        &mut self,
        session: &Session<'_>,
        job: &OwnedObjectPath,
        unit: &Unit,
        is_over: impl Fn(Option<&str>) -> bool,
    ) -> Result<String, Error> {
        let call = format!("JobRemoved({})", unit.name());
        loop {
            if let Some(result) = session.watch.limit(&call, session.watch.part(self.end(&call, job))).await?
            {
                return result;
            }
            // No answer to this either is the same as no end.
            if let Ok(state) = session.unit_property(unit, UNIT, "ActiveState").await
                && is_over(state.as_deref())
            {
                return Ok("done".to_owned());
            }
        }
    }

    async fn end(&mut self, call: &str, job: &OwnedObjectPath) -> Result<String, Error> {
        loop {
            let message = match std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await
            {
                Some(message) => message.map_err(|source| Repr::Broken { call: call.to_owned(), source })?,
                None => {
                    return Err(Repr::Reply {
                        call: call.to_owned(),
                        why: "the connection was closed".to_owned(),
                    }
                    .into());
                }
            };
            let (_, ended, _, result): (u32, OwnedObjectPath, String, String) =
                answer("JobRemoved", &message)?;
            if ended == *job {
                return Ok(result);
            }
        }
    }
}

/// A time limit, for several steps together.
struct Watch {
    runtime: SharedRuntime,
    within: Duration,
    deadline: Instant,
}

impl Watch {
    fn new(runtime: &SharedRuntime, within: Duration) -> Self {
        Self { runtime: runtime.clone(), within, deadline: Instant::now() + within }
    }

    /// Waits for something until the time is up.
    async fn limit<T>(&self, call: &str, step: impl Future<Output = T>) -> Result<T, Error> {
        let late = |_| Repr::Deadline { call: call.to_owned(), within: self.within }.into();
        self.runtime.timeout_at(self.deadline, step).await.map_err(late)
    }

    /// Waits for something for a part of the time; `None` if that was not enough.
    async fn part<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        self.runtime.timeout(self.within / ASKED, step).await.ok()
    }

    /// Does something until the time is up, again and again while it fails only for a moment.
    async fn patiently<T>(
        &self,
        call: &str,
        mut step: impl AsyncFnMut() -> zbus::Result<T>,
    ) -> Result<zbus::Result<T>, Error> {
        let mut wait = FIRST_WAIT;
        for _ in 0..RETRIES {
            match self.limit(call, step()).await? {
                Err(error) if is_momentary(&error) => {
                    self.limit(call, self.runtime.sleep(jittered(wait))).await?
                }
                other => return Ok(other),
            }
            wait *= 2;
        }
        self.limit(call, step()).await
    }
}

/// Makes a wait a little longer, by chance, so that many who were refused at once do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(wait) % 125).unwrap_or(0);
    wait + wait * chance / 1000
}

/// Whether something failed only because systemd or the bus has much to do.
fn is_momentary(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _) => {
            error.kind() == std::io::ErrorKind::WouldBlock
        }
        _ => answered(error).is_some_and(|answer| {
            matches!(
                answer.name.as_str(),
                "System.Error.EAGAIN" | "org.freedesktop.DBus.Error.LimitsExceeded"
            )
        }),
    }
}

/// Returns the answer, if it was an answer that said no.
fn answered(error: &zbus::Error) -> Option<Answer> {
    match error {
        zbus::Error::MethodError(name, message, _) => {
            Some(Answer { name: name.to_string(), message: message.clone().unwrap_or_default() })
        }
        zbus::Error::FDO(error) if !matches!(**error, zbus::fdo::Error::ZBus(_)) => Some(Answer {
            name: error.name().to_string(),
            message: error.description().unwrap_or_default().to_owned(),
        }),
        _ => None,
    }
}

/// The interface with what only units of this type have.
fn of_type(unit: &Unit) -> &'static str {
    if unit.is_slice() { "org.freedesktop.systemd1.Slice" } else { "org.freedesktop.systemd1.Scope" }
}

fn refused(call: String, error: zbus::Error) -> Error {
    match answered(&error) {
        Some(answer) => Repr::Refused { call, answer }.into(),
        None => Repr::Broken { call, source: error }.into(),
    }
}

/// Reads an answer.
fn answer<T>(call: &str, message: &Message) -> Result<T, Error>
where
    T: for<'a> serde::Deserialize<'a> + zbus::Type,
{
    let body = message.body();
    body.deserialize().map_err(|error| Repr::Reply { call: call.to_owned(), why: error.to_string() }.into())
}

/// Properties as systemd takes them: `a(sv)`.
fn pairs(properties: &[Property]) -> Vec<(&str, &zbus::Variant<'static>)> {
    properties.iter().map(|property| (property.name(), &property.value.0)).collect()
}

/// Writes out an error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let rest = std::iter::successors(error.source(), |error| error.source());
    rest.fold(error.to_string(), |text, source| {
        let source = source.to_string();
        if text.contains(&source) { text } else { format!("{text}: {source}") }
    })
}

/// Returns the version in a text as `252.38-1~deb12u1`, `v245-1.fc32` or `"v244"`.
fn parse_version(text: &str) -> Option<u32> {
    let text = text.trim_start_matches(['"', 'v']);
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns which user the host knows us as.
fn host_uid() -> u32 {
    let uid = nix::unistd::geteuid().as_raw();
    // Without /proc there is no user namespace either that could be told.
    bus::host_uid(uid, &crate::sys::read_all(Path::new("/proc/self/uid_map")).unwrap_or_default())
}
