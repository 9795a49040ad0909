//! Many requests: what differs where, and how often, within bounds.

use std::collections::BTreeMap;

use model::{Compared, Difference, DifferenceKind};
use serde::{Deserialize, Serialize};

use super::difference::{Example, Found};

/// Routes that are told apart.
const ROUTES_MAX: usize = 64;
/// Fields that are told apart, over all routes.
const FIELDS_MAX: usize = 512;
/// Fields that a report lists.
const LISTED_MAX: usize = 50;
/// In place of a route or field that there is no more room for.
const OTHER: &str = "(others)";

/// What comparisons have found so far. The order in which requests were added changes nothing
/// as long as there is room for all routes and fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    incomplete: u64,
    routes: BTreeMap<String, Route>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Route {
    compared: u64,
    /// Requests in which any field differs.
    differing: u64,
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Field {
    shape: Counts,
    value: Counts,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// Requests in which the old answers differ.
    noise: u64,
    /// Requests in which the new answer differs from both, and they agree.
    differing: u64,
    example: Option<Example>,
}

/// What a verdict is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests whose three answers were compared.
    pub compared: u64,
    /// Those in which the new release differs by more than noise, at least.
    pub differing: u64,
    /// The field that differs most often, in words.
    pub worst: Option<String>,
}

impl Counts {
    /// Whether it is noise as far as can be told: see the module's head. A field that differs
    /// only in the new answers is none.
    fn is_noise(&self) -> bool {
        self.noise >= self.differing
    }

    fn differs(&self) -> bool {
        self.differing > 0 && !self.is_noise()
    }

    fn merge(&mut self, other: &Self) {
        self.noise += other.noise;
        self.differing += other.differing;
        if self.example.is_none() {
            self.example.clone_from(&other.example);
        }
    }
}

impl Field {
    fn counts(&mut self, kind: DifferenceKind) -> &mut Counts {
        match kind {
            DifferenceKind::Shape => &mut self.shape,
            DifferenceKind::Value => &mut self.value,
        }
    }

    fn both(&self) -> [(DifferenceKind, &Counts); 2] {
        [
            (DifferenceKind::Shape, &self.shape),
            (DifferenceKind::Value, &self.value),
        ]
    }
}

impl Route {
    fn counts(&self) -> impl Iterator<Item = (&str, DifferenceKind, &Counts)> {
        self.fields.iter().flat_map(|(name, field)| {
            let both = field.both().into_iter();
            both.map(move |(kind, counts)| (name.as_str(), kind, counts))
        })
    }

    /// Requests that differ by more than noise. Where some differ in noise only, it is at least
    /// as many as differ in the field that differs most often.
    fn differing(&self) -> u64 {
        let noise = |counts: &Counts| counts.differing > 0 && counts.is_noise();
        if self.counts().any(|(_, _, counts)| noise(counts)) {
            let real = self.counts().filter(|(_, _, counts)| counts.differs());
            real.map(|(_, _, counts)| counts.differing)
                .max()
                .unwrap_or(0)
        } else {
            self.differing
        }
    }
}

impl Tally {
    /// Adds a request of a route; `None`: the old release did not answer it twice.
    pub fn add(&mut self, route: &str, found: Option<&Found>) {
        let Some(found) = found else {
            self.incomplete += 1;
            return;
        };
        let mut room = FIELDS_MAX.saturating_sub(self.fields());
        let route = self.route(route);
        route.compared += 1;
        route.differing += u64::from(!found.differences.is_empty());
        for (name, kind) in &found.noise {
            field(&mut route.fields, name, &mut room)
                .counts(*kind)
                .noise += 1;
        }
        for (name, (kind, example)) in &found.differences {
            let counts = field(&mut route.fields, name, &mut room).counts(*kind);
            counts.differing += 1;
            counts.example.get_or_insert_with(|| example.clone());
        }
    }

    /// Adds what another one has found.
    pub fn merge(&mut self, other: &Self) {
        self.incomplete += other.incomplete;
        for (name, theirs) in &other.routes {
            let mut room = FIELDS_MAX.saturating_sub(self.fields());
            let route = self.route(name);
            route.compared += theirs.compared;
            route.differing += theirs.differing;
            for (name, theirs) in &theirs.fields {
                let own = field(&mut route.fields, name, &mut room);
                own.shape.merge(&theirs.shape);
                own.value.merge(&theirs.value);
            }
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incomplete == 0 && self.routes.is_empty()
    }

    fn fields(&self) -> usize {
        self.routes.values().map(|route| route.fields.len()).sum()
    }

    fn route(&mut self, name: &str) -> &mut Route {
        let is_full = self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(name);
        let name = if is_full { OTHER } else { name };
        self.routes.entry(name.to_owned()).or_default()
    }

    /// What a verdict is made from.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let worst = self.listed().into_iter().next();
        Figures {
            compared: self.routes.values().map(|route| route.compared).sum(),
            differing: self.routes.values().map(Route::differing).sum(),
            worst: worst.map(|worst| {
                format!(
                    "{} of {} of {} in {} ({} instead of {})",
                    worst.requests, worst.of, worst.route, worst.field, worst.new, worst.old
                )
            }),
        }
    }

    /// What is told to people, of the step `step`.
    #[must_use]
    pub fn report(&self, step: u32) -> Compared {
        let figures = self.figures();
        let mut differences = self.listed();
        let unlisted = differences.len().saturating_sub(LISTED_MAX);
        differences.truncate(LISTED_MAX);
        let counts = self.routes.values().flat_map(Route::counts);
        let noisy = counts.filter(|(_, _, counts)| counts.noise > 0 && counts.is_noise());
        Compared {
            step,
            compared: figures.compared,
            differing: figures.differing,
            incomplete: self.incomplete,
            differences,
            unlisted: unlisted as u64,
            noisy: noisy.count() as u64,
        }
    }

    /// Every difference that is no noise, the most frequent first.
    fn listed(&self) -> Vec<Difference> {
        let mut listed = Vec::new();
        for (name, route) in &self.routes {
            for (field, kind, counts) in route.counts().filter(|(_, _, counts)| counts.differs()) {
                let example = counts.example.clone();
                let (old, new) = example.map(|own| (own.old, own.new)).unwrap_or_default();
                listed.push(Difference {
                    route: name.clone(),
                    field: field.to_owned(),
                    kind,
                    requests: counts.differing,
                    of: route.compared,
                    noise: counts.noise,
                    old,
                    new,
                });
            }
        }
        listed.sort_by_key(|one| std::cmp::Reverse(one.requests));
        listed
    }
}

fn field<'a>(
    fields: &'a mut BTreeMap<String, Field>,
    name: &str,
    room: &mut usize,
) -> &'a mut Field {
    if fields.contains_key(name) {
        return fields.entry(name.to_owned()).or_default();
    }
    let name = if *room == 0 { OTHER } else { name };
    *room = room.saturating_sub(1);
    fields.entry(name.to_owned()).or_default()
}
