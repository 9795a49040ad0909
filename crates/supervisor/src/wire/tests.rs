//! What is written is read again; what is not written by us never panics.

use std::net::SocketAddr;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::Identity;
use crate::protocol::{
    ChildInfo, ChildState, Enforced, Enforcement, Event, ExitStatus, Leftover, LeftoverKind,
    PortOwner, Refusal, Reply, Request, Scope, TakenHead,
};
use crate::spec::{Key, Limits, Output, Resource, ResourceLimit, SpawnSpec};

fn key() -> impl Strategy<Value = Key> {
    "[A-Za-z0-9._:/#@-]{1,128}".prop_map(|text| Key::try_new(text).unwrap())
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        any::<i32>().prop_map(|code| ExitStatus::Code { code }),
        any::<i32>().prop_map(|signal| ExitStatus::Signal { signal }),
    ]
}

fn child() -> impl Strategy<Value = ChildInfo> {
    let state = prop_oneof![
        Just(ChildState::Running),
        status().prop_map(ChildState::Exited)
    ];
    (key(), any::<u32>(), any::<u64>(), state).prop_map(|(key, pid, start_time, state)| ChildInfo {
        key,
        pid,
        start_time,
        state,
        enforced: Enforced {
            memory: Enforcement::Cgroup,
            cpu: Enforcement::Unavailable,
            pids: Enforcement::Rlimit,
        },
    })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any::<u16>().prop_map(|version| Request::Hello { version }),
        any::<SocketAddr>().prop_map(|address| Request::Bind {
            address: plain(address)
        }),
        any::<SocketAddr>().prop_map(|address| Request::Release {
            address: plain(address)
        }),
        key().prop_map(|key| Request::Spawn { key }),
        (key(), any::<i32>()).prop_map(|(key, signal)| Request::Signal {
            key,
            signal,
            scope: Scope::Group
        }),
        proptest::option::of(key()).prop_map(|after| Request::List { after }),
        key().prop_map(|key| Request::Take { key }),
        key().prop_map(|key| Request::Acknowledge { key }),
        any::<u16>().prop_map(|port| Request::Owner { port }),
        key().prop_map(|key| Request::Listening { key }),
        any::<bool>().prop_map(|acquire| Request::Lease { acquire }),
        any::<i32>().prop_map(|code| Request::Stop { code }),
        any::<u32>().prop_map(|after| Request::Leftovers { after }),
        any::<u64>().prop_map(|grace_ms| Request::StopLeftovers {
            kind: LeftoverKind::Worker,
            grace_ms
        }),
        Just(Request::Ledger),
        Just(Request::Drops),
        Just(Request::Ready),
        Just(Request::Stopped),
    ]
}

/// Flow and scope of an IPv6 address do not travel: nothing listens on them.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn reply() -> impl Strategy<Value = Reply> {
    let head = (any::<bool>(), any::<u32>(), any::<u64>()).prop_map(
        |(open, kept_bytes, dropped_bytes)| TakenHead {
            open,
            kept_bytes,
            dropped_bytes,
        },
    );
    let owner = (
        proptest::option::of(any::<u32>()),
        ".*",
        proptest::option::of(key()),
    )
        .prop_map(|(pid, name, key)| PortOwner { pid, name, key });
    let left = (any::<u32>(), any::<u64>(), proptest::option::of(key())).prop_map(
        |(pid, start_time, key)| Leftover {
            pid,
            start_time,
            kind: LeftoverKind::Child,
            key,
        },
    );
    prop_oneof![
        Just(Reply::Done),
        child().prop_map(Reply::Child),
        (vec(child(), 0..5), any::<bool>())
            .prop_map(|(children, more)| Reply::Children { children, more }),
        (head.clone(), head).prop_map(|(stdout, stderr)| Reply::Taken { stdout, stderr }),
        vec(owner, 0..5).prop_map(|owners| Reply::Owners { owners }),
        vec(any::<SocketAddr>().prop_map(plain), 0..5)
            .prop_map(|addresses| Reply::Listening { addresses }),
        (vec(left, 0..5), any::<bool>())
            .prop_map(|(leftovers, more)| Reply::Leftovers { leftovers, more }),
        vec((any::<SocketAddr>().prop_map(plain), any::<u64>()), 0..5)
            .prop_map(|drops| Reply::Drops { drops }),
        refusal().prop_map(Reply::Refused),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u16>().prop_map(|supported| Refusal::Version { supported }),
        (
            any::<SocketAddr>(),
            proptest::option::of(any::<u32>()),
            ".*"
        )
            .prop_map(|(address, pid, name)| Refusal::AddressInUse {
                address: plain(address),
                pid,
                name
            }),
        (".*", any::<i32>()).prop_map(|(program, errno)| Refusal::SpawnFailed { program, errno }),
        (".*", any::<i32>()).prop_map(|(doing, errno)| Refusal::Os { doing, errno }),
        Just(Refusal::Malformed),
        Just(Refusal::UnknownKey),
        Just(Refusal::RootNotAllowed),
        Just(Refusal::NotInControl),
        Just(Refusal::LimitReached),
        Just(Refusal::StillRunning),
        Just(Refusal::Terminating),
    ]
}

