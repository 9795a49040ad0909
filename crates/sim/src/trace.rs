//! Events and effects in a line each, for people who read a failed life.

use engine::{Effect, Event};
use model::InstanceId;
use traffic::{Candidate, Table};

/// An event.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Children(children) => {
            let one = |child: &fleet::Child| match child.exit {
                Some(exit) => format!("{} ({exit:?})", child.instance),
                None => child.instance.to_string(),
            };
            format!("children: {}", list(children.iter().map(one)))
        }
        Event::Command { id, command } => {
            format!("command {id}: {}", short(&format!("{command:?}")))
        }
        Event::Spawned { instance, result } => match result {
            Ok(()) => format!("spawned {instance}"),
            Err(error) => format!("not spawned {instance}: {error:?}"),
        },
        Event::Exited { instance, exit } => format!("exited {instance}: {exit:?}"),
        Event::Probed { instance, result } => format!("probed {instance}: {result:?}"),
        Event::Open(counts) => {
            let one = |(id, open): (&InstanceId, &u64)| format!("{id}: {open}");
            format!("open {}", list(counts.iter().map(one)))
        }
        Event::Measured {
            rollout,
            comparison,
        } => {
            let (old, new) = (comparison.old, comparison.new);
            format!(
                "measured {rollout} since {}: old {} of {} failed, new {} of {}",
                comparison.since.0, old.failures, old.requests, new.failures, new.requests
            )
        }
        Event::Tick
        | Event::Journaled { .. }
        | Event::JournalFailed { .. }
        | Event::Confirmed { .. }
        | Event::JobEnded { .. }
        | Event::Contracted { .. }
        | Event::SchemaSeen { .. }
        | Event::Pruned { .. }
        | Event::Terminate => format!("{event:?}"),
    }
}

/// An effect.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Journal {
            batch,
            entries,
            if_refused,
            ..
        } => {
            let one = |(key, text): (&String, &Option<String>)| match text {
                Some(_) => key.clone(),
                None => format!("-{key}"),
            };
            let entries = list(entries.iter().map(one));
            format!("journal {batch}, else {if_refused:?}: {entries}")
        }
        Effect::Spawn(spawn) => {
            let (port, cell) = (spawn.port, spawn.cell.0);
            format!("spawn {}, port {port:?}, cell {cell}", spawn.instance)
        }
        Effect::Probe { instance } => format!("probe {instance}"),
        Effect::Signal { instance, signal } => format!("signal {instance}: {signal:?}"),
        Effect::Cut { instance } => format!("cut {instance}"),
        Effect::Forget { instance } => format!("forget {instance}"),
        Effect::Publish {
            table: published, ..
        } => table(published),
        Effect::CountOpen { instances } => {
            format!(
                "count open at {}",
                list(instances.iter().map(ToString::to_string))
            )
        }
        Effect::Note { service, text, .. } => format!("note {service}: {text}"),
        Effect::Reply { id, result } => match result {
            Ok(rollouts) => {
                let one =
                    |(name, id): (&model::ServiceName, &model::RolloutId)| format!("{name}: {id}");
                format!("reply {id}: rollouts [{}]", list(rollouts.iter().map(one)))
            }
            Err(refusal) => format!("reply {id}: refused: {refusal}"),
        },
        Effect::CloseReceipt { rollout, ended } => {
            format!("close {rollout}: {}: {}", ended.outcome, ended.reason)
        }
        Effect::Measure { .. }
        | Effect::RunJob { .. }
        | Effect::Contract { .. }
        | Effect::Observe
        | Effect::OpenReceipt { .. }
        | Effect::Terminated => short(&format!("{effect:?}")),
    }
}

fn table(table: &Table) -> String {
    let side = |side: &Candidate| {
        let serials = side.endpoints.iter();
        let serials = serials.map(|endpoint| endpoint.instance.serial.to_string());
        format!("{} [{}]", side.release, list(serials))
    };
    let service = |service: &traffic::ServiceTable| match &service.candidate {
        Some(candidate) => format!(
            "{}: {}, {} to {}",
            service.name,
            side(&service.stable),
            service.share,
            side(candidate)
        ),
        None => format!("{}: {}", service.name, side(&service.stable)),
    };
    let service = |own: &traffic::ServiceTable| match &own.shadow {
        Some(shadow) => format!("{}, copies to {}", service(own), side(&shadow.target)),
        None => service(own),
    };
    let services = list(table.services.iter().map(service));
    format!("publish {}: {services}", table.revision)
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
