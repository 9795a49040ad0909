//! The frame of every rollout: begun once, ended once, in the right order, for good reasons.

use model::{
    InstanceId, JobKind, OnFail, OnNoData, Outcome, ReleaseId, RolloutId, RolloutKind, ServiceName,
    Share, Strategy,
};
use rollout::Ended;

use traffic::Table;

use super::{Model, Roll, Rule};

impl Model {
    /// The account of a rollout is begun (perhaps once more, by another worker).
    pub(crate) fn opened(&mut self, id: RolloutId) {
        let Some(roll) = self.rollouts.get_mut(&id) else {
            return;
        };
        if roll.closed.is_some() {
            let seen = format!("rollout {id} is begun again after its end");
            return self.violate(Rule::ReceiptFrames, seen);
        }
        roll.announced = true;
    }

    /// The begin of a rollout is decided; `table` is what is routed from then on.
    pub(super) fn begun(&mut self, id: RolloutId, service: &ServiceName, table: Option<&Table>) {
        let Some(roll) = self.rollouts.get_mut(&id) else {
            let seen = format!("rollout {id} of {service} was never asked for");
            return self.violate(Rule::ReceiptFrames, seen);
        };
        if roll.amnesty && roll.closed.is_some() {
            // Its end could not be written down, and the worker that knew it is gone.
            roll.closed = None;
            roll.end_written = None;
            if let Some(known) = self.services.get_mut(service) {
                known.open = Some(id);
                known.left = None;
            }
        }
        let roll = self.rollouts.get(&id);
        if roll.is_some_and(|roll| !roll.begin_written) {
            self.check_turn(id, service);
            self.begin(id, service, table);
        }
    }

    /// Nothing else may run, and what it waits for must have completed.
    fn check_turn(&mut self, id: RolloutId, service: &ServiceName) {
        let open = self.open_roll(service);
        let open = open.filter(|(other, roll)| *other != id && roll.end_written.is_none());
        if let Some((other, _)) = open {
            let seen = format!("{service}: rollout {id} begins while {other} runs");
            self.violate(Rule::OneRollout, seen);
        }
        let after = self.rollouts.get(&id).map(|roll| roll.after.clone());
        for other in after.unwrap_or_default() {
            let ended = self.rollouts.get(&other).and_then(|roll| roll.end_written);
            if ended != Some(Outcome::Completed) {
                let seen = format!(
                    "rollout {id} begins, but {other}, which comes first, did not complete"
                );
                self.violate(Rule::BeginsInOrder, seen);
            }
        }
        let left = self.services.get(service);
        let left = left.is_some_and(|known| known.left.is_some() || known.unsure);
        if self.is_split(service) && !left {
            let seen = format!("{service}: rollout {id} begins while traffic is split");
            self.violate(Rule::SupersedesInOrder, seen);
        }
    }

    /// Whether the newest table gives another release than the stable one a part.
    fn is_split(&self, service: &ServiceName) -> bool {
        let routed = self.newest.services.iter().find(|s| s.name == *service);
        routed.is_some_and(|s| s.candidate.is_some() && s.share > Share::NONE)
    }

    /// Whether the release that the rest of the traffic goes to has a ready instance.
    fn stable_serves(&self, service: &ServiceName) -> bool {
        let routed = self.newest.services.iter().find(|s| s.name == *service);
        let stable = routed.map(|s| s.stable.endpoints.as_slice());
        stable.unwrap_or_default().iter().any(|endpoint| {
            let known = self.instances.get(&endpoint.instance);
            known.is_some_and(|known| known.healthy.is_some() && !known.exit_heard)
        })
    }

