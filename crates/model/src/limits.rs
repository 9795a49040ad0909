//! The most that the endpoints of a service are given at a time, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most that each endpoint of a service is given at a time, and who waits meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointLimits {
    /// Connections to one endpoint, idle ones included; `None`: not limited.
    pub connections_max: Option<u32>,
    /// Requests open at one endpoint; `None`: not limited.
    pub requests_max: Option<u32>,
    /// Those that wait while every endpoint is full.
    pub queue: Queue,
}

/// Requests that wait for a place at an endpoint, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// How many may wait.
    pub length_max: u32,
    /// How long one may wait.
    pub wait: Duration,
}

/// How long a service's requests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// From an attempt's request sent whole to the first byte of its response; `None`: not limited.
    pub attempt: Option<Duration>,
    /// The whole exchange; `None`: not limited.
    pub total: Option<Duration>,
}
