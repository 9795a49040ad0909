//! One child: how it is started and what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Resource as Os, Rlimit};

use crate::cgroup::{self, Cgroups, ChildCgroup, Held};
use crate::config::Identity;
use crate::identity::{KEY_VARIABLE, SERVER_VARIABLE, ServerId};
use crate::pipe::Stream;
use crate::proc;
use crate::protocol::{ChildInfo, ChildState, Enforced, Enforcement, Refusal};
use crate::spec::{Key, Limits, Output, Resource, ResourceLimit, SpawnSpec};
use crate::sys::{self, BeforeExec};

/// Children that are kept at once.
pub(crate) const CHILDREN_MAX: usize = 4096;

/// A child, from its start until its end is acknowledged.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) info: ChildInfo,
    /// When its end was seen, in clock ticks after boot.
    pub(crate) ended: Option<u64>,
    pub(crate) cgroup: Option<ChildCgroup>,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
    /// Processes known to be its own, by pid and start.
    pub(crate) seen: BTreeSet<(u32, u64)>,
}

/// All children by key.
pub(crate) type Children = BTreeMap<Key, Child>;

/// What every child of this supervisor has in common.
#[derive(Debug)]
pub(crate) struct Birthplace {
    pub(crate) server: ServerId,
    pub(crate) cgroups: Option<Cgroups>,
    /// Who a child runs as when its specification names nobody.
    pub(crate) identity: Option<Identity>,
    pub(crate) root_allowed: bool,
    /// The limit on open files that this process began with.
    pub(crate) open_files: Rlimit,
    /// The limit on core files that it began with.
    pub(crate) core_bytes: Rlimit,
}

impl Birthplace {
    /// Starts a child.
    pub(crate) fn start(&mut self, key: &Key, spec: &SpawnSpec) -> Result<Child, Refusal> {
        let identity = spec.identity.or(self.identity);
        let uid = identity.map_or_else(|| rustix::process::geteuid().as_raw(), |who| who.uid);
        if uid == 0 && !self.root_allowed {
            return Err(Refusal::RootNotAllowed);
        }
        let (program, arguments) = spec.argv.split_first().ok_or(Refusal::Malformed)?;
        check_directory(&spec.cwd)?;
        let (cgroup, door, held) = self.cgroup(&spec.limits);
        let before = BeforeExec {
            cgroup: door,
            rlimits: self.rlimits(spec, held),
            identity,
            keep: Vec::new(),
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        command
            .env(KEY_VARIABLE, key.as_str())
            .env(SERVER_VARIABLE, self.server.to_text());
        command.current_dir(&spec.cwd).stdin(Stdio::null());
        let (stdout, stderr) = connect(&mut command, spec.output)?;
        sys::set_before_exec(&mut command, before);
        let started = command.spawn().map_err(|error| {
            if let Some(cgroup) = &cgroup {
                cgroup.remove();
            }
            let errno = error
                .raw_os_error()
                .unwrap_or(rustix::io::Errno::INVAL.raw_os_error());
            Refusal::SpawnFailed {
                program: program.clone(),
                errno,
            }
        })?;
        let pid = started.id();
        let start_time = proc::process(pid).map_or(0, |found| found.start_time);
        let info = ChildInfo {
            key: key.clone(),
            pid,
            start_time,
            state: ChildState::Running,
            enforced: enforced(&spec.limits, held),
        };
        Ok(Child {
            info,
            ended: None,
            cgroup,
            stdout,
            stderr,
            seen: BTreeSet::new(),
        })
    }

    /// What would hold each limit of a child that asks for all of them.
    pub(crate) fn enforcing(&self) -> Enforced {
        let all = Limits {
            memory_bytes_max: Some(0),
            cpu_millis_max: Some(0),
            pids_max: Some(0),
        };
        enforced(
            &all,
            self.cgroups
                .as_ref()
                .map_or_else(Held::default, Cgroups::holds),
        )
    }

    /// A cgroup, its door and the limits it holds; only one that can be entered counts.
    fn cgroup(&mut self, limits: &Limits) -> (Option<ChildCgroup>, Option<OwnedFd>, Held) {
        let made = self
            .cgroups
            .as_mut()
            .and_then(|cgroups| cgroups.make(limits));
        match made.map(|(cgroup, held)| (cgroup.door(), cgroup, held)) {
            Some((Some(door), cgroup, held)) => (Some(cgroup), Some(door), held),
            Some((None, cgroup, _)) => {
                cgroup.remove();
                (None, None, Held::default())
            }
            None => (None, None, Held::default()),
        }
    }

    /// The limits on files and on core files as they were for us, then memory where no cgroup holds it, then what is asked.
    fn rlimits(&self, spec: &SpawnSpec, held: Held) -> Vec<(Os, Rlimit)> {
        let mut all = vec![(Os::Nofile, self.open_files), (Os::Core, self.core_bytes)];
        let limit = |max| Rlimit {
            current: Some(max),
            maximum: Some(max),
        };
        if let Some(max) = spec.limits.memory_bytes_max
            && !held.memory
        {
            all.push((Os::Data, limit(max)));
        }
        all.extend(spec.rlimits.iter().map(|ResourceLimit { resource, max }| {
            let resource = match resource {
                Resource::OpenFiles => Os::Nofile,
                Resource::Core => Os::Core,
                Resource::Data => Os::Data,
                Resource::Stack => Os::Stack,
                Resource::Processes => Os::Nproc,
                Resource::CpuSeconds => Os::Cpu,
            };
            (resource, limit(*max))
        }));
        all
    }
}

impl Child {
    /// Whether its own process is still there.
    pub(crate) fn running(&self) -> bool {
        self.info.state == ChildState::Running
    }
}

fn check_directory(path: &Path) -> Result<(), Refusal> {
    let errno = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => rustix::io::Errno::NOTDIR.raw_os_error(),
        Err(error) => error
            .raw_os_error()
            .unwrap_or(rustix::io::Errno::NOENT.raw_os_error()),
    };
    Err(Refusal::Os {
        doing: format!("enter the directory {}", path.display()),
        errno,
    })
}

fn connect(command: &mut Command, output: Output) -> Result<(Stream, Stream), Refusal> {
    match output {
        Output::Discard => {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            Ok((Stream::default(), Stream::default()))
        }
        Output::Pipes => {
            let pipe = || -> Result<(Stream, OwnedFd), Refusal> {
                Stream::new().map_err(|error| Refusal::os("make a pipe", &error))
            };
            let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
            command.stdout(stdout_end).stderr(stderr_end);
            Ok((stdout, stderr))
        }
    }
}

fn enforced(limits: &Limits, held: Held) -> Enforced {
    let Limits {
        memory_bytes_max,
        cpu_millis_max,
        pids_max,
    } = limits;
    Enforced {
        memory: cgroup::enforcement(memory_bytes_max.is_some(), held.memory, Enforcement::Rlimit),
        cpu: cgroup::enforcement(cpu_millis_max.is_some(), held.cpu, Enforcement::Unavailable),
        pids: cgroup::enforcement(pids_max.is_some(), held.pids, Enforcement::Unavailable),
    }
}
