//! A stand-in for systemd in tests: it answers on a socket of its own, writes down what it is asked, and
//! fails as it is told. Then the tests of [`Manager`] against it.

use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zbus::connection::Builder;
use zbus::{Guid, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};
use zruntime::SharedRuntime;

use super::bus::{Endpoint, Loop};
use super::{ErrorKind, Manager, Property, Unit};

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// What the stand-in does on a call.
#[derive(Debug, Clone)]
enum Does {
    /// Answers that all went well. A job ends with this result.
    Job(&'static str),
    /// Tells the end of the job before its number.
    EarlyJob,
    /// Never tells the end of the job.
    NoJob,
    /// Tells the end of other jobs first.
    OtherJobs,
    /// Answers with an error.
    Error(&'static str, String),
    /// Does not answer.
    Silence,
    /// Answers after this time.
    Late(Duration),
    /// Says that a property has this value.
    Value(&'static str),
    /// The same, and tells the end of the job after it.
    ValueThenJob(&'static str),
    /// Hangs up.
    HangUp,
}

struct Fake {
    directory: tempfile::TempDir,
    calls: Arc<Mutex<Vec<String>>>,
    /// What to do on the next calls of methods, in order; what is not told goes well.
    script: Arc<Mutex<Vec<(&'static str, Does)>>>,
}

impl Fake {
    fn new(version: &'static str, script: Vec<(&'static str, Does)>) -> Self {
        let fake = Self {
            directory: tempfile::tempdir().unwrap(),
            calls: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let listener = UnixListener::bind(fake.directory.path().join("socket")).unwrap();
        let (calls, script) = (fake.calls.clone(), fake.script.clone());
        std::thread::spawn(move || {
            let driver = Loop(SharedRuntime::new().unwrap());
            for stream in listener.incoming() {
                let builder = Builder::unix_stream(stream.unwrap()).server(Guid::generate()).p2p();
                let serve = async {
                    let messages = builder.runtime(driver.clone()).build_message_stream().await.unwrap();
                    // A manager that is gone hears no answer any more.
                    drop(serve(messages, version, &calls, &script).await);
                };
                driver.0.block_on(serve);
            }
        });
        fake
    }

    fn manager_within(&self, within: Duration) -> Manager {
        let endpoint = Endpoint::socket(self.directory.path().join("socket"));
        Manager::connect("test", &[endpoint], nix::unistd::geteuid().as_raw(), within).unwrap()
    }

    fn manager(&self) -> Manager {
        self.manager_within(Duration::from_secs(20))
    }

    /// Tells what to do on the calls that are to come.
    fn then(&self, script: Vec<(&'static str, Does)>) {
        self.script.lock().unwrap().extend(script);
    }

    /// Returns the calls of systemd so far, without those that ask for the version.
    fn calls(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let of_systemd = calls.iter().filter_map(|call| call.strip_prefix("org.freedesktop.systemd1 "));
        of_systemd.filter(|call| !call.contains("Version")).map(str::to_owned).collect()
    }
}

async fn serve(
    messages: MessageStream,
    version: &str,
    calls: &Mutex<Vec<String>>,
    script: &Mutex<Vec<(&'static str, Does)>>,
) -> zbus::Result<()> {
    let connection = zbus::Connection::from(&messages);
    let mut messages = pin!(messages);
    while let Some(Ok(message)) =
        std::future::poll_fn(|context| futures_core::Stream::poll_next(messages.as_mut(), context)).await
    {
        let header = message.header();
        let Some(method) = header.member() else { continue };
        calls.lock().unwrap().push(describe(&message));
        let told = {
            let mut script = script.lock().unwrap();
            let at = script.iter().position(|(name, _)| *name == method.as_str());
            at.map(|at| script.remove(at).1)
        };
        let job = OwnedObjectPath::try_from(JOB).unwrap();
        let does = told.unwrap_or(Does::Job("done"));
        if let Does::Late(time) = does {
            std::thread::sleep(time);
        }
        match (&does, method.as_str()) {
            (Does::Error(name, text), _) => connection.reply_error(&header, *name, text).await?,
            (Does::Silence, _) => {}
            (Does::HangUp, _) => return connection.close().await,
            (_, "StartTransientUnit" | "StopUnit") => {
                if let Does::EarlyJob = does {
                    connection.send(&end(JOB, "done")).await?;
                }
                connection.reply(&header, &job).await?;
                if let Does::OtherJobs = does {
                    for other in 0..200 {
                        connection.send(&end(&format!("/other/{other}"), "failed")).await?;
                    }
                    connection.send(&end(JOB, "done")).await?;
                }
                if let Does::Job(result) = does {
                    connection.send(&end(JOB, result)).await?;
                }
            }
            (_, "GetUnit") => {
                let path = OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/x").unwrap();
                connection.reply(&header, &path).await?;
            }
            (_, "Get") => {
                let (_, property): (String, String) = message.body().deserialize().unwrap();
                let value = match (&does, property.as_str()) {
                    (Does::Value(value) | Does::ValueThenJob(value), _) => value,
                    (_, "Version") => version,
                    (_, "ControlGroup") => "/user.slice/x",
                    (_, "Result") => "oom-kill",
                    _ => "",
                };
                connection.reply(&header, &Variant::from(value)).await?;
                if let Does::ValueThenJob(_) = does {
                    connection.send(&end(JOB, "done")).await?;
                }
            }
            (_, "Hello") => connection.reply(&header, &":1.5").await?,
            _ => connection.reply(&header, &()).await?,
        }
    }
    Ok(())
}

/// The signal that tells of the end of a job.
fn end(path: &str, result: &'static str) -> Message {
    let body = (7_u32, OwnedObjectPath::try_from(path).unwrap(), self::unit().name().to_owned(), result);
    Message::signal("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved")
        .unwrap_signal(&body)
}

trait Signal {
    fn unwrap_signal<B: serde::Serialize + zbus::DynamicType>(self, body: &B) -> Message;
}

impl Signal for zbus::message::Builder<'_> {
    fn unwrap_signal<B: serde::Serialize + zbus::DynamicType>(self, body: &B) -> Message {
        self.build(body).unwrap()
    }
}

/// Writes out a call.
fn describe(message: &Message) -> String {
    let (header, body) = (message.header(), message.body());
    let method = header.member().unwrap().as_str().to_owned();
    let to = header.destination().map(|name| format!("{name} ")).unwrap_or_default();
    let listed = |properties: Vec<(String, OwnedVariant)>| -> String {
        let properties = properties.iter().map(|(name, value)| format!("{name}={}", **value));
        properties.collect::<Vec<_>>().join(" ")
    };
    let arguments = match method.as_str() {
        "StartTransientUnit" => {
            type Arguments =
                (String, String, Vec<(String, OwnedVariant)>, Vec<(String, Vec<(String, OwnedVariant)>)>);
            let (unit, mode, properties, auxiliary): Arguments = body.deserialize().unwrap();
            assert!(auxiliary.is_empty());
            format!("{unit} {mode} {}", listed(properties))
        }
        "SetUnitProperties" => {
            let (unit, runtime, properties): (String, bool, Vec<(String, OwnedVariant)>) =
                body.deserialize().unwrap();
            format!("{unit} {runtime} {}", listed(properties))
        }
        "AttachProcessesToUnit" => {
            let (unit, below, pids): (String, String, Vec<u32>) = body.deserialize().unwrap();
            format!("{unit} {below} {pids:?}")
        }
        "StopUnit" | "Get" => {
            let (first, second): (String, String) = body.deserialize().unwrap();
            format!("{first} {second}")
        }
        "Hello" => String::new(),
        _ => body.deserialize().unwrap(),
    };
    format!("{to}{method} {arguments}")
}

fn unit() -> Unit {
    Unit::from_cgroups_path("a.slice:p:n", "", false).unwrap()
}

fn refusal(name: &'static str, text: &str) -> Does {
    Does::Error(name, text.to_owned())
}

fn unit_exists() -> Does {
    refusal(
        "org.freedesktop.systemd1.UnitExists",
        "Unit p-n.scope was already loaded or has a fragment file.",
    )
}

/// Writes out an error with what it comes from.
fn whole(error: &super::Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

const START: &str = "StartTransientUnit p-n.scope replace MemoryMax=uint64 5 PIDs=[uint32 4, 5]";
const RESET: &str = "ResetFailedUnit p-n.scope";

fn memory() -> Vec<Property> {
    vec![Property::new("MemoryMax", 5_u64)]
}

#[test]
fn a_unit_is_started_by_one_call() {
    for does in [Does::Job("done"), Does::EarlyJob, Does::OtherJobs] {
        let fake = Fake::new("252.38-1~deb12u1", vec![("StartTransientUnit", does.clone())]);
        let manager = fake.manager();
        assert_eq!(manager.version(), 252);
        assert_eq!(manager.start_unit(&unit(), &[4, 5], memory()).unwrap(), [], "{does:?}");
        assert_eq!(fake.calls(), [START], "{does:?}");
    }
}

#[test]
fn a_bus_is_told_whom_to_call_and_what_to_listen_to_before_the_job_is_made() {
    let fake = Fake::new("252", vec![]);
    let manager = fake.manager_within(Duration::from_secs(20));
    manager.start_unit(&unit(), &[4, 5], memory()).unwrap();
    let rule = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved',\
                path='/org/freedesktop/systemd1',arg2='p-n.scope'";
    let calls: Vec<String> =
        fake.calls.lock().unwrap().iter().filter(|call| !call.contains("Version")).cloned().collect();
    assert_eq!(calls[0], "org.freedesktop.DBus Hello ");
    let listened = calls[1].strip_prefix("org.freedesktop.DBus AddMatch ").unwrap();
    let parts = |rule: &str| rule.split(',').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(parts(listened), parts(rule));
    assert_eq!(calls[2], format!("org.freedesktop.systemd1 {START}"));
}

#[test]
fn a_busy_systemd_is_asked_again_with_growing_patience() {
    let busy = || refusal("System.Error.EAGAIN", "Resource temporarily unavailable");
    let full = || refusal("org.freedesktop.DBus.Error.LimitsExceeded", "too many");
    let fake = Fake::new("252", vec![("StartTransientUnit", busy()), ("StartTransientUnit", full())]);
    let started = Instant::now();
    fake.manager().start_unit(&unit(), &[4, 5], memory()).unwrap();
    assert_eq!(fake.calls(), [START; 3]);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
}

#[test]
fn a_systemd_that_stays_busy_is_given_up_at_the_deadline() {
    let script = (0..9).map(|_| ("StopUnit", refusal("System.Error.EAGAIN", "busy"))).collect();
    let fake = Fake::new("252", script);
    let error = fake.manager_within(Duration::from_secs(1)).stop_unit(&unit()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(whole(&error), "systemd did not answer within 1s: StopUnit(p-n.scope)");
    let tries = fake.calls().iter().filter(|call| call.starts_with("StopUnit")).count();
    assert!((2..=4).contains(&tries), "{:?}", fake.calls());
}

#[test]
fn a_unit_left_behind_is_cleared_away_once() {
    let fake = Fake::new("252", vec![("StartTransientUnit", unit_exists())]);
    fake.manager().start_unit(&unit(), &[4, 5], memory()).unwrap();
    assert_eq!(fake.calls(), [START, RESET, START]);

    let fake =
        Fake::new("252", vec![("StartTransientUnit", unit_exists()), ("StartTransientUnit", unit_exists())]);
    let error = fake.manager().start_unit(&unit(), &[4, 5], memory()).unwrap_err();
    assert_eq!(error.bus_name(), Some("org.freedesktop.systemd1.UnitExists"));
    assert_eq!(
        whole(&error),
        "systemd refused StartTransientUnit(p-n.scope): Unit p-n.scope was already loaded or has a fragment file. \
         (org.freedesktop.systemd1.UnitExists)"
    );
    assert_eq!(fake.calls(), [START, RESET, START]);
}

#[test]
fn a_job_that_fails_is_an_error_with_the_reason() {
    let fake = Fake::new("252", vec![("StartTransientUnit", Does::Job("failed"))]);
    let error = fake.manager().start_unit(&unit(), &[4, 5], memory()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Job);
    let said = "error creating systemd unit `p-n.scope`: got `failed` (the unit's result is `oom-kill`)";
    assert_eq!(whole(&error), said);
    let get = "Get org.freedesktop.systemd1.Scope Result";
    assert_eq!(fake.calls(), [START, "GetUnit p-n.scope", get, RESET]);
}

#[test]
fn a_job_that_does_not_end_and_a_call_without_answer_have_a_deadline() {
    let within = Duration::from_millis(300);
    let fake = Fake::new("252", vec![("StartTransientUnit", Does::NoJob)]);
    let started = Instant::now();
    let error = fake.manager_within(within).start_unit(&unit(), &[4, 5], memory()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().contains("JobRemoved(p-n.scope)")),
        (ErrorKind::Deadline, true)
    );
    assert!((within..within * 10).contains(&started.elapsed()), "{:?}", started.elapsed());

    let fake = Fake::new("252", vec![("SetUnitProperties", Does::Silence)]);
    let error = fake.manager_within(within).set_properties(&unit(), memory()).unwrap_err();
    assert_eq!(whole(&error), "systemd did not answer within 300ms: SetUnitProperties(p-n.scope)");
}

#[test]
fn a_question_that_is_not_answered_is_asked_again() {
    let within = Duration::from_millis(900);
    let forgotten =
        || refusal("org.freedesktop.DBus.Error.NoReply", "Message recipient disconnected from message bus");
    // The late answer comes while the second one is awaited.
    for does in [Does::Silence, Does::Late(Duration::from_millis(400)), forgotten()] {
        let fake = Fake::new("252", vec![]);
        let manager = fake.manager_within(within);
        fake.then(vec![("Get", does.clone())]);
        assert_eq!(manager.control_group().unwrap(), "/user.slice/x", "{does:?}");
        assert_eq!(fake.calls(), ["Get org.freedesktop.systemd1.Manager ControlGroup"; 2], "{does:?}");
        // Nor is an answer that comes too late taken for that of another question.
        fake.then(vec![("GetUnit", does.clone()), ("Get", does.clone()), ("Get", Does::Value("/b"))]);
        assert_eq!(manager.control_group_of(&unit()).unwrap().as_deref(), Some("/b"), "{does:?}");
    }

    // Connecting asks, too. What changes something is never called again: it may have been heard.
    let fake = Fake::new("252", vec![("Get", Does::Silence), ("StartTransientUnit", Does::Silence)]);
    let error = fake.manager_within(within).start_unit(&unit(), &[4, 5], memory()).unwrap_err();
    assert_eq!(whole(&error), "systemd did not answer within 900ms: StartTransientUnit(p-n.scope)");
    assert_eq!(fake.calls(), [START]);

    let fake = Fake::new("252", vec![]);
    let manager = fake.manager_within(within);
    fake.then(vec![("Get", Does::Silence), ("Get", Does::Silence), ("Get", Does::Silence)]);
    let started = Instant::now();
    let error = manager.control_group().unwrap_err();
    assert_eq!(whole(&error), "systemd did not answer within 900ms: Get(ControlGroup)");
    assert!(started.elapsed() < within * 2, "{:?}", started.elapsed());
}

#[test]
fn the_end_of_a_job_may_be_late_and_is_seen_by_the_unit_if_it_is_not_told() {
    const STATE: &str = "Get org.freedesktop.systemd1.Unit ActiveState";
    let within = Duration::from_millis(900);
    // It is told late: while the unit is looked at.
    let fake = Fake::new("252", vec![("StartTransientUnit", Does::NoJob)]);
    let manager = fake.manager_within(within);
    fake.then(vec![("Get", Does::ValueThenJob("activating"))]);
    manager.start_unit(&unit(), &[4, 5], memory()).unwrap();
    assert_eq!(fake.calls(), [START, "GetUnit p-n.scope", STATE]);

    // It is not told at all.
    let fake = Fake::new("252", vec![("StartTransientUnit", Does::NoJob), ("StopUnit", Does::NoJob)]);
    let manager = fake.manager_within(within);
    fake.then(vec![
        ("Get", Does::Value("activating")),
        ("Get", Does::Value("active")),
        ("Get", Does::Value("inactive")),
    ]);
    manager.start_unit(&unit(), &[4, 5], memory()).unwrap();
    assert_eq!(fake.calls(), [START, "GetUnit p-n.scope", STATE, "GetUnit p-n.scope", STATE]);
    manager.stop_unit(&unit()).unwrap();
    fake.then(vec![
        ("StopUnit", Does::NoJob),
        ("GetUnit", refusal("org.freedesktop.systemd1.NoSuchUnit", "not loaded")),
    ]);
    manager.stop_unit(&unit()).unwrap();
}

#[test]
fn a_connection_that_breaks_is_an_error() {
    for method in ["StartTransientUnit", "ResetFailedUnit"] {
        let fake = Fake::new("252", vec![("StartTransientUnit", unit_exists()), (method, Does::HangUp)]);
        let error = fake.manager().start_unit(&unit(), &[4, 5], memory()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Call, "{}", whole(&error));
    }
}

#[test]
fn what_systemd_is_too_old_for_or_does_not_know_is_left_out_and_told() {
    let unknown = |name: &str| {
        refusal(
            "org.freedesktop.DBus.Error.PropertyReadOnly",
            &format!("Cannot set property {name}, or unknown property."),
        )
    };
    let properties = || {
        vec![
            Property::new("AllowedCPUs", vec![1_u8]).since(244),
            Property::new("CPUQuotaPeriodUSec", 1_u64).since(242),
            Property::new("MemoryMax", 5_u64),
        ]
    };
    let fake = Fake::new("v243-2.fc31", vec![("StartTransientUnit", unknown("CPUQuotaPeriodUSec"))]);
    let left_out = fake.manager().start_unit(&unit(), &[4, 5], properties()).unwrap();
    assert_eq!(
        left_out.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "systemd 243 has no property AllowedCPUs (it came with 244), so it is not told",
            "systemd 243 does not know the property CPUQuotaPeriodUSec, so it is not told",
        ]
    );
    assert_eq!(fake.calls().last().unwrap(), START);

    let fake = Fake::new("252", vec![("SetUnitProperties", unknown("CPUQuotaPeriodUSec"))]);
    let left_out = fake.manager().set_properties(&unit(), properties()).unwrap();
    assert_eq!(left_out.len(), 1);
    let calls = fake.calls();
    assert_eq!(calls[1], "SetUnitProperties p-n.scope true AllowedCPUs=[byte 0x01] MemoryMax=uint64 5");
    assert_eq!(calls.len(), 2);

    // One that is not optional is an error.
    let fake = Fake::new("252", vec![("SetUnitProperties", unknown("MemoryMax"))]);
    let error = fake.manager().set_properties(&unit(), properties()).unwrap_err();
    assert_eq!(error.bus_name(), Some("org.freedesktop.DBus.Error.PropertyReadOnly"));
}

#[test]
fn nothing_is_called_to_change_nothing() {
    let fake = Fake::new("239", vec![]);
    let manager = fake.manager();
    assert_eq!(manager.set_properties(&unit(), vec![]).unwrap(), []);
    assert_eq!(
        manager
            .set_properties(&unit(), vec![Property::new("AllowedCPUs", vec![1_u8]).since(244)])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(fake.calls(), Vec::<String>::new());
}

#[test]
fn a_unit_is_stopped_and_one_that_is_gone_is_no_error() {
    let stop = "StopUnit p-n.scope replace";
    let fake = Fake::new("252", vec![]);
    fake.manager().stop_unit(&unit()).unwrap();
    assert_eq!(fake.calls(), [stop, RESET]);

    let gone = || refusal("org.freedesktop.systemd1.NoSuchUnit", "Unit p-n.scope not loaded.");
    let fake = Fake::new("252", vec![("StopUnit", gone()), ("GetUnit", gone())]);
    let manager = fake.manager();
    manager.stop_unit(&unit()).unwrap();
    assert_eq!(manager.control_group_of(&unit()).unwrap(), None);

    let fake = Fake::new("252", vec![("StopUnit", Does::Job("timeout"))]);
    let error = fake.manager().stop_unit(&unit()).unwrap_err();
    assert!(
        error.to_string().starts_with("error removing systemd unit `p-n.scope`: got `timeout`"),
        "{error}"
    );
    assert_eq!(fake.calls().last().unwrap(), RESET);
}

#[test]
fn processes_are_moved_and_cgroups_are_told() {
    let fake = Fake::new("252", vec![]);
    let manager = fake.manager();
    for below in ["", "/", "a/b", "/a/b"] {
        manager.attach_processes(&unit(), below, &[9]).unwrap();
    }
    for bad in ["..", "/a/../b", "a//b", "a/", "./a"] {
        let error = manager.attach_processes(&unit(), bad, &[9]).unwrap_err();
        assert_eq!(error.to_string(), format!("bad sub cgroup path: {bad}"));
    }
    assert_eq!(
        fake.calls(),
        ["/", "/", "/a/b", "/a/b"].map(|at| format!("AttachProcessesToUnit p-n.scope {at} [9]"))
    );
    assert_eq!(manager.control_group().unwrap(), "/user.slice/x");
    assert_eq!(manager.control_group_of(&unit()).unwrap().as_deref(), Some("/user.slice/x"));
}

#[test]
fn the_next_place_is_tried_and_no_place_is_an_error_that_names_all() {
    let fake = Fake::new("252", vec![]);
    let at = |name: &str| Endpoint::socket(fake.directory.path().join(name));
    let uid = nix::unistd::geteuid().as_raw();
    let endpoints = [at("none"), at("socket")];
    Manager::connect("test", &endpoints, uid, Duration::from_secs(5)).unwrap();

    let endpoints = [at("none"), at("neither")];
    let error = Manager::connect("test", &endpoints, uid, Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    for said in
        ["cannot reach systemd (test): unix:path=", "/none: ", "/neither: ", "No such file or directory"]
    {
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_place_where_nobody_answers_has_a_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    let endpoint = Endpoint::socket(directory.path().join("socket"));
    let error = Manager::connect("test", &[endpoint], 0, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    drop(listener);
}

#[test]
fn a_connection_is_gone_with_its_manager() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let fake = Fake::new("252", vec![]);
    let before = open();
    for _ in 0..50 {
        // The stand-in serves one connection after the other, so it has seen the end of the last one.
        fake.manager().start_unit(&unit(), &[], memory()).unwrap();
    }
    // Other tests run at the same time, and have some files.
    assert!(open() < before + 40, "{before} {}", open());
}
