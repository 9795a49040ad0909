//! One life as data: what there is, and what happens to it when.
//!
//! Everything that a schedule does on purpose is an item of a list, so that a failing one can
//! be made smaller by leaving items out.

use crate::policy::{self, Draft, Setup};
use crate::rng::Rng;

/// One whole life: at least one rollout, one fault, then everything heals.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The seed of everything that is left to chance.
    pub seed: u64,
    pub(crate) setup: Setup,
    /// In the order of their times.
    pub(crate) items: Vec<Item>,
}

/// Something that happens at a time.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Milliseconds after the begin.
    pub(crate) at: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A person says something.
    Ask(Ask),
    /// Something breaks.
    Fault(Fault),
}

/// What a person says; services and instances are numbers that find their meaning then.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Deploy(Box<DeployAsk>),
    Promote { service: usize, full: bool },
    Hold { service: usize },
    Resume { service: usize },
    Approve { service: usize },
    Abort { service: usize },
    Rollback { service: usize, back: Option<u32> },
    Scale { service: usize, replicas: u32 },
    Restart { service: usize },
    Drain { service: usize, nth: usize },
    Stop { service: usize },
    Pause { service: usize, lasts: u64 },
    PauseEnd { service: usize },
    Close { service: usize },
    Open { service: usize },
}

/// One deploy.
#[derive(Debug, Clone)]
pub(crate) struct DeployAsk {
    pub(crate) services: Vec<(usize, Draft)>,
    pub(crate) supersede: bool,
}

/// Something that breaks; what lasts ends at the latest when everything heals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The worker dies before or after its so many-th effect from now.
    KillWorker { effects: u64, after: bool },
    /// A new worker takes over; the old one serves on for a while.
    Upgrade,
    /// The journal cannot be written.
    DiskFull { lasts: u64 },
    /// A proxy thread takes no table.
    ThreadHangs { thread: usize, lasts: u64 },
    /// Answers are lost, doubled and late.
    Lossy { lasts: u64 },
    /// A process ends unasked.
    Crash { nth: usize },
    /// A process answers no probe.
    Hang { nth: usize, lasts: u64 },
    /// Nothing can be started.
    NoStarts { lasts: u64 },
    /// Strangers have the ports.
    Strangers { lasts: u64 },
    /// No figures come.
    NoFigures { lasts: u64 },
    /// The machine slept.
    ClockJumps { by: u64 },
    /// Power fails: everything but the journal is gone.
    PowerLoss,
    /// The server is told to end, and is started again.
    Terminate,
}

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let setup = policy::setup(&mut rng);
        let mut items = vec![Item {
            at: 0,
            what: What::Ask(first_deploy(&mut rng, &setup)),
        }];
        let spacing = rng.pick(&[300, 800, 2_000, 5_000]);
        let mut at = rng.within(100, 1_500);
        for _ in 0..rng.within(3, 9) {
            let what = if rng.percent(45) {
                What::Fault(fault(&mut rng))
            } else {
                What::Ask(ask(&mut rng, &setup))
            };
            items.push(Item { at, what });
            at += rng.within(0, spacing);
        }
        let what = What::Fault(fault(&mut rng));
        let at = rng.within(0, at);
        items.push(Item { at, what });
        let deploys = items.iter().filter(|item| is_deploy(item)).count();
        if deploys < 2 {
            let what = What::Ask(deploy(&mut rng, &setup));
            let at = rng.within(500, 3_000);
            items.push(Item { at, what });
        }
        items.sort_by_key(|item| item.at);
        Self { seed, setup, items }
    }

    /// When the last item happens.
    pub(crate) fn end(&self) -> u64 {
        self.items.iter().map(|item| item.at).max().unwrap_or(0)
    }

    /// The same without one item.
    pub(crate) fn without(&self, index: usize) -> Self {
        let mut items = self.items.clone();
        items.remove(index);
        Self {
            items,
            ..self.clone()
        }
    }
}

