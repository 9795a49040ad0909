//! What a configuration may hold: one table per section, the only place that names its keys.

mod database;
mod drain;
mod endpoint_limits;
mod hedge;
mod https;
mod project;
mod rollout;
mod service;

pub(crate) use project::PROJECT;
pub(crate) use rollout::ROLLOUT;
pub(crate) use service::SERVICE;

use crate::form::Form;

/// The keys that may stand together in one table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// What the table is about.
    pub(crate) description: &'static str,
    /// Its keys, in the order in which they are explained.
    pub(crate) fields: &'static [Field],
    /// Groups of keys: of each, exactly one must be there.
    pub(crate) one_of: &'static [&'static [&'static str]],
}

impl Section {
    /// The declaration of a key.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether one of its values may be a secret that was written by mistake.
    pub(crate) fn holds_secrets(&self) -> bool {
        let mut kinds = self.fields.iter().map(|field| field.kind);
        kinds.any(|kind| matches!(kind, Kind::Text(form) if form.is_secret))
    }

    /// The names of all keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }
}

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Field {
    /// The key as written.
    pub(crate) name: &'static str,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// What holds when it is not there.
    pub(crate) presence: Presence,
    /// What it means, as a sentence.
    pub(crate) description: &'static str,
    /// The strategies it belongs to; none: any.
    pub(crate) strategies: &'static [StrategyName],
    /// The key beside it without which it has no meaning.
    pub(crate) needs: Option<&'static str>,
    /// Whether it has a meaning only for a service that takes requests.
    pub(crate) traffic: bool,
    /// What a service must speak for it to have a meaning; `None`: anything.
    pub(crate) speech: Option<Speech>,
}

/// What a service's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// HTTP.
    Http,
    /// Whatever they like, over TCP.
    Tcp,
}

impl Field {
    /// The strategies it belongs to, in words; `None`: any.
    pub(crate) fn owners(&self) -> Option<String> {
        let names: Vec<&str> = self.strategies.iter().map(|own| own.as_str()).collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(format!("strategy {one}")),
            [most @ .., last] => Some(format!("strategies {} and {last}", most.join(", "))),
        }
    }

    const fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            kind,
            presence: Presence::Optional("not set"),
            description,
            strategies: &[],
            needs: None,
            traffic: false,
            speech: None,
        }
    }

    /// Must be there; `example` is a value in TOML.
    const fn required(self, example: &'static str) -> Self {
        Self {
            presence: Presence::Required { example },
            ..self
        }
    }

    /// Has this value, in TOML, when it is not there.
    const fn default(self, value: &'static str) -> Self {
        Self {
            presence: Presence::Default(value),
            ..self
        }
    }

    /// Has no value when it is not there, which means `meaning`.
    const fn optional(self, meaning: &'static str) -> Self {
        Self {
            presence: Presence::Optional(meaning),
            ..self
        }
    }

    const fn needs(self, key: &'static str) -> Self {
        Self {
            needs: Some(key),
            ..self
        }
    }

    const fn traffic(self) -> Self {
        Self {
            traffic: true,
            ..self
        }
    }

    /// Has a meaning only where clients speak this.
    const fn spoken(self, speech: Speech) -> Self {
        Self {
            traffic: true,
            speech: Some(speech),
            ..self
        }
    }

    const fn only(self, strategies: &'static [StrategyName]) -> Self {
        Self { strategies, ..self }
    }
}

/// What holds when a key is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    /// That is a mistake.
    Required {
        /// A value in TOML to show in the hint.
        example: &'static str,
    },
    /// This value in TOML.
    Default(&'static str),
    /// Nothing, which means this.
    Optional(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// `true`, and nothing else.
    Present,
    /// A whole number, both bounds included.
    Whole { min: u64, max: u64 },
    /// A number with at most `places` decimals; bounds in units of the last place.
    Decimal { places: u32, min: u64, max: u64 },
    /// A string of a form.
    Text(&'static Form),
    /// A list of such strings, without repetition.
    List(&'static Form),
    /// A table of strings with keys of a form.
    Map(&'static Form),
    /// A whole number, or a percentage as string.
    Count,
    /// `false` or the number of a port.
    Port,
    /// A command line as a string, or as a list of its words.
    Command,
    /// A table.
    Table(&'static Section),
    /// A string of a form that stands for all keys of a table, or that table.
    Either(&'static Form, &'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// Services by their names, at least one.
    Services(&'static Section),
    /// Databases by their names.
    Databases(&'static Section),
}

impl Kind {
    /// Whether what is written in its stead may be a secret.
    pub(crate) fn is_secret(self) -> bool {
        match self {
            Self::Text(form) | Self::List(form) => form.is_secret,
            Self::Flag
            | Self::Present
            | Self::Whole { .. }
            | Self::Decimal { .. }
            | Self::Map(_)
            | Self::Count
            | Self::Port
            | Self::Command
            | Self::Table(_)
            | Self::Either(..)
            | Self::Tables(_)
            | Self::Services(_)
            | Self::Databases(_) => false,
        }
    }
}

/// A strategy without its knobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrategyName {
    Rolling,
    BlueGreen,
    Canary,
    Recreate,
}

impl StrategyName {
    /// As written in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue_green",
            Self::Canary => "canary",
            Self::Recreate => "recreate",
        }
    }
}

/// Every section with the header under which a user finds it.
pub(crate) const HEADERS: &[(&str, &Section)] = &[
    ("the top of the file", &PROJECT),
    ("[server]", &project::SERVER),
    ("access_log", &project::ACCESS_LOG),
    ("tls", &https::TLS),
    ("a certificate", &https::CERTIFICATE),
    ("[database.NAME]", &database::DATABASE),
    ("contract", &database::CONTRACT),
    ("[service.NAME]", &SERVICE),
    ("health", &service::HEALTH),
    ("drain", &drain::DRAIN),
    ("stop", &service::STOP),
    ("limits", &service::LIMITS),
    ("proxy", &service::PROXY),
    ("https", &https::HTTPS),
    ("program_tls", &https::PROGRAM_TLS),
    ("ejection", &service::EJECTION),
    ("deadline of proxy", &service::DEADLINE),
    ("hedge", &hedge::HEDGE),
    ("limits of proxy", &endpoint_limits::ENDPOINT_LIMITS),
    ("queue", &endpoint_limits::QUEUE),
    ("[service.NAME.rollout]", &ROLLOUT),
    ("a step", &rollout::STEP),
    ("a check", &rollout::CHECK),
    ("an audience", &rollout::AUDIENCE),
    ("a shadow", &rollout::SHADOW),
    ("a comparison", &rollout::COMPARE),
    ("preview", &rollout::PREVIEW),
];
