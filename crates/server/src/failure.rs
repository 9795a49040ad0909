//! Errors as responses, and bodies as values.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use control::api::{Code, Failure};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// The largest body that is read whole.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A failure as a response.
pub(crate) struct Refused {
    failure: Failure,
    audited: bool,
}

/// Marks a response whose refusal control has not heard of.
#[derive(Debug, Clone)]
pub(crate) struct Unaudited(pub(crate) Failure);

impl Refused {
    /// A refusal made here, before control heard of the command.
    pub(crate) fn here(failure: Failure) -> Self {
        Self {
            failure,
            audited: false,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            audited: true,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.failure.code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self.failure)).into_response();
        if !self.audited {
            response.extensions_mut().insert(Unaudited(self.failure));
        }
        response
    }
}

/// A body read whole, at most [`BODY_BYTES_MAX`].
pub(crate) struct Whole(pub(crate) Vec<u8>);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let limited = Limited::new(request.into_body(), BODY_BYTES_MAX);
        match limited.collect().await {
            Ok(body) => Ok(Self(body.to_bytes().into())),
            Err(error) if error.is::<LengthLimitError>() => {
                let text = format!("the body is longer than {BODY_BYTES_MAX} bytes");
                Err(Refused::here(Failure::new(Code::TooLarge, text)))
            }
            Err(error) => {
                let failure = Failure::new(Code::Invalid, "the body did not arrive whole");
                Err(Refused::here(failure.with_cause(error.to_string())))
            }
        }
    }
}

/// A body as JSON; an empty one is `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let Whole(bytes) = Whole::from_request(request, state).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            let failure = Failure::new(Code::Invalid, "the body is not what was expected");
            Refused::here(failure.with_cause(error.to_string()))
        })
    }
}

/// Reads a part of a path or query, or says what is wrong with it.
pub(crate) fn parsed<T>(text: &str, what: &str) -> Result<T, Refused>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        let failure = Failure::new(Code::Invalid, format!("`{text}` is no {what}"));
        Refused::here(failure.with_cause(error.to_string()))
    })
}

/// Reads a service's name.
pub(crate) fn service(text: &str) -> Result<model::ServiceName, Refused> {
    model::ServiceName::try_new(text)
        .map_err(|error| Refused::here(Failure::new(Code::Invalid, error.to_string())))
}
