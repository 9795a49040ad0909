//! Which lines of a log are asked for: what instances print and what the proxy is asked is
//! asked for in the same words.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use utoipa::IntoParams;

use super::looks::{Pairs, limit};
use crate::failure::{Refused, parsed, service};

/// Lines sent first unless asked for otherwise.
const LINES: u32 = 200;

/// The query as it is described; [`Asked::read`] reads it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query")]
pub(crate) struct LineQuery {
    /// Only this service; may come several times
    service: Option<String>,
    /// Only this release, `v42`
    release: Option<String>,
    /// Only this instance, `web-v42-7`
    instance: Option<String>,
    /// Only the last so many seconds
    since_seconds: Option<u64>,
    /// At most so many of the past, 200 by default
    lines: Option<u32>,
    /// Go on with what comes from now on
    follow: Option<bool>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// Of these services, or of all if there are none.
    pub(super) services: Vec<String>,
    pub(super) release: Option<String>,
    pub(super) instance: Option<String>,
    /// Not older than this time, as lines have it.
    pub(super) since: Option<String>,
    /// So many of the past.
    pub(super) lines: usize,
    /// Then those that come.
    pub(super) follow: bool,
}

impl Asked {
    pub(super) fn read(pairs: &Pairs) -> Result<Self, Refused> {
        let mut asked = Self {
            lines: limit(pairs, "lines", LINES)? as usize,
            ..Self::default()
        };
        for (key, text) in &pairs.0 {
            match key.as_str() {
                "service" => asked.services.push(service(text)?.to_string()),
                "release" => asked.release = Some(text.clone()),
                "instance" => asked.instance = Some(text.clone()),
                "since_seconds" => {
                    asked.since = Some(ago(parsed(text, "number of seconds")?));
                }
                "follow" => asked.follow = parsed(text, "`true` or `false`")?,
                // Others are of a newer client, or read above.
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The time so many seconds ago, as lines have it.
pub(super) fn ago(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let then = now
        .unwrap_or_default()
        .saturating_sub(Duration::from_secs(seconds));
    control::rfc3339(i64::try_from(then.as_millis()).unwrap_or(0))
}
