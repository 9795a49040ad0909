//! Bugs in what the engine understands.

use engine::Event;
use fleet::{Child, ProbeResult};
use model::{Command, JobKind};

use super::{OWN, Plant, Planted};

impl Planted {
    /// What the engine hears instead; `None`: nothing.
    pub(super) fn hear(&mut self, event: Event) -> Option<Event> {
        self.answer = None;
        match event {
            Event::Command { id, command } => self.order(id, command),
            Event::Tick => Some(self.tick()),
            Event::Probed { instance, result } => {
                let result = match result {
                    ProbeResult::Failed(_) if self.is(Plant::ProbesAlwaysPass) => {
                        ProbeResult::Passed
                    }
                    ProbeResult::Passed | ProbeResult::Weighed(_) | ProbeResult::Failed(_) => {
                        result
                    }
                };
                Some(Event::Probed { instance, result })
            }
            Event::Exited { .. } if self.is(Plant::DeafToExits) => None,
            Event::Children(children) if self.is(Plant::DeafToExits) => {
                let deaf = |child: Child| Child {
                    exit: None,
                    ..child
                };
                Some(Event::Children(children.into_iter().map(deaf).collect()))
            }
            Event::Open(counts) if self.is(Plant::CountsNothing) => {
                let nothing = counts.into_keys().map(|id| (id, 0));
                Some(Event::Open(nothing.collect()))
            }
            Event::Measured {
                rollout,
                comparison,
            } => {
                let comparison = self.measured(comparison);
                Some(Event::Measured {
                    rollout,
                    comparison,
                })
            }
            Event::JobEnded {
                rollout,
                job,
                result,
            } => {
                let result = match result {
                    Err(_) if self.is(Plant::JobFailureIgnored) => Ok(()),
                    Ok(()) | Err(_) => result,
                };
                Some(Event::JobEnded {
                    rollout,
                    job,
                    result,
                })
            }
            Event::Children(_)
            | Event::Journaled { .. }
            | Event::JournalFailed { .. }
            | Event::Spawned { .. }
            | Event::Exited { .. }
            | Event::Confirmed { .. }
            | Event::Open(_)
            | Event::Contracted { .. }
            | Event::SchemaSeen { .. }
            | Event::Pruned { .. } => Some(event),
            Event::Terminate => {
                self.ends_now = self.is(Plant::EndsEarly);
                Some(event)
            }
        }
    }

    fn measured(&self, mut comparison: rollout::Comparison) -> rollout::Comparison {
        if self.is(Plant::FiguresAlwaysGood) {
            comparison.new.failures = 0;
        }
        if let (Some((_, figures)), true) =
            (&mut comparison.compared, self.is(Plant::DifferencesIgnored))
        {
            figures.differing = 0;
        }
        if self.is(Plant::DataInvented) {
            comparison.new.requests += 1_000;
            comparison.old.requests += 1_000;
        }
        comparison
    }

    /// What time passing makes the bug do.
    fn tick(&mut self) -> Event {
        if let Some(next) = self.next.take() {
            return next;
        }
        self.ticks += 1;
        let service = self
            .services
            .get(self.ticks as usize % self.services.len().max(1));
        let Some(service) = service.cloned() else {
            return Event::Tick;
        };
        let command = match self.plant {
            Some(Plant::ApprovesItself) => Command::Approve { service },
            Some(Plant::PromotesItself) => Command::Promote {
                service,
                full: true,
            },
            Some(Plant::ResumesItself) => Command::Resume { service },
            Some(_) | None => return Event::Tick,
        };
        Event::Command { id: OWN, command }
    }

    /// The job that was just ordered has passed, says the bug.
    pub(super) fn pass_job(&mut self, rollout: model::RolloutId, job: JobKind) {
        self.next = Some(Event::JobEnded {
            rollout,
            job,
            result: Ok(()),
        });
    }
}
