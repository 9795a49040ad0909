//! Trailer sections: checked when they end, and what of them is sent on.

use crate::body::BodyError;
use crate::field::{self, CLIENT_SUBJECT, FieldKind};
use crate::limits::HEADERS_MAX;

/// Checks a whole trailer section, its empty line included.
///
/// Framing in a trailer is an attack or a grave error, so it is refused rather than dropped.
pub(crate) fn check(section: &[u8]) -> Result<(), BodyError> {
    each(section, |_, _, kind| match kind {
        FieldKind::ContentLength | FieldKind::TransferEncoding => Err(BodyError::Trailer),
        FieldKind::Host
        | FieldKind::Connection
        | FieldKind::Upgrade
        | FieldKind::Expect
        | FieldKind::Cookie
        | FieldKind::ForwardedFor
        | FieldKind::Forwarded
        | FieldKind::ForwardedOther
        | FieldKind::HopByHop
        | FieldKind::Underscore
        | FieldKind::EndToEnd => Ok(()),
    })
}

/// Appends the fields of a checked section that may be sent on, and the empty line.
pub(crate) fn write(section: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
    each(section, |name, value, kind| {
        if kind == FieldKind::EndToEnd && !belongs_in_head(name) {
            field::write(out, name, value);
        }
        Ok(())
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn each(
    section: &[u8],
    mut visit: impl FnMut(&[u8], &[u8], FieldKind) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    if section.is_empty() || section == b"\r\n" {
        return Ok(());
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let parsed = httparse::parse_headers(section, &mut headers).map_err(|_| BodyError::Trailer)?;
    let httparse::Status::Complete((bytes, fields)) = parsed else {
        return Err(BodyError::Trailer);
    };
    if bytes != section.len() {
        return Err(BodyError::Trailer);
    }
    fields.iter().try_for_each(|header| {
        let name = header.name.as_bytes();
        visit(name, header.value, field::classify(name))
    })
}

/// True for a field that controls, routes, authenticates or describes the message: a recipient
/// that merged it from a trailer would change its mind about what it has already acted on.
fn belongs_in_head(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 18] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"date",
        b"expires",
        b"location",
        b"max-forwards",
        b"pragma",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"range",
        b"set-cookie",
        b"trailer",
        b"www-authenticate",
        CLIENT_SUBJECT.as_bytes(),
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
