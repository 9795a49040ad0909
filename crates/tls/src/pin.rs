//! A program's certificate that is believed for its own sake.
//!
//! `openssl req -x509` makes certificates that call themselves an authority's, and such a one
//! proves nothing of a server by the rules of paths. Where exactly it was named as what is
//! believed, there is no path: it is the certificate that was meant, or it is not.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

/// Believes what the rules of paths say, and an authority's certificate that was named itself.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) paths: Arc<WebPkiServerVerifier>,
    pub(crate) named: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// True for one of those that were named, byte by byte, if it calls itself an authority's (all
    /// others were judged by the rules), is for `name` and for servers, and its time is now.
    fn is_meant(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        if !self.named.iter().any(|named| named == shown) {
            return false;
        }
        let is_for_name = ParsedCertificate::try_from(shown)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok());
        let Ok((_, parsed)) = X509Certificate::from_der(shown) else {
            return false;
        };
        let now = i64::try_from(now.as_secs()).ok();
        let now = now.and_then(|now| ASN1Time::from_timestamp(now).ok());
        let is_for_servers = match parsed.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
            Err(_) => false,
        };
        is_for_name
            && is_for_servers
            && parsed.is_ca()
            && now.is_some_and(|now| parsed.validity().is_valid_at(now))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self
            .paths
            .verify_server_cert(shown, others, name, ocsp, now);
        match judged {
            Err(_) if self.is_meant(shown, name, now) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.paths
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.paths
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.paths.supported_verify_schemes()
    }
}