fn is_deploy(item: &Item) -> bool {
    matches!(&item.what, What::Ask(Ask::Deploy(_)))
}

fn first_deploy(rng: &mut Rng, setup: &Setup) -> Ask {
    let mut services = Vec::new();
    for service in 0..setup.services.len() {
        let mut draft = policy::draft(rng, &setup.services[service]);
        if rng.percent(90) {
            draft.quality = crate::policy::Quality::Good;
        }
        services.push((service, draft));
    }
    Ask::Deploy(Box::new(DeployAsk {
        services,
        supersede: false,
    }))
}

fn deploy(rng: &mut Rng, setup: &Setup) -> Ask {
    let mut services = Vec::new();
    let all = rng.percent(50);
    let one = rng.below(setup.services.len() as u64) as usize;
    for service in 0..setup.services.len() {
        if all || service == one {
            services.push((service, policy::draft(rng, &setup.services[service])));
        }
    }
    Ask::Deploy(Box::new(DeployAsk {
        services,
        supersede: rng.percent(40),
    }))
}

fn ask(rng: &mut Rng, setup: &Setup) -> Ask {
    let service = rng.below(setup.services.len() as u64) as usize;
    match rng.below(104) {
        0..=34 => deploy(rng, setup),
        35..=46 => Ask::Promote {
            service,
            full: rng.percent(40),
        },
        47..=52 => Ask::Hold { service },
        53..=56 => Ask::Resume { service },
        57..=62 => Ask::Approve { service },
        63..=73 => Ask::Abort { service },
        74..=81 => Ask::Rollback {
            service,
            back: rng.percent(30).then(|| rng.within(1, 4) as u32),
        },
        82..=87 => Ask::Scale {
            service,
            replicas: rng.within(1, 5) as u32,
        },
        88..=91 => Ask::Restart { service },
        92..=93 => Ask::Drain {
            service,
            nth: rng.below(6) as usize,
        },
        94..=96 => Ask::Pause {
            service,
            lasts: rng.pick(&[300, 2_000, 9_000, 60_000, 61_000]),
        },
        97 => Ask::PauseEnd { service },
        98..=99 => Ask::Close { service },
        100..=101 => Ask::Open { service },
        _ => Ask::Stop { service },
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let lasts = rng.pick(&[200, 1_000, 4_000, 9_000, 20_000]);
    match rng.below(100) {
        0..=24 => Fault::KillWorker {
            effects: rng.below(30),
            after: rng.percent(50),
        },
        25..=29 => Fault::Upgrade,
        30..=38 => Fault::DiskFull { lasts },
        39..=45 => Fault::ThreadHangs {
            thread: rng.below(4) as usize,
            lasts,
        },
        46..=54 => Fault::Lossy { lasts },
        55..=68 => Fault::Crash {
            nth: rng.below(8) as usize,
        },
        69..=75 => Fault::Hang {
            nth: rng.below(8) as usize,
            lasts,
        },
        76..=79 => Fault::NoStarts { lasts },
        80..=82 => Fault::Strangers { lasts },
        83..=88 => Fault::NoFigures { lasts },
        89..=93 => Fault::ClockJumps {
            by: rng.pick(&[500, 5_000, 60_000, 3_600_000]),
        },
        94..=96 => Fault::PowerLoss,
        _ => Fault::Terminate,
    }
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillWorker { .. } => "kill worker",
            Self::Upgrade => "upgrade",
            Self::DiskFull { .. } => "disk full",
            Self::ThreadHangs { .. } => "thread hangs",
            Self::Lossy { .. } => "lossy",
            Self::Crash { .. } => "crash",
            Self::Hang { .. } => "hang",
            Self::NoStarts { .. } => "no starts",
            Self::Strangers { .. } => "strangers",
            Self::NoFigures { .. } => "no figures",
            Self::ClockJumps { .. } => "clock jumps",
            Self::PowerLoss => "power loss",
            Self::Terminate => "terminate",
        }
    }
}
