//! Workers come, die and take each other's place.

use engine::{Engine, Event};
use model::{Epoch, Time};

use super::{Due, Job, World};
use crate::check::Rule;

impl World<'_> {
    pub(crate) fn start_worker(&mut self) {
        self.epoch += 1;
        let entries = self.planted.entries(self.disk.entries());
        let epoch = Epoch(self.planted.epoch(self.epoch));
        let engine = if entries.is_empty() {
            Ok(Engine::new(epoch))
        } else {
            Engine::recover(&entries, epoch, Time(self.now))
        };
        self.model.new_worker(self.disk.owes);
        self.say(|| "a worker starts".to_owned());
        match engine {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => return self.model.violate(Rule::RecoversSame, error.to_string()),
        }
        self.proxy.join(self.epoch, self.schedule.setup.threads);
        // A fresh supervisor has nothing, and what was routed before leads nowhere.
        if self.fresh {
            self.tell(Event::Children(Vec::new()), true);
        } else {
            self.tell(Event::Tick, true);
        }
        if self.terminating {
            self.tell(Event::Terminate, true);
        }
    }

    /// The worker in control dies.
    pub(crate) fn kill_worker(&mut self) {
        if self.engine.take().is_some() {
            self.tally.count("worker killed");
            self.say(|| "the worker dies".to_owned());
            self.proxy.leave(self.epoch);
            self.inbox.clear();
            self.weather.kill_in = None;
            let wait = self.rng.pick(&[5, 60, 800]);
            self.later(wait, Due::StartWorker);
        }
    }

    /// A new worker takes over; the old one drains.
    pub(crate) fn upgrade(&mut self) {
        if self.engine.take().is_some() {
            self.tally.count("worker upgraded");
            self.inbox.clear();
            let worker = self.epoch;
            let wait = self.rng.within(100, 9_000);
            self.later(wait, Due::Leave { worker });
            self.start_worker();
        }
    }

    /// Power fails, or the whole server is started again.
    pub(crate) fn power_loss(&mut self) {
        self.say(|| "everything stops".to_owned());
        self.engine = None;
        self.inbox.clear();
        self.proxy.clear();
        self.processes.clear();
        self.terminating = false;
        self.fresh = true;
        for job in self.jobs.values_mut().filter(|job| **job == Job::Running) {
            *job = Job::Lost;
        }
        self.model.power_lost();
        self.later(100, Due::StartWorker);
    }
}
