//! Pauses and maintenance, as the world sees them: tables, answers, and what a next worker knows.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{Effect, Engine, Event, ServiceStatus};
use model::{Command, Epoch, Maintenance, PAUSE_MAX, Page, Port, Refusal, Time};
use traffic::ServiceTable;

use support::{deploy, name, service};

const SECOND: u64 = 1_000;

struct World {
    engine: Engine,
    now: u64,
    journal: BTreeMap<String, String>,
    table: Option<ServiceTable>,
    /// How long a worker that leaves may have to stay.
    drain: Duration,
    answers: Vec<Result<(), Refusal>>,
}

impl World {
    /// A server whose service `web` is on its way, with `worker` beside it.
    fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(Epoch(1)),
            now: SECOND,
            journal: BTreeMap::new(),
            table: None,
            drain: Duration::ZERO,
            answers: Vec::new(),
        };
        world.hear(Event::Children(Vec::new()));
        let deploy = deploy(vec![
            service("web", Port::Assigned),
            service("worker", Port::None),
        ]);
        assert_eq!(world.order(Command::Deploy(deploy)), Ok(()));
        world
    }

    fn hear(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.engine.poll(event, Time(self.now)) {
                self.note(effect, &mut events);
            }
        }
    }

    fn note(&mut self, effect: Effect, events: &mut Vec<Event>) {
        if let Effect::Journal { batch, entries, .. } = effect {
            for (key, text) in entries {
                match text {
                    Some(text) => self.journal.insert(key, text),
                    None => self.journal.remove(&key),
                };
            }
            events.push(Event::Journaled { batch });
        } else if let Effect::Publish { table, .. } = effect {
            self.drain = table.drain;
            let mut services = table.services.into_iter();
            self.table = services.find(|service| service.name == name("web"));
        } else if let Effect::Reply { result, .. } = effect {
            self.answers.push(result.map(|_| ()));
        }
    }

    fn order(&mut self, command: Command) -> Result<(), Refusal> {
        self.hear(Event::Command { id: 1, command });
        self.answers.pop().expect("every command is answered")
    }

    fn pause(&mut self, lasts: Duration) -> Result<(), Refusal> {
        let service = name("web");
        self.order(Command::Pause { service, lasts })
    }

    fn at(&mut self, now: u64) {
        self.now = now;
        self.hear(Event::Tick);
    }

    /// The worker dies, and the next one takes over.
    fn next_worker(&mut self) {
        self.engine = Engine::recover(&self.journal, Epoch(2), Time(self.now)).unwrap();
        self.table = None;
        self.hear(Event::Tick);
    }

    fn held_until(&self) -> Option<u64> {
        let paused = self.table.as_ref().unwrap().paused;
        paused.map(|paused| paused.until.0)
    }

    fn web(&self) -> ServiceStatus {
        let services = self.engine.status(Time(self.now)).services;
        services
            .into_iter()
            .find(|s| s.name == name("web"))
            .unwrap()
    }
}

fn reason(answer: Result<(), Refusal>) -> String {
    answer.unwrap_err().to_string()
}

#[test]
fn tables_say_how_long_what_is_open_may_take() {
    let mut world = World::new();
    // Every change of the service is one more table.
    assert_eq!(world.pause(Duration::from_secs(5)), Ok(()));
    assert_eq!(world.drain, Duration::from_secs(1));
    // A second each to drain and to stop, and five for threads that confirm nothing.
    assert_eq!(world.engine.ending_within(), Duration::from_secs(7));
}

#[test]
fn a_pause_is_in_the_table_until_its_time_is_over() {
    let mut world = World::new();
    assert_eq!(world.pause(Duration::from_secs(5)), Ok(()));
    assert_eq!(world.held_until(), Some(6 * SECOND));
    assert_eq!(world.web().pause.unwrap().left_ms, 5 * SECOND);
    world.at(6 * SECOND - 1);
    assert_eq!(world.held_until(), Some(6 * SECOND));
    assert!(world.engine.wake() <= Some(Time(6 * SECOND)));
    world.at(6 * SECOND);
    assert_eq!((world.held_until(), world.web().pause), (None, None));
}

