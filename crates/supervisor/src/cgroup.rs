//! A cgroup v2 directory for each child, where the system lets us make one.
//!
//! It needs no controllers to be useful: everything a child ever starts is in
//! it, whatever it calls itself. Controllers, where they can be enabled, hold
//! the limits.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::protocol::Enforcement;
use crate::spec::Limits;
use crate::wire::wire_struct;

/// The length of a period of the CPU limit, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Our directory in the hierarchy; children's directories are inside.
#[derive(Debug)]
pub(crate) struct Cgroups {
    root: PathBuf,
    controllers: BTreeSet<String>,
    made: u64,
}

/// The directory of one child.
#[derive(Debug)]
pub(crate) struct ChildCgroup {
    path: PathBuf,
}

/// How the three limits are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
    pub(crate) pids: bool,
}

impl Cgroups {
    /// Makes our directory below the cgroup that we are in; `None` where that is not allowed.
    pub(crate) fn open() -> Option<Self> {
        let own = own_directory()?;
        // Moving a process needs write access here, the common ancestor.
        OpenOptions::new()
            .write(true)
            .open(own.join("cgroup.procs"))
            .ok()?;
        remove_dead(&own);
        let root = own.join(format!("gapless-{}", std::process::id()));
        fs::create_dir(&root).ok()?;
        enable(&own, &own.join("gapless-supervisor"));
        for controller in ["memory", "cpu", "pids"] {
            let _not_offered = write(
                &root.join("cgroup.subtree_control"),
                &format!("+{controller}"),
            );
        }
        let controllers =
            fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        let controllers = controllers
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        Some(Self {
            root,
            controllers,
            made: 0,
        })
    }

    /// Which limits can be held.
    pub(crate) fn holds(&self) -> Held {
        let has = |controller: &str| self.controllers.contains(controller);
        Held {
            memory: has("memory"),
            cpu: has("cpu"),
            pids: has("pids"),
        }
    }

    /// Makes a directory for a child and sets its limits.
    pub(crate) fn make(&mut self, limits: &Limits) -> Option<(ChildCgroup, Held)> {
        self.made += 1;
        let path = self.root.join(format!("c{}", self.made));
        fs::create_dir(&path).ok()?;
        let set = |controller: &str, file: &str, value: Option<String>| {
            let Some(value) = value else { return false };
            self.controllers.contains(controller) && write(&path.join(file), &value)
        };
        let quota = |millis: u32| u64::from(millis) * CPU_PERIOD_US / 1000;
        let cpu = limits
            .cpu_millis_max
            .map(|max| format!("{} {CPU_PERIOD_US}", quota(max).max(1000)));
        let held = Held {
            memory: set(
                "memory",
                "memory.max",
                limits.memory_bytes_max.map(|max| max.to_string()),
            ),
            cpu: set("cpu", "cpu.max", cpu),
            pids: set(
                "pids",
                "pids.max",
                limits.pids_max.map(|max| max.to_string()),
            ),
        };
        Some((ChildCgroup { path }, held))
    }
}

/// All directories as they are handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CgroupsState {
    root: Option<PathBuf>,
    controllers: Vec<String>,
    made: u64,
    left: Vec<PathBuf>,
}
wire_struct!(CgroupsState {
    root,
    controllers,
    made,
    left
});

impl CgroupsState {
    pub(crate) fn of(cgroups: Option<&Cgroups>, left: &[ChildCgroup]) -> Self {
        let controllers = cgroups.into_iter().flat_map(|cgroups| &cgroups.controllers);
        Self {
            root: cgroups.map(|cgroups| cgroups.root.clone()),
            controllers: controllers.cloned().collect(),
            made: cgroups.map_or(0, |cgroups| cgroups.made),
            left: left.iter().map(|cgroup| cgroup.path.clone()).collect(),
        }
    }

