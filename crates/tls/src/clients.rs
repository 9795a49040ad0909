//! Whom clients' certificates are believed from, and who they say the client is.

use std::path::Path;
use std::sync::Arc;

use model::{ClientCertificates, Demand};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::certificate::{LoadError, Stamp, authorities};

/// The longest subject that is told.
const SUBJECT_BYTES_MAX: usize = 2 * 1024;

/// What clients must show.
#[derive(Debug, Clone)]
pub struct Clients {
    stamp: Stamp,
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// Reads the authorities that may have issued clients' certificates.
    ///
    /// # Errors
    ///
    /// The [`LoadError`] says what is wrong with the file.
    pub fn load(wanted: &ClientCertificates) -> Result<Self, LoadError> {
        let stamp = Self::stamp(wanted);
        let path = Path::new(&wanted.ca);
        let roots = Arc::new(authorities(path)?);
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let builder = match wanted.demand {
            Demand::Required => builder,
            Demand::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| LoadError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { stamp, verifier })
    }

    /// True if the file has changed since it was read.
    #[must_use]
    pub fn is_stale(&self, wanted: &ClientCertificates) -> bool {
        self.stamp != Self::stamp(wanted)
    }

    /// The same, taken for what the file says now.
    #[must_use]
    pub fn kept(self, wanted: &ClientCertificates) -> Self {
        Self {
            stamp: Self::stamp(wanted),
            ..self
        }
    }

    fn stamp(wanted: &ClientCertificates) -> Stamp {
        Stamp::of_paths(std::iter::once(&wanted.ca))
    }
}

/// The subject of a certificate as RFC 4514 writes it, `CN=alice,O=Shop`, in printable ASCII.
///
/// Whatever could be taken for the end of a value is escaped. `None` for a subject that is
/// empty or longer than 2 KiB, and for what is no certificate.
#[must_use]
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names: Vec<String> = Vec::new();
    for name in parsed.subject().iter() {
        let attributes: Vec<String> = name.iter().map(attribute).collect();
        names.push(attributes.join("+"));
    }
    names.reverse();
    let subject = names.join(",");
    (1..=SUBJECT_BYTES_MAX)
        .contains(&subject.len())
        .then_some(subject)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = kind(attribute.attr_type());
    match attribute.as_str() {
        Ok(text) => format!("{kind}={}", escaped(text)),
        Err(_) => {
            let bytes = attribute.as_slice().iter();
            let digits: String = bytes.map(|byte| format!("{byte:02x}")).collect();
            format!("{kind}=#{digits}")
        }
    }
}

/// The short name of an attribute, else its number.
fn kind(oid: &Oid<'_>) -> String {
    oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = at == 0 || at == last;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if is_edge => out.push_str("\\20"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out
}