fn spec() -> impl Strategy<Value = SpawnSpec> {
    let limit = any::<u64>().prop_map(|max| ResourceLimit {
        resource: Resource::CpuSeconds,
        max,
    });
    (
        vec(".*", 0..4),
        vec((".*", ".*"), 0..4),
        ".*",
        proptest::option::of((any::<u32>(), any::<u32>())),
        vec(limit, 0..3),
        proptest::option::of(any::<u64>()),
    )
        .prop_map(
            |(argv, env, cwd, identity, rlimits, memory_bytes_max)| SpawnSpec {
                argv,
                env,
                cwd: PathBuf::from(cwd),
                identity: identity.map(|(uid, gid)| Identity { uid, gid }),
                rlimits,
                limits: Limits {
                    memory_bytes_max,
                    cpu_millis_max: None,
                    pids_max: Some(7),
                },
                output: Output::Pipes,
            },
        )
}

proptest! {
    #[test]
    fn requests_survive_the_wire(request in request()) {
        prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }

    #[test]
    fn replies_survive_the_wire(reply in reply()) {
        prop_assert_eq!(Reply::from_bytes(&reply.to_bytes()), Ok(reply));
    }

    #[test]
    fn specifications_survive_the_wire(spec in spec()) {
        prop_assert_eq!(SpawnSpec::from_bytes(&spec.to_bytes()), Ok(spec));
    }

    #[test]
    fn events_survive_the_wire(key in key(), status in status()) {
        let event = Event::Exited { key, status };
        prop_assert_eq!(Event::from_bytes(&event.to_bytes()), Ok(event));
    }

    #[test]
    fn a_truncated_message_is_refused(reply in reply(), cut in any::<prop::sample::Index>()) {
        let bytes = reply.to_bytes();
        let cut = cut.index(bytes.len());
        prop_assert!(Reply::from_bytes(&bytes[..cut]).is_err());
    }

    #[test]
    fn bytes_after_the_message_are_refused(request in request(), more in 1usize..9) {
        let mut bytes = request.to_bytes();
        bytes.extend(vec![0; more]);
        prop_assert_eq!(Request::from_bytes(&bytes), Err(WireError::Trailing(more)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Request::from_bytes(&bytes);
        let _ = Reply::from_bytes(&bytes);
        let _ = Event::from_bytes(&bytes);
        let _ = SpawnSpec::from_bytes(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(reply in reply(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = reply.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Reply::from_bytes(&bytes);
    }
}

#[test]
fn a_count_larger_than_the_message_allocates_nothing() {
    let mut bytes = u32::MAX.to_bytes();
    bytes.push(0);
    assert_eq!(Vec::<u64>::from_bytes(&bytes), Err(WireError::Short));
}

#[test]
fn a_key_with_other_characters_is_refused() {
    for text in ["", "a b", "a\0", "ä", "a\n", &"x".repeat(129)] {
        assert!(Key::try_new(text).is_err(), "{text:?}");
        assert_eq!(
            Key::from_bytes(&text.to_owned().to_bytes()),
            Err(WireError::Text("key"))
        );
    }
}

#[test]
fn a_specification_shows_no_values_of_the_environment() {
    let spec = SpawnSpec {
        argv: vec!["web".into()],
        env: vec![("TOKEN".into(), "hunter2".into())],
        cwd: "/".into(),
        identity: None,
        rlimits: Vec::new(),
        limits: Limits::default(),
        output: Output::Pipes,
    };
    let shown = format!("{spec:?}");
    assert!(
        shown.contains("TOKEN") && !shown.contains("hunter2"),
        "{shown}"
    );
}