    fn begin(&mut self, id: RolloutId, service: &ServiceName, table: Option<&Table>) {
        let (now, lives) = (self.now, self.lives);
        let routed = self.newest.services.iter().find(|s| s.name == *service);
        let ready = self.stable_serves(service);
        let next = table.and_then(|table| table.services.iter().find(|s| s.name == *service));
        // A rollout that begins by stopping the old release takes it out of its first table.
        let sides = [next.map(|table| &table.stable), routed.map(most_served)];
        let serving = sides
            .into_iter()
            .flatten()
            .find(|side| !side.endpoints.is_empty())
            .map(|side| side.release);
        let Some(known) = self.services.get_mut(service) else {
            return;
        };
        let failed = known.left.take();
        let left = failed.is_some();
        // Where nothing of either side is ready, the first table names the one that it began from,
        // or the newest one where there is none: that one was never started.
        let to = self.rollouts.get(&id).map(|roll| roll.to);
        let named = next.filter(|_| left).map(|table| table.stable.release);
        let is_of = |i: &InstanceId, named| i.service == *service && i.release == named;
        let ran = |named: &ReleaseId| self.written.iter().any(|i| is_of(i, *named));
        let serving = serving.or(named.filter(|named| Some(*named) != to && ran(named)));
        // Without a table, nobody but the engine knows how far the return had come.
        let failed = failed.and_then(|failed| self.rollouts.get(&failed));
        known.unsure |= serving.is_none() && failed.is_some_and(|failed| failed.return_failed);
        if left && serving.is_some() && serving != known.active {
            known.previous = known.active;
            known.active = serving;
            known.stopped = false;
        }
        known.open = Some(id);
        known.wanted_changed = now;
        let policy = known.policy.as_ref().map(|policy| policy.replicas);
        let facts = to.and_then(|to| known.releases.get(&to));
        let has_port = facts.is_some_and(|facts| facts.has_port);
        let (active, stopped, scaled) = (known.active, known.stopped, known.scaled);
        if let Some(roll) = self.rollouts.get_mut(&id) {
            roll.opened = Some(now);
            roll.begin_written = true;
            roll.begun_in = lives;
            roll.running_since = now;
            let asked = roll.policy.replicas;
            roll.replicas = scaled.filter(|_| policy == Some(asked)).unwrap_or(asked);
            if stopped {
                roll.from_replicas = 0;
            }
            roll.from_ready = ready;
            roll.has_port = has_port;
            roll.from = active;
            if left {
                // It begins from whatever serves.
                roll.from = serving.or(active);
                roll.amnesty = true;
            }
        }
    }

    /// The account of a rollout is ended.
    pub(crate) fn closed(&mut self, id: RolloutId, ended: &Ended) {
        let Some(roll) = self.rollouts.get_mut(&id) else {
            // The answer that named it was lost with its worker.
            return;
        };
        if let Some(before) = roll.closed {
            if before != ended.outcome && !roll.amnesty {
                let seen = format!("rollout {id} ended as {before}, then as {}", ended.outcome);
                self.violate(Rule::ReceiptFrames, seen);
            }
            return;
        }
        roll.closed = Some(ended.outcome);
        roll.return_failed = ended.reason.contains("the return failed");
        let service = roll.service.clone();
        let broken = roll.end_fault(id, ended);
        let (to, begun, alone) = (roll.to, roll.opened.is_some(), roll.alone);
        // The worker that decided its begin may have died before it said so.
        let same = roll.begun_in == self.lives;
        if begun && !roll.announced && !roll.amnesty && same {
            let seen = format!("rollout {id} ends and its begin was not said");
            self.violate(Rule::ReceiptFrames, seen);
        }
        if let Some((rule, seen)) = broken {
            self.violate(rule, seen);
        }
        if begun {
            self.check_returned(id, &service, ended);
            self.end(&service, (id, to), ended);
            if alone && ended.outcome == Outcome::Superseded {
                // The next begins from what serves.
                if let Some(known) = self.services.get_mut(&service) {
                    known.previous = known.active;
                    known.active = Some(to);
                    known.stopped = false;
                }
            }
            self.check_completed(id, ended);
        } else if ended.outcome == Outcome::Completed {
            let seen = format!("rollout {id} completed without having begun");
            self.violate(Rule::ReceiptFrames, seen);
        }
        self.check_partners(id);
    }

