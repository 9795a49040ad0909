//! Shadows: copies of requests for a release whose answers reach nobody.

use serde::{Deserialize, Serialize};

use crate::{RolloutId, Share};

/// One shadow of one rollout: evidence of another one says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShadowKey {
    /// The rollout that wants it.
    pub rollout: RolloutId,
    /// Its step, from 1.
    pub step: u32,
    /// How often the evidence was thrown away: a person resumed after a failure.
    pub round: u32,
}

/// Copies of the old release's requests go to the new one, and nobody gets its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The share of the old release's requests that are copied.
    pub share: Share,
    /// The methods of the requests that are copied, in upper case.
    pub methods: Vec<String>,
    /// The most bytes of a body that are kept: of a request's, and of an answer's that is compared.
    pub body_bytes_max: u64,
    /// How answers are compared; `None`: they are thrown away.
    pub compare: Option<Compare>,
}

/// How the answers of both releases to the same request are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Headers that are compared beside status and body, in lower case.
    pub headers: Vec<String>,
    /// Fields that may differ, with all below them, as the report names them.
    pub ignore: Vec<String>,
    /// So many requests must have been compared before the new release may go on.
    pub samples: u64,
    /// The share of them that may differ.
    pub at_most: Share,
}

/// What came of a rollout's shadows; it is no part of any other figure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowAccount {
    /// Copies that were sent, and what was answered, by release.
    pub by_release: std::collections::BTreeMap<String, crate::ByRelease>,
    /// Requests that were drawn and not copied, by reason.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// What the comparisons found, by step.
    pub compared: Vec<Compared>,
}

impl ShadowAccount {
    /// Whether there was no shadow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_release.is_empty() && self.dropped.is_empty() && self.compared.is_empty()
    }
}

/// What the comparisons of one step found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The step, from 1.
    pub step: u32,
    /// Requests whose three answers were compared.
    pub compared: u64,
    /// Those of them in which the new release differs from the old one by more than noise.
    pub differing: u64,
    /// Requests that the old release did not answer twice; they say nothing.
    pub incomplete: u64,
    /// Where they differ, what differs most often first.
    pub differences: Vec<Difference>,
    /// So many more fields differ that are not listed.
    pub unlisted: u64,
    /// Fields in which the old release's own answers differ as much, and which are not judged.
    pub noisy: u64,
}

/// A field in which the new release's answers differ from the old one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The requests: method and path, in which numbers and ids are `{}`.
    pub route: String,
    /// The field: `status`, `header NAME`, `body.items[].price`, `answer`.
    pub field: String,
    /// What differs about it.
    pub kind: DifferenceKind,
    /// So many requests differ in it.
    pub requests: u64,
    /// Of so many with this route.
    pub of: u64,
    /// In so many the old release's own answers differ in it.
    pub noise: u64,
    /// One of the old answers: kinds and lengths, no content.
    pub old: String,
    /// The new answer to the same request.
    pub new: String,
}

/// What differs about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It is there, or of this type, in one and not in the other.
    Shape,
    /// Its value.
    Value,
}

impl std::fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shape => "shape",
            Self::Value => "value",
        })
    }
}
