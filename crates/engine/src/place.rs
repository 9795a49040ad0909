//! Ports and cells: who has which, and when they may be given out again.

use std::collections::BTreeSet;

use fleet::InstanceState;
use model::{InstanceId, Port, Revision};
use traffic::Cell;

use crate::batch::Batch;
use crate::state::{Placed, Published, Server, Service, State};
use crate::{Effect, Spawn};

/// Cells of endpoints that the ledger has.
const CELLS: u32 = 4096;
/// Cells of services that the ledger has.
pub(crate) const SERVICES: u32 = 256;

/// How long what is on its way out is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until every proxy thread has confirmed a table without it.
    Confirmed,
    /// Until that could be written down, too: the next worker must not route to it again, and
    /// not give its port to another before it knows.
    Written,
    /// Until the newest table is one without it, and no longer: the server ends, and a thread
    /// hangs.
    None,
}

impl Patience {
    /// Whether nobody routes any more to what the table `routed` had last.
    fn is_free(self, routed: Revision, published: &Published) -> bool {
        let never = routed == Revision::default();
        match self {
            Self::Confirmed => never || routed < published.confirmed,
            Self::Written => false,
            Self::None => never || routed < published.revision(),
        }
    }
}

/// The lowest cell that no service has; `None` when there are too many services.
pub(crate) fn service_cell(state: &State) -> Option<u32> {
    let used: BTreeSet<u32> = state.services.values().map(|s| s.core.cell).collect();
    (0..SERVICES).find(|cell| !used.contains(cell))
}

/// Gives every ordered instance its port and cell, and orders those whose port has come free.
///
/// An instance that cannot have a port now waits for one; the others are started.
pub(crate) fn settle(state: &mut State, patience: Patience, batch: &mut Batch) {
    free(state, patience, batch);
    let mut starts: Vec<InstanceId> = Vec::new();
    batch.acts.retain(|effect| match effect {
        Effect::Spawn(spawn) => {
            starts.push(spawn.instance.clone());
            false
        }
        Effect::Journal { .. }
        | Effect::Probe { .. }
        | Effect::Signal { .. }
        | Effect::Cut { .. }
        | Effect::Forget { .. }
        | Effect::Publish { .. }
        | Effect::CountOpen { .. }
        | Effect::Measure { .. }
        | Effect::RunJob { .. }
        | Effect::Contract { .. }
        | Effect::Observe
        | Effect::OpenReceipt { .. }
        | Effect::CloseReceipt { .. }
        | Effect::Reply { .. }
        | Effect::Note { .. }
        | Effect::Terminated => true,
    });
    for service in state.services.values() {
        let waits = |id: &InstanceId| service.places.get(id).is_some_and(|p| p.waits_for_port);
        if service.places.values().any(|place| place.waits_for_port) {
            let ordered = |state| matches!(state, InstanceState::Ordered { .. });
            let views = service.fleet.views().into_iter();
            let waiting = views.filter(|view| ordered(view.state) && waits(&view.instance));
            starts.extend(waiting.map(|view| view.instance));
        }
    }
    for instance in starts {
        start(state, &instance, batch);
    }
}

fn start(state: &mut State, instance: &InstanceId, batch: &mut Batch) {
    let known = place_of(state, instance).filter(|place| !place.waits_for_port);
    let placed = known.or_else(|| find(state, instance));
    let revision = state.published.revision();
    let Some(service) = state.services.get_mut(&instance.service) else {
        return;
    };
    match placed {
        Some(placed) => {
            batch.acts.push(Effect::Spawn(Spawn {
                instance: instance.clone(),
                port: placed.port,
                cell: placed.cell,
                revision,
            }));
            service.places.insert(instance.clone(), placed);
        }
        None => {
            let waits = Placed {
                port: None,
                cell: Cell(u32::MAX),
                routed: Revision::default(),
                waits_for_port: true,
                done: false,
            };
            service.places.insert(instance.clone(), waits);
        }
    }
}

fn place_of(state: &State, instance: &InstanceId) -> Option<Placed> {
    let service = state.services.get(&instance.service)?;
    service.places.get(instance).cloned()
}

/// A port and a cell that nobody else has.
fn find(state: &mut State, instance: &InstanceId) -> Option<Placed> {
    let service = state.services.get(&instance.service)?;
    let wanted = service.releases.get(&instance.release)?.spec.port;
    let placed = || state.services.values().flat_map(|s| s.places.values());
    let cells: BTreeSet<u32> = placed().map(|place| place.cell.0).collect();
    let cell = (0..CELLS).find(|cell| !cells.contains(cell)).map(Cell)?;
    let taken: BTreeSet<u16> = placed().filter_map(|place| place.port).collect();
    let port = match wanted {
        Port::None => None,
        Port::Fixed(port) if taken.contains(&port) => return None,
        Port::Fixed(port) => Some(port),
        Port::Assigned => Some(next_port(state, &taken)?),
    };
    Some(Placed {
        port,
        cell,
        routed: Revision::default(),
        waits_for_port: false,
        done: false,
    })
}

/// The next free port of the range, beginning after the one given out last, so that a port
/// rests as long as possible.
fn next_port(state: &mut State, taken: &BTreeSet<u16>) -> Option<u16> {
    let (first, last) = state.server.ports;
    let releases = state.services.values().flat_map(|s| s.releases.values());
    let fixed: BTreeSet<u16> = releases
        .filter_map(|release| match release.spec.port {
            Port::Fixed(port) => Some(port),
            Port::Assigned | Port::None => None,
        })
        .collect();
    let begin = match state.next_port {
        0 => first_port(&state.server),
        next => next.clamp(first, last),
    };
    let mut round = (begin..=last).chain(first..begin);
    let port = round.find(|port| !taken.contains(port) && !fixed.contains(port))?;
    state.next_port = port.checked_add(1).unwrap_or(first);
    Some(port)
}

/// Where a worker begins to look. Servers beside each other on one machine listen on different
/// addresses, and so do not find each other's ports taken at every start.
fn first_port(server: &Server) -> u16 {
    let (first, last) = server.ports;
    let many = u32::from(last.saturating_sub(first)) + 1;
    let listening = server.http.map_or(0, |http| u32::from(http.port()));
    let offset = listening.wrapping_mul(7_919) % many;
    first.saturating_add(u16::try_from(offset).expect("below the number of ports"))
}

/// Forgets instances that are done with and in no table any more; their ports are free then.
fn free(state: &mut State, patience: Patience, batch: &mut Batch) {
    let published = &state.published;
    for service in state.services.values_mut() {
        service.places.retain(|instance, place| {
            let gone = place.done && patience.is_free(place.routed, published);
            if gone {
                let instance = instance.clone();
                batch.acts.push(Effect::Forget { instance });
            }
            !gone
        });
    }
}

/// Drained instances that every thread has let go of by now.
pub(crate) fn unrouted(
    service: &Service,
    published: &Published,
    patience: Patience,
) -> Vec<InstanceId> {
    let free = |instance: &InstanceId| {
        let routed = service.places.get(instance).map(|place| place.routed);
        patience.is_free(routed.unwrap_or_default(), published)
    };
    service.fleet.routed().filter(free).collect()
}
