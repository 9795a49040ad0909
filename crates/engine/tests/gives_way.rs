//! A deploy that takes another's place never leaves users with a release that is dead.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{Effect, Engine, Event};
use fleet::{Exit, ProbeResult};
use model::{
    Argv, Command, Deploy, Digest, Epoch, Health, InstanceId, Outcome, Port, Probe, ReleaseId,
    RolloutId, Share, Time,
};
use rollout::Ended;
use traffic::ServiceTable;

use support::{deploy, name, service};

/// A world that does at once what it is told; jobs never end.
struct World {
    engine: Engine,
    now: u64,
    /// How many instances of a release become ready; all of those that are not here.
    ready_max: BTreeMap<ReleaseId, usize>,
    ready: Vec<InstanceId>,
    /// Every table of the service, in order.
    tables: Vec<ServiceTable>,
    ended: BTreeMap<RolloutId, Ended>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(Epoch(1)),
            now: 1_000,
            ready_max: BTreeMap::new(),
            ready: Vec::new(),
            tables: Vec::new(),
            ended: BTreeMap::new(),
        };
        world.hear(Event::Children(Vec::new()));
        world
    }

    fn hear(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.engine.poll(event, Time(self.now)) {
                events.extend(self.carry_out(effect));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Journal { batch, .. } => Some(Event::Journaled { batch }),
            Effect::Spawn(spawn) => Some(Event::Spawned {
                instance: spawn.instance,
                result: Ok(()),
            }),
            Effect::Probe { instance } => Some(self.probed(instance)),
            Effect::Publish { table, .. } => {
                self.tables.extend(table.services);
                Some(Event::Confirmed {
                    revision: table.revision,
                })
            }
            Effect::CloseReceipt { rollout, ended } => {
                self.ended.insert(rollout, ended);
                None
            }
            _ => None,
        }
    }

    fn probed(&mut self, instance: InstanceId) -> Event {
        let release = instance.release;
        let own = self.ready.iter().filter(|one| one.release == release);
        let has_room = self
            .ready_max
            .get(&release)
            .is_none_or(|max| own.count() < *max);
        let result = if self.ready.contains(&instance) {
            ProbeResult::Passed
        } else if has_room {
            self.ready.push(instance.clone());
            ProbeResult::Passed
        } else {
            ProbeResult::Failed("connection refused".to_owned())
        };
        Event::Probed { instance, result }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 20;
            self.hear(Event::Tick);
        }
    }

    /// Every ready instance of the release dies, and none becomes ready again.
    fn die(&mut self, release: ReleaseId) {
        self.ready_max.insert(release, 0);
        let (dead, left) = self.ready.drain(..).partition(|one| one.release == release);
        self.ready = left;
        let dead: Vec<InstanceId> = dead;
        for instance in dead {
            self.hear(Event::Exited {
                instance,
                exit: Exit::Code(1),
            });
        }
    }

    fn order(&mut self, command: Command) {
        self.hear(Event::Command { id: 1, command });
    }
}

/// A deploy of `web` whose rollout waits for a job at its end.
fn release(id: u32) -> Deploy {
    let mut web = service("web", Port::Assigned);
    web.policy.replicas = 2;
    web.policy.rollout.after = (id > 1).then(|| Argv(vec!["verify".to_owned()]));
    let release = web.release.as_mut().unwrap();
    release.id = ReleaseId(id);
    release.digest = Digest::try_new(&id.to_string().repeat(64)).unwrap();
    release.spec.health = Some(Health {
        probe: Probe::Tcp,
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 3,
    });
    deploy(vec![web])
}

/// How many endpoints requests can be given to.
fn reachable(table: &ServiceTable) -> usize {
    let (stable, candidate) = (&table.stable, table.candidate.as_ref());
    let kept = candidate.is_none() || table.share < Share::ALL;
    let split = candidate.filter(|_| table.share > Share::NONE);
    stable.endpoints.iter().filter(|_| kept).count() + split.map_or(0, |side| side.endpoints.len())
}

#[test]
fn what_is_returned_to_and_dies_hands_over_to_the_deploy_that_waits() {
    let mut world = World::new();
    world.order(Command::Deploy(release(1)));
    world.run(1_000);
    assert_eq!(world.ended[&RolloutId(1)].outcome, Outcome::Completed);
    world.die(ReleaseId(1));
    world.order(Command::Deploy(release(2)));
    world.run(5_000);
    // One of two returns: v1 takes back a half.
    world.ready_max.insert(ReleaseId(1), 1);
    world.order(Command::Abort {
        service: name("web"),
    });
    world.run(120_000);
    let split = world.tables.last().unwrap();
    assert_eq!(split.share.basis_points(), 5_000, "{split:?}");
    world.order(Command::Deploy(Deploy {
        supersede: true,
        ..release(3)
    }));
    assert!(!world.ended.contains_key(&RolloutId(2)), "v1 can take over");
    let before = world.tables.len();
    world.die(ReleaseId(1));
    world.run(1_000);
    let after = &world.tables[before..];
    assert!(!after.is_empty());
    for table in after {
        assert!(reachable(table) > 0, "{table:?}");
    }
    let ended = &world.ended[&RolloutId(2)];
    assert_eq!(ended.outcome, Outcome::Superseded);
    assert!(ended.reason.contains("v2, which serves alone"), "{ended:?}");
}