    fn end(&mut self, service: &ServiceName, which: (RolloutId, model::ReleaseId), ended: &Ended) {
        let (id, to) = which;
        let now = self.now;
        let ending = self.ending;
        let Some(known) = self.services.get_mut(service) else {
            return;
        };
        if known.open == Some(id) {
            known.open = None;
        }
        known.wanted_changed = now;
        match ended.outcome {
            Outcome::Completed => {
                known.stopped = false;
                if known.active != Some(to) {
                    known.previous = known.active;
                }
                known.active = Some(to);
            }
            Outcome::Failed if !ending && !ended.reason.contains("the server was stopped") => {
                known.left = Some(id);
            }
            Outcome::Failed | Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => {}
        }
    }

    /// Where there was an old release, it has everything again.
    fn check_returned(&mut self, id: RolloutId, service: &ServiceName, ended: &Ended) {
        let returned = match ended.outcome {
            Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => true,
            Outcome::Completed | Outcome::Failed => false,
        };
        let roll = self.rollouts.get(&id);
        let sure = roll.is_some_and(|roll| roll.from.is_some() && !roll.amnesty) && !self.ending;
        if returned && sure && self.is_split(service) {
            let seen = format!(
                "rollout {id} ends as {}, and traffic is split",
                ended.outcome
            );
            self.violate(Rule::ReturnsWholly, seen);
        }
    }

    /// What completes must be able to serve and have been measured well where that was asked.
    fn check_completed(&mut self, id: RolloutId, ended: &Ended) {
        let Some(roll) = self.rollouts.get(&id) else {
            return;
        };
        let facts = self.facts(&roll.service, roll.to);
        let hopeless = facts.is_some_and(|facts| facts.hopeless);
        let completed = ended.outcome == Outcome::Completed && roll.from != Some(roll.to);
        let broken = if !completed || roll.amnesty {
            None
        } else if hopeless {
            Some((Rule::BadNeverCompletes, "it can never become ready"))
        } else if roll.bad && !roll.promoted && roll.policy.rollout.on_fail == OnFail::Rollback {
            Some((Rule::BadNeverCompletes, "its figures were bad"))
        } else if roll.lacks_data() {
            Some((Rule::NoDataNoPass, "it was never measured"))
        } else {
            None
        };
        if let Some((rule, why)) = broken {
            let seen = format!("rollout {id} completed, but {why}");
            self.violate(rule, seen);
        }
    }

    /// Partners in lockstep end alike, as long as they can.
    fn check_partners(&mut self, id: RolloutId) {
        let Some(roll) = self.rollouts.get(&id) else {
            return;
        };
        let completed = roll.closed == Some(Outcome::Completed);
        if completed && roll.must_return && !roll.amnesty {
            let seen = format!("rollout {id} completed after a partner of it had ended otherwise");
            self.violate(Rule::EndsTogether, seen);
        } else if !completed {
            for partner in roll.partners.clone() {
                let partner = self.rollouts.get_mut(&partner);
                if let Some(partner) = partner.filter(|p| p.closed.is_none() && !p.passed_all()) {
                    partner.must_return = true;
                }
            }
        }
    }

    /// A job is ordered (perhaps once more).
    pub(crate) fn job_ordered(&mut self, id: RolloutId, job: JobKind) {
        let Some(roll) = self.rollouts.get_mut(&id) else {
            return;
        };
        let closed = roll.closed.is_some() || roll.opened.is_none();
        let early = job == JobKind::After && !roll.had_all();
        roll.jobs.entry(job).or_insert(None);
        if closed || (early && !roll.amnesty) {
            let seen = format!("rollout {id}: job `{job}` is run out of its place");
            self.violate(Rule::JobsRunOnce, seen);
        }
    }