    /// Our directory, and those that are still to be removed.
    pub(crate) fn restore(self) -> (Option<Cgroups>, Vec<ChildCgroup>) {
        let cgroups = self.root.map(|root| Cgroups {
            root,
            controllers: self.controllers.into_iter().collect(),
            made: self.made,
        });
        (
            cgroups,
            self.left.into_iter().map(ChildCgroup::at).collect(),
        )
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        remove_tree(&self.root);
    }
}

impl ChildCgroup {
    /// One that exists.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that a new process writes itself into.
    pub(crate) fn door(&self) -> Option<OwnedFd> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))
            .ok()?;
        Some(file.into())
    }

    /// All processes inside, nested directories included.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.path.clone()];
        while let Some(directory) = open.pop() {
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
            open.extend(directories(&directory));
        }
        found
    }

    /// Kills everything inside at once, where the kernel can (5.14).
    pub(crate) fn kill(&self) {
        let _not_offered = write(&self.path.join("cgroup.kill"), "1");
    }

    /// Removes the directory; false while something is still inside.
    pub(crate) fn remove(&self) -> bool {
        remove_tree(&self.path)
    }
}

/// What holds a limit, given whether it was asked for and whether a cgroup holds it.
pub(crate) fn enforcement(asked: bool, held: bool, otherwise: Enforcement) -> Enforcement {
    match (asked, held) {
        (false, _) => Enforcement::NotAsked,
        (true, true) => Enforcement::Cgroup,
        (true, false) => otherwise,
    }
}

/// The directory of the cgroup that this process is in.
fn own_directory() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (root, point) = mounts.lines().find_map(cgroup2_mount)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// Root and mount point, if this line of mountinfo is the unified hierarchy.
fn cgroup2_mount(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    if !after.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = before.split(' ').skip(3);
    Some((fields.next()?, fields.next()?))
}

/// Enables controllers for our directory.
///
/// A cgroup other than the topmost may not both hold processes and lend
/// controllers: if we are the only one in it, we move one level down.
fn enable(own: &Path, leaf: &Path) {
    let lend = || {
        ["memory", "cpu", "pids"]
            .map(|name| write(&own.join("cgroup.subtree_control"), &format!("+{name}")))
            .contains(&true)
    };
    if lend() {
        return;
    }
    let alone = fs::read_to_string(own.join("cgroup.procs"))
        .is_ok_and(|procs| procs.trim() == std::process::id().to_string());
    let offered = fs::read_to_string(own.join("cgroup.controllers"));
    if alone && offered.is_ok_and(|offered| !offered.trim().is_empty()) {
        let _exists = fs::create_dir(leaf);
        if write(&leaf.join("cgroup.procs"), "0") {
            lend();
        }
    }
}

/// Removes the empty directories of supervisors that are dead.
fn remove_dead(own: &Path) {
    for directory in directories(own) {
        let name = directory.file_name().and_then(|name| name.to_str());
        let pid = name.and_then(|name| name.strip_prefix("gapless-")?.parse::<u32>().ok());
        if pid.is_some_and(|pid| crate::proc::process(pid).is_none()) {
            remove_tree(&directory);
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let inside = entries.filter_map(Result::ok);
    inside
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes empty directories from the leaves up; cgroup directories have no files of their own.
fn remove_tree(path: &Path) -> bool {
    for directory in directories(path) {
        remove_tree(&directory);
    }
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn write(path: &Path, value: &str) -> bool {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_mount_is_found_among_others() {
        let unified = "35 24 0:30 /outer /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(unified), Some(("/outer", "/sys/fs/cgroup")));
        let old = "36 24 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(cgroup2_mount(old), None);
        assert_eq!(cgroup2_mount(""), None);
    }

    #[test]
    fn a_limit_is_reported_as_what_holds_it() {
        let otherwise = Enforcement::Unavailable;
        assert_eq!(enforcement(false, false, otherwise), Enforcement::NotAsked);
        assert_eq!(enforcement(true, true, otherwise), Enforcement::Cgroup);
        assert_eq!(
            enforcement(true, false, otherwise),
            Enforcement::Unavailable
        );
    }
}
