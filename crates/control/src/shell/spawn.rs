//! Starting an instance.

use std::collections::BTreeMap;

use engine::{Event, Spawn};
use fleet::SpawnError;
use runtime::{DriverError, Enforced, Enforcement, Key, PortOwner, ports};

use super::Shell;
use super::effects::key;
use super::environment::{Role, Search};

impl Shell {
    pub(super) async fn spawn(&mut self, spawn: Spawn) {
        let result = self.try_spawn(&spawn).await;
        if let Err(error) = &result {
            tracing::warn!(instance = %spawn.instance, ?error, "an instance was not started");
            let why = not_started_because(error, spawn.port);
            for account in self.accounts.values_mut() {
                account.note_not_started(&spawn.instance, why.clone());
            }
        }
        let instance = spawn.instance;
        self.queue.push_back(Event::Spawned { instance, result });
    }

    async fn try_spawn(&mut self, spawn: &Spawn) -> Result<(), SpawnError> {
        let instance = &spawn.instance;
        let key = key(instance);
        let release = self
            .engine
            .release(&instance.service, instance.release)
            .cloned()
            .ok_or_else(|| SpawnError::Unusable {
                reason: format!("there is no release {}", instance.release),
            })?;
        let role = Role {
            service: &instance.service,
            release: &release,
            name: key.as_str(),
            port: spawn.port,
            search: Search::Version,
            extra: BTreeMap::new(),
        };
        let start = self.start_of(&release.spec.run, &role)?;
        if let Some(port) = spawn.port {
            self.check_port_free(&key, port).await?;
        }
        self.take_cell(spawn)?;
        let started = self.driver.start(&key, &start.0).await;
        drop(start);
        let loose = loose_limits(started.map_err(not_started)?.enforced);
        if !loose.is_empty() {
            let text = format!(
                "limits.{} of {instance} is not enforced: this machine offers no cgroup controller for it",
                loose.join(", limits.")
            );
            self.note(None, &instance.service, text);
        }
        self.follow_logs(&key).await;
        Ok(())
    }

    /// Refuses a port that somebody else listens on; the instance itself may, when it was
    /// started before and that was forgotten.
    async fn check_port_free(&self, key: &Key, port: u16) -> Result<(), SpawnError> {
        if ports::is_free(port) {
            return Ok(());
        }
        let owners = self.driver.owners(port).await.unwrap_or_default();
        if owners.iter().any(|owner| owner.key.as_ref() == Some(key)) {
            return Ok(());
        }
        let by = owners.first().map_or_else(
            || "a process of another user".to_owned(),
            PortOwner::to_string,
        );
        Err(SpawnError::PortTaken { by })
    }

    /// Makes the cell the instance's own, in all accounts too.
    fn take_cell(&mut self, spawn: &Spawn) -> Result<(), SpawnError> {
        let (cell, instance) = (spawn.cell, &spawn.instance);
        let owner = self.series.owners().find(|(owned, _)| *owned == cell);
        let is_own = owner.is_some_and(|(_, owner)| owner == instance);
        if !is_own && self.ledger.open(cell) > 0 {
            return Err(SpawnError::Unavailable {
                reason: "requests of an earlier instance are still open".to_owned(),
            });
        }
        let (now, ledger) = (self.clock.now(), &self.ledger);
        self.series.look(now, |cell| ledger.cell(cell));
        let (totals, copies) = (self.ledger.cell(cell), self.ledger.copies(cell));
        self.series.own(cell, instance, totals.clone());
        self.ledger.set_told(cell, false);
        for account in self.accounts.values_mut() {
            account.own(cell, instance, (&totals, &copies));
        }
        // Before its process runs: who looks later would count its requests for somebody else.
        self.write_noted_accounts();
        Ok(())
    }
}

/// The limits that were asked for and that nothing here holds.
fn loose_limits(enforced: Enforced) -> Vec<&'static str> {
    let all = [
        ("memory", enforced.memory),
        ("cpu", enforced.cpu),
        ("processes", enforced.pids),
    ];
    let loose = all
        .into_iter()
        .filter(|(_, by)| *by == Enforcement::Unavailable);
    loose.map(|(name, _)| name).collect()
}

/// Why an instance was not started, as evidence.
fn not_started_because(error: &SpawnError, port: Option<u16>) -> String {
    match (error, port) {
        (SpawnError::PortTaken { by }, Some(port)) => format!("port {port} is taken by {by}"),
        (SpawnError::PortTaken { by }, None) => format!("its port is taken by {by}"),
        (SpawnError::Unusable { reason } | SpawnError::Unavailable { reason }, _) => reason.clone(),
    }
}

fn not_started(error: DriverError) -> SpawnError {
    let reason = crate::chain(&error);
    match error {
        DriverError::Start { source, .. } => match source.kind() {
            // Too many processes, or no memory: later perhaps.
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::OutOfMemory => {
                SpawnError::Unavailable { reason }
            }
            _ => SpawnError::Unusable { reason },
        },
        DriverError::UnknownKey
        | DriverError::Refused(_)
        | DriverError::Lost
        | DriverError::Failed { .. } => SpawnError::Unavailable { reason },
    }
}
