//! What was handed over once is read for ever; what cannot be read is refused.

use super::*;
use crate::protocol::{ChildState as Life, Enforced, Enforcement, ExitStatus};
use crate::spec::Key;

fn handover() -> Handover {
    let stream = |pipe: Option<i32>| StreamState {
        pipe,
        kept: b"line".to_vec(),
        dropped_bytes: 7,
        holder: Some(2),
    };
    let enforced = Enforced {
        memory: Enforcement::Cgroup,
        cpu: Enforcement::NotAsked,
        pids: Enforcement::Unavailable,
    };
    Handover {
        core: Core {
            state: "/var/lib/gapless".into(),
            worker_argv: vec!["/usr/bin/gapless".into(), "worker".into()],
            worker_identity: Some(Identity { uid: 5, gid: 6 }),
            sockets_per_address: 2,
            ledger_bytes: 4096,
            root_allowed: false,
            drain_limit_ms: 600_000,
            step_limit_ms: 60_000,
            stop_grace_ms: 10_000,
            generation: 3,
            control: Some(3),
            told_ready: true,
            open_files: (Some(1024), None),
            core_bytes: (None, Some(0)),
            lock: 3,
            ledger: 4,
        },
        listeners: vec![ListenerState {
            asked: "127.0.0.1:0".parse().unwrap(),
            address: "127.0.0.1:8080".parse().unwrap(),
            beside: 1,
            sockets: vec![5, 6],
        }],
        children: vec![ChildState {
            info: ChildInfo {
                key: Key::try_new("web-v1-1").unwrap(),
                pid: 42,
                start_time: 99,
                state: Life::Exited(ExitStatus::Code { code: 1 }),
                enforced,
            },
            ended: Some(123),
            cgroup: Some("/sys/fs/cgroup/c1".into()),
            stdout: stream(Some(7)),
            stderr: stream(None),
            seen: vec![(42, 99)],
        }],
        workers: vec![WorkerState {
            generation: 3,
            pid: 77,
            requests: 8,
            events: 9,
            lived_ms: 5,
            protocol: 2,
            version: "0.1.0".into(),
            program: "/usr/bin/gapless".into(),
            retired: false,
        }],
        cgroups: CgroupsState::default(),
        stops: Vec::new(),
        inherited: Vec::new(),
    }
}

/// As the first released binary wrote it; never to be changed.
const FIRST: &str = include_str!("first.hex");

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn a_handover_is_read_as_it_was_written() {
    let handover = handover();
    let read = Handover::from_bytes(&handover.to_bytes()).unwrap();
    assert_eq!(read, handover);
    assert_eq!(read.descriptors(), [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_the_first_binary_wrote_is_still_read() {
    assert_eq!(Handover::from_bytes(&bytes_of(FIRST)).unwrap(), handover());
}

#[test]
fn a_later_binary_may_add_sections_and_says_when_it_drops_a_reader() {
    let mut form = Form::from_bytes(&handover().to_bytes()).unwrap();
    form.version = VERSION + 1;
    form.sections.push(Section {
        number: 999,
        content: vec![1, 2, 3],
    });
    assert_eq!(Handover::from_bytes(&form.to_bytes()).unwrap(), handover());
    form.reader_oldest = VERSION + 1;
    let refused = Handover::from_bytes(&form.to_bytes()).unwrap_err();
    assert!(matches!(refused, HandoverError::Newer { .. }), "{refused}");
}

#[test]
fn a_damaged_handover_is_refused() {
    let bytes = handover().to_bytes();
    for length in 0..bytes.len() {
        assert!(Handover::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    let mut other = bytes.clone();
    other[0] ^= 1;
    let refused = Handover::from_bytes(&other).unwrap_err();
    assert!(matches!(refused, HandoverError::NoHandover), "{refused}");
    let mut form = Form::from_bytes(&bytes).unwrap();
    form.sections.remove(2);
    let refused = Handover::from_bytes(&form.to_bytes()).unwrap_err();
    assert!(
        matches!(refused, HandoverError::Missing(CHILDREN)),
        "{refused}"
    );
}

#[test]
fn descriptors_that_are_not_open_or_named_twice_are_refused() {
    let mut handover = handover();
    handover.core.lock = 9_999;
    assert!(Descriptors::adopt(&handover).is_err());
}
