//! Names and numbers that identify things, each with its one printed form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The name of a service: 1 to 40 of `a-z`, `0-9` and `-`, beginning with a letter
/// and not ending with `-`. It is in the key of everything: a copy costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServiceName(Arc<str>);

/// Why a text is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: 1 to 40 of a-z, 0-9 and -, beginning with a letter, not ending with -")]
pub struct NameError(pub String);

impl ServiceName {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// [`NameError`] when the text breaks the rule stated on the type.
    pub fn try_new(name: &str) -> Result<Self, NameError> {
        let inner = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let edges = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
        if inner && edges && name.len() <= 40 {
            Ok(Self(name.into()))
        } else {
            Err(NameError(name.to_owned()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::try_new(&name)
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a release within its service, printed `v1`, `v2`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReleaseId(pub u32);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for ReleaseId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.strip_prefix('v').and_then(|n| n.parse().ok());
        number
            .map(ReleaseId)
            .ok_or_else(|| NameError(text.to_owned()))
    }
}

/// One running copy of a release, printed `web-v42-7`.
///
/// `serial` grows for the life of the service and is never given twice, so the
/// printed form is also the key under which the supervisor knows the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceId {
    /// The service it belongs to.
    pub service: ServiceName,
    /// The release it runs.
    pub release: ReleaseId,
    /// Its number within the service.
    pub serial: u32,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.service, self.release, self.serial)
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (rest, serial) = text.rsplit_once('-')?;
            let (service, release) = rest.rsplit_once('-')?;
            Some(Self {
                service: ServiceName::try_new(service).ok()?,
                release: release.parse().ok()?,
                serial: serial.parse().ok()?,
            })
        };
        parse().ok_or_else(|| NameError(text.to_owned()))
    }
}

/// The number of a rollout, unique and growing within one state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RolloutId(pub u64);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who owns a rollout's effects: each worker that takes control gets a greater one,
/// and nothing of a smaller one is written or acted on any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The number of a published table; a greater one replaces a smaller one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_id_survives_its_printed_form() {
        let id = InstanceId {
            service: ServiceName::try_new("web-api").unwrap(),
            release: ReleaseId(42),
            serial: 7,
        };
        assert_eq!(id.to_string(), "web-api-v42-7");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn names_outside_the_rule_are_refused() {
        for bad in [
            "",
            "Web",
            "9web",
            "-web",
            "web-",
            "we b",
            "wéb",
            &"w".repeat(41),
        ] {
            assert!(ServiceName::try_new(bad).is_err(), "{bad}");
        }
    }
}
