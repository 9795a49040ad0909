//! What is well with the server, and what could be better.

use runtime::Enforcement;

use super::Shell;
use crate::api::{CertificateView, DoctorFact, DoctorFacts, FactLevel, VERSION};

/// Less free space than this is worth a warning.
const FREE_WARNING: u64 = 512 * 1024 * 1024;

/// What gives a server the controllers that it lacks.
pub(super) const LIMITS_FIX: &str = "run the server in a cgroup of its own with the controllers \
    cpu and pids: `Delegate=yes` in its systemd unit, or `systemd-run --scope -p Delegate=yes`";

fn fact(name: &str, level: FactLevel, seen: impl Into<String>, fix: Option<&str>) -> DoctorFact {
    DoctorFact {
        name: name.to_owned(),
        level,
        seen: seen.into(),
        fix: fix.map(str::to_owned),
    }
}

fn certificate_fact(seen: &CertificateView) -> DoctorFact {
    let renew = "renew it: the new file is served a few seconds after it is there";
    let mend = "mend the file: until then the last one that could be read is served";
    let fix = match (seen.level, &seen.trouble) {
        (_, Some(_)) => Some(mend),
        (FactLevel::Good, None) => None,
        (FactLevel::Warning | FactLevel::Bad, None) => Some(renew),
    };
    fact("certificate", seen.level, seen.to_string(), fix)
}

impl Shell {
    pub(crate) fn doctor(&self) -> DoctorFacts {
        let mut facts = vec![
            self.journal_fact(),
            self.space_fact(),
            self.threads_fact(),
            self.audit_fact(),
            self.logs_fact(),
            self.limits_fact(),
            self.ports_fact(),
            fact("metrics", FactLevel::Good, self.metric_source(), None),
        ];
        facts.extend(self.certificate_views().iter().map(certificate_fact));
        let troubles = self.authority_troubles().into_iter();
        facts.extend(troubles.map(|seen| {
            let fix = "mend the file: until then the last one that could be read is used";
            fact("authority", FactLevel::Bad, seen, Some(fix))
        }));
        DoctorFacts { v: VERSION, facts }
    }

    /// A port that the kernel gave to somebody's outgoing connection is no port for an instance:
    /// another one is tried then, which takes time.
    fn ports_fact(&self) -> DoctorFact {
        let Some((first, last)) = self.accepted().and_then(|accepted| accepted.ports) else {
            return fact("ports", FactLevel::Good, "no deploy has come yet", None);
        };
        let seen = format!("instances get {first}-{last}");
        let ephemeral = runtime::ports::ephemeral_range();
        match ephemeral.map(std::ops::RangeInclusive::into_inner) {
            Ok((from, to)) if first <= to && from <= last => fact(
                "ports",
                FactLevel::Warning,
                format!("{seen}, of which the kernel gives {from}-{to} to outgoing connections"),
                Some(
                    "set other `ports` under [server], or keep them free with \
                     `sysctl net.ipv4.ip_local_reserved_ports`",
                ),
            ),
            Ok(_) | Err(_) => fact("ports", FactLevel::Good, seen, None),
        }
    }

    fn journal_fact(&self) -> DoctorFact {
        let status = self.engine.status(self.clock.now());
        match status.journal_error {
            None => {
                let path = self.store.path().display().to_string();
                fact("journal", FactLevel::Good, path, None)
            }
            Some(error) => fact(
                "journal",
                FactLevel::Bad,
                error,
                Some("free space on the disk of the state directory"),
            ),
        }
    }

    fn space_fact(&self) -> DoctorFact {
        match rustix::fs::statvfs(&self.state) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                let (level, fix) = if free < FREE_WARNING {
                    let fix = "free space, or lower `keep_releases`";
                    (FactLevel::Warning, Some(fix))
                } else {
                    (FactLevel::Good, None)
                };
                fact("disk", level, format!("{} MiB free", free >> 20), fix)
            }
            Err(error) => fact("disk", FactLevel::Warning, error.to_string(), None),
        }
    }

    fn threads_fact(&self) -> DoctorFact {
        let overdue = self.ledger.overdue(self.table.revision);
        if overdue.is_empty() {
            return fact(
                "proxy",
                FactLevel::Good,
                "every thread has the newest table",
                None,
            );
        }
        let seen = format!("{} threads do not have the newest table", overdue.len());
        fact(
            "proxy",
            FactLevel::Warning,
            seen,
            Some("see `gapless status`"),
        )
    }

    fn audit_fact(&self) -> DoctorFact {
        match self.store.audit_broken_at() {
            Ok(None) => fact(
                "audit",
                FactLevel::Good,
                "every entry follows from the last",
                None,
            ),
            Ok(Some(entry)) => fact(
                "audit",
                FactLevel::Bad,
                format!("entry {entry} was changed or removed"),
                Some("somebody wrote to the database: compare it with its copy"),
            ),
            Err(error) => fact("audit", FactLevel::Bad, error.chain(), None),
        }
    }

    fn logs_fact(&self) -> DoctorFact {
        match self.logs.dropped_lines() {
            0 => fact("logs", FactLevel::Good, "no line was dropped", None),
            count => fact(
                "logs",
                FactLevel::Warning,
                format!("{count} lines were dropped"),
                Some("instances print faster than the disk takes it"),
            ),
        }
    }

    /// Which limits of instances nothing here can hold.
    fn limits_fact(&self) -> DoctorFact {
        let Some(by) = self.host.limits() else {
            let seen = "the supervisor does not tell what holds them";
            return fact(
                "limits",
                FactLevel::Warning,
                seen,
                Some("run `gapless upgrade`"),
            );
        };
        let loose = [("limits.cpu", by.cpu), ("limits.processes", by.pids)];
        let loose: Vec<&str> = loose
            .into_iter()
            .filter(|(_, by)| *by == Enforcement::Unavailable)
            .map(|(name, _)| name)
            .collect();
        if loose.is_empty() {
            return fact("limits", FactLevel::Good, "cgroups hold them", None);
        }
        let seen = format!("{} would not be enforced", loose.join(" and "));
        fact("limits", FactLevel::Warning, seen, Some(LIMITS_FIX))
    }
}
