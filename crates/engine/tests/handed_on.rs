//! What a worker leaves undone, the next one does, however often workers die.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::{Effect, Engine, Event};
use fleet::Child;
use model::{Argv, Command, Deploy, Epoch, InstanceId, Port, RolloutId, Time};

use support::{deploy, service};

/// A world that does at once what it is told; jobs never end.
struct World {
    engine: Engine,
    now: u64,
    journal: BTreeMap<String, String>,
    runs: BTreeSet<InstanceId>,
    open: u64,
    /// What the worker did, but for its journal.
    done: Vec<Effect>,
    /// Whether workers die as soon as they have written something.
    deadly: bool,
    /// Whether proxy threads take in what is published.
    confirms: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(Epoch(1)),
            now: 1_000,
            journal: BTreeMap::new(),
            runs: BTreeSet::new(),
            open: 0,
            done: Vec::new(),
            deadly: false,
            confirms: true,
        };
        world.hear(Event::Children(Vec::new()));
        world.order(release());
        world
    }

    fn order(&mut self, deploy: Deploy) {
        let command = Command::Deploy(deploy);
        self.hear(Event::Command { id: 1, command });
    }

    fn hear(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.engine.poll(event, Time(self.now)) {
                let writes = matches!(effect, Effect::Journal { .. });
                match self.carry_out(effect) {
                    // What was written is the next event.
                    Some(written) if writes => events.push_front(written),
                    happens => events.extend(happens),
                }
                if writes && self.deadly {
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        self.done.push(effect.clone());
        match effect {
            Effect::Journal { batch, entries, .. } => {
                for (key, text) in entries {
                    match text {
                        Some(text) => self.journal.insert(key, text),
                        None => self.journal.remove(&key),
                    };
                }
                Some(Event::Journaled { batch })
            }
            Effect::Spawn(spawn) => {
                self.runs.insert(spawn.instance.clone());
                let (instance, result) = (spawn.instance, Ok(()));
                Some(Event::Spawned { instance, result })
            }
            Effect::Publish { table, .. } if self.confirms => {
                let revision = table.revision;
                Some(Event::Confirmed { revision })
            }
            Effect::CountOpen { instances } => {
                let open = |instance| (instance, self.open);
                Some(Event::Open(instances.into_iter().map(open).collect()))
            }
            _ => None,
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 20;
            self.hear(Event::Tick);
        }
    }

    /// The worker is dead, and the next one hears what runs.
    fn next_worker(&mut self, epoch: u64) {
        self.engine = Engine::recover(&self.journal, Epoch(epoch), Time(self.now)).unwrap();
        self.see();
    }

    /// What runs becomes known.
    fn see(&mut self) {
        let child = |instance: &InstanceId| Child {
            instance: instance.clone(),
            exit: None,
        };
        let children = self.runs.iter().map(child).collect();
        self.hear(Event::Children(children));
    }

    fn closed(&self) -> BTreeSet<RolloutId> {
        let closed = self.done.iter().filter_map(|effect| match effect {
            Effect::CloseReceipt { rollout, .. } => Some(*rollout),
            _ => None,
        });
        closed.collect()
    }

    fn signalled(&self) -> bool {
        let mut done = self.done.iter();
        done.any(|effect| matches!(effect, Effect::Signal { .. }))
    }
}

/// A deploy of `web` whose rollout waits for a job at its end.
fn release() -> Deploy {
    let mut web = service("web", Port::Assigned);
    web.policy.rollout.after = Some(Argv(vec!["verify".to_owned()]));
    deploy(vec![web])
}

#[test]
fn ends_are_said_although_each_worker_dies_before_it_says_them() {
    let mut world = World::new();
    world.run(1_000);
    world.deadly = true;
    world.order(Deploy {
        supersede: true,
        ..release()
    });
    assert!(world.closed().is_empty(), "it died first");
    for epoch in 2..5 {
        world.next_worker(epoch);
    }
    world.deadly = false;
    world.next_worker(5);
    world.run(100);
    let both = BTreeSet::from([RolloutId(1), RolloutId(2)]);
    assert_eq!(world.closed(), both);
}

#[test]
fn the_end_waits_for_threads_from_the_table_on_that_takes_them_out() {
    let mut world = World::new();
    world.run(1_000);
    // It is told to end and hears what runs much later.
    world.engine = Engine::recover(&world.journal, Epoch(2), Time(world.now)).unwrap();
    world.hear(Event::Terminate);
    world.now += 60_000;
    (world.open, world.confirms) = (1, false);
    world.done.clear();
    world.see();
    world.run(4_000);
    assert!(!world.signalled(), "threads have not let go of it yet");
    world.run(10_000);
    assert!(
        world.signalled(),
        "threads that hang do not hold up the end"
    );
}
