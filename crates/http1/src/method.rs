//! Methods and versions.

use crate::limits::METHOD_BYTES_MAX;
use crate::refusal::Refusal;

/// A version of HTTP that the codec speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    pub(crate) fn of(minor: u8) -> Result<Self, Refusal> {
        match minor {
            0 => Ok(Self::Http10),
            1 => Ok(Self::Http11),
            _ => Err(Refusal::Version),
        }
    }
}

/// A request's method. CONNECT is refused, and so is TRACE: its answer would show a client's
/// script the cookies and the fields that the proxy adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: its response has no body.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// PATCH.
    Patch,
    /// Any other token; its name is [`RequestHead::method_name`](crate::RequestHead::method_name).
    Other,
}

impl Method {
    pub(crate) fn parse(name: &str) -> Result<Self, Refusal> {
        match name {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            "DELETE" => Ok(Self::Delete),
            "OPTIONS" => Ok(Self::Options),
            "PATCH" => Ok(Self::Patch),
            name if name.len() > METHOD_BYTES_MAX || is_refused(name) => Err(Refusal::Method),
            _ => Ok(Self::Other),
        }
    }

    /// True if doing it twice has the effect of doing it once, so that it may be sent again.
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options => true,
            Self::Post | Self::Patch | Self::Other => false,
        }
    }
}

/// Methods are case-sensitive, but no program should be left to judge a lower-case one.
fn is_refused(name: &str) -> bool {
    ["CONNECT", "TRACE"]
        .iter()
        .any(|refused| name.eq_ignore_ascii_case(refused))
}