#[test]
fn the_next_worker_goes_on_with_what_is_left_of_a_pause() {
    let mut world = World::new();
    assert_eq!(world.pause(Duration::from_secs(5)), Ok(()));
    world.now = 3 * SECOND;
    world.next_worker();
    assert_eq!(world.held_until(), Some(6 * SECOND));
    world.hear(Event::Children(Vec::new()));
    assert_eq!(world.web().pause.unwrap().left_ms, 3 * SECOND);
    world.at(6 * SECOND);
    assert_eq!(world.held_until(), None);
}

#[test]
fn however_often_it_is_asked_for_a_pause_has_an_end() {
    let mut world = World::new();
    let refused = reason(world.pause(PAUSE_MAX + Duration::from_millis(1)));
    assert!(refused.contains("at most 60 s"), "{refused}");
    assert!(world.pause(Duration::ZERO).is_err());
    assert_eq!(world.held_until(), None);
    assert_eq!(world.pause(PAUSE_MAX), Ok(()));
    world.at(20 * SECOND);
    assert!(world.pause(Duration::from_secs(42)).is_err());
    assert_eq!(world.pause(Duration::from_secs(2)), Ok(()));
    assert_eq!(world.held_until(), Some(22 * SECOND));
}

#[test]
fn resume_ends_a_pause_unless_a_held_rollout_could_be_meant() {
    let mut world = World::new();
    let service = name("web");
    assert_eq!(world.pause(Duration::from_secs(50)), Ok(()));
    let resume = Command::Resume {
        service: service.clone(),
    };
    assert_eq!(world.order(resume.clone()), Ok(()));
    assert_eq!(world.held_until(), None);
    assert_eq!(world.pause(Duration::from_secs(50)), Ok(()));
    let hold = Command::Hold {
        service: service.clone(),
    };
    assert_eq!(world.order(hold), Ok(()));
    let refused = reason(world.order(resume.clone()));
    assert!(refused.contains("pause web --end"), "{refused}");
    let end = Command::PauseEnd { service };
    assert_eq!(world.order(end.clone()), Ok(()));
    assert_eq!(world.order(resume), Ok(()));
    assert!(reason(world.order(end)).contains("not paused"));
}

#[test]
fn without_a_port_there_is_nothing_to_hold_and_unknown_services_are_named() {
    let mut world = World::new();
    let lasts = Duration::from_secs(1);
    for (service, told) in [("worker", "no port"), ("shop", "no service `shop`")] {
        let service = name(service);
        let refused = reason(world.order(Command::Pause { service, lasts }));
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_pause_ends_with_the_server() {
    let mut world = World::new();
    assert_eq!(world.pause(Duration::from_secs(50)), Ok(()));
    world.hear(Event::Terminate);
    assert_eq!(world.held_until(), None);
}

#[test]
fn a_closed_service_stays_closed_until_it_is_opened() {
    let mut world = World::new();
    let service = name("web");
    let close = |retry_after_seconds, body: &str| Command::Close {
        service: name("web"),
        maintenance: Maintenance {
            retry_after_seconds,
            page: Some(Page {
                content_type: "text/html".to_owned(),
                body: body.to_owned(),
            }),
            pass: None,
        },
    };
    assert!(reason(world.order(close(0, "soon"))).contains("1 s to 1 day"));
    assert_eq!(world.order(close(60, "soon")), Ok(()));
    world.at(90_000 * SECOND);
    world.next_worker();
    let closed = world.table.as_ref().unwrap().closed.clone().unwrap();
    assert_eq!(closed.maintenance.page.unwrap().body, "soon");
    world.hear(Event::Children(Vec::new()));
    assert_eq!(world.web().closed.unwrap().page_bytes, 4);
    let open = Command::Open { service };
    assert_eq!(world.order(open.clone()), Ok(()));
    assert_eq!(world.table.as_ref().unwrap().closed, None);
    assert!(reason(world.order(open)).contains("not closed"));
}