    /// The end of a job reached the engine.
    pub(crate) fn job_ended(&mut self, id: RolloutId, job: JobKind, passed: bool) {
        if let Some(roll) = self.rollouts.get_mut(&id) {
            let end = roll.jobs.entry(job).or_insert(None);
            end.get_or_insert(passed);
        }
    }
}

impl Roll {
    fn end_fault(&self, id: RolloutId, ended: &Ended) -> Option<(Rule, String)> {
        if self.amnesty {
            return None;
        }
        let completed = ended.outcome == Outcome::Completed;
        let failed_job = self.jobs.values().any(|passed| *passed == Some(false));
        if completed && self.aborted.is_some() {
            Some((
                Rule::AbortWins,
                format!("rollout {id} completed after an abort"),
            ))
        } else if completed && self.shrunk {
            let seen = format!("rollout {id} completed after it had turned back");
            Some((Rule::ShareOnlyGrows, seen))
        } else if completed && self.held.is_some() {
            Some((
                Rule::HoldHolds,
                format!("rollout {id} completed while held"),
            ))
        } else if self.held.is_some() && ended.reason.starts_with("no progress for") {
            let seen = format!(
                "rollout {id} missed its deadline while held: {}",
                ended.reason
            );
            Some((Rule::HeldTimeIsFree, seen))
        } else if completed && failed_job {
            let seen = format!("rollout {id} completed after a failed job");
            Some((Rule::JobsRunOnce, seen))
        } else if ended.outcome == Outcome::Aborted
            && self.aborted.is_none()
            && self.opened.is_some()
        {
            // The server's own end aborts, too; see `Model::closed`.
            let by_server = ended.reason.contains("the server");
            let seen = format!("rollout {id} ended as aborted, but nobody aborted it");
            (!by_server).then_some((Rule::AbortWins, seen))
        } else {
            None
        }
    }

    /// Whether it should have waited for figures that it never had.
    fn lacks_data(&self) -> bool {
        let rollout = &self.policy.rollout;
        let asks = self.kind == RolloutKind::Deploy
            && self.from.is_some()
            && self.from_ready
            && rollout.on_no_data == OnNoData::Hold
            && !self.promoted
            && !self.superseded;
        let watched = match &rollout.strategy {
            Strategy::Canary { .. } => true,
            Strategy::BlueGreen(blue) => !blue.keep.is_zero(),
            Strategy::Rolling { .. } | Strategy::Recreate => false,
        };
        let unmeasured = watched && !rollout.checks.is_empty() && !self.measured;
        asks && (unmeasured || self.lacks_comparison())
    }

    /// Whether this job, if there is one, has passed.
    pub(super) fn job_done(&self, job: JobKind) -> bool {
        let rollout = &self.policy.rollout;
        let wanted = match job {
            JobKind::Expand => false,
            JobKind::Before => rollout.before.is_some(),
            JobKind::After => rollout.after.is_some(),
            JobKind::Smoke => match &rollout.strategy {
                Strategy::BlueGreen(blue) => blue.smoke.is_some() && self.from.is_some(),
                Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::Recreate => false,
            },
        };
        let asked = wanted && self.kind == RolloutKind::Deploy && !self.amnesty;
        !asked || self.jobs.get(&job) == Some(&Some(true))
    }

    /// Whether it may have let the old release go.
    fn passed_all(&self) -> bool {
        let mut shares = self.shares.iter();
        !self.has_port || shares.any(|(share, _)| *share == Share::ALL)
    }

    /// Whether the new release had everything at some time, if there is anything to have.
    fn had_all(&self) -> bool {
        let mut shares = self.shares.iter();
        self.shares.is_empty() || shares.any(|(share, _)| *share == Share::ALL)
    }
}

/// The side of a table that has most of the traffic.
fn most_served(table: &traffic::ServiceTable) -> &traffic::Candidate {
    match &table.candidate {
        Some(candidate) if table.share > table.share.rest() => candidate,
        Some(_) | None => &table.stable,
    }
}
