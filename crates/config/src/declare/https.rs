//! TLS: the server's certificates, and what HTTPS means for a service.

use super::{Field, Kind, Section};
use crate::form::{ABSOLUTE_PATH, DEMAND, DURATION, TLS_NAME};

/// `tls`.
pub(crate) const TLS: Section = Section {
    description: "What the HTTPS listener identifies itself with.",
    fields: &[Field::new(
        "certificates",
        Kind::Tables(&CERTIFICATE),
        "Certificates, chosen by the host that a client asks for; the first is for those that \
         name none.",
    )
    .required("[{ cert = \"/etc/shop/cert.pem\", key = \"/etc/shop/key.pem\" }]"),
    Field::new(
        "client_ca",
        Kind::Text(&ABSOLUTE_PATH),
        "File with the authorities that may have issued clients' certificates, in PEM form, read \
         again whenever it changes. Whose is verified is told to programs in \
         X-Client-Certificate-Subject, which nobody else can send.",
    )
    .optional("clients are not asked who they are"),
    Field::new(
        "client_certificate",
        Kind::Text(&DEMAND),
        "Whether a client without certificate is refused in the handshake (required) or served \
         (optional). One with a wrong certificate is always refused.",
    )
    .default("\"required\"")
    .needs("client_ca")],
    one_of: &[],
};

/// A certificate.
pub(crate) const CERTIFICATE: Section = Section {
    description: "A certificate and its key, read again whenever the files change.",
    fields: &[
        Field::new(
            "cert",
            Kind::Text(&ABSOLUTE_PATH),
            "File with the certificate and those between it and its authority, in PEM form.",
        )
        .required("\"/etc/shop/cert.pem\""),
        Field::new(
            "key",
            Kind::Text(&ABSOLUTE_PATH),
            "File with its private key in PEM form, which nobody but its owner and group may read.",
        )
        .required("\"/etc/shop/key.pem\""),
    ],
    one_of: &[],
};

/// `program_tls`.
pub(crate) const PROGRAM_TLS: Section = Section {
    description: "What a program that speaks over TLS must prove, and what it is shown. The files \
                  are read again whenever they change.",
    fields: &[
        Field::new(
            "ca",
            Kind::Text(&ABSOLUTE_PATH),
            "File with the authorities that may have issued its certificate, in PEM form; a \
             self-signed certificate is its own, and where it calls itself an authority's, only that \
             very certificate is believed.",
        )
        .required("\"/etc/shop/ca.pem\""),
        Field::new(
            "name",
            Kind::Text(&TLS_NAME),
            "Name or address that its certificate must be for, and that it is asked for.",
        )
        .default("\"localhost\""),
        Field::new(
            "cert",
            Kind::Text(&ABSOLUTE_PATH),
            "File with the certificate that the proxy shows when the program asks who connects, in \
             PEM form.",
        )
        .optional("it shows none")
        .needs("key"),
        Field::new(
            "key",
            Kind::Text(&ABSOLUTE_PATH),
            "File with that certificate's private key in PEM form, which nobody but its owner and \
             group may read.",
        )
        .optional("it shows none")
        .needs("cert"),
    ],
    one_of: &[],
};

/// `https`.
pub(crate) const HTTPS: Section = Section {
    description: "What HTTPS means for this service; needs `https` in [server].",
    fields: &[
        Field::new(
            "redirect",
            Kind::Flag,
            "Whether requests over plain HTTP are sent to the HTTPS listener (308).",
        )
        .default("false"),
        Field::new(
            "hsts",
            Kind::Text(&DURATION),
            "How long browsers are told to use nothing but HTTPS.",
        )
        .optional("they are not told"),
        Field::new(
            "client_ca",
            Kind::Text(&ABSOLUTE_PATH),
            "The same as in [server].tls, for clients that ask for this service's hosts, and in its \
             place. Nobody reaches the service on a connection that was asked for anything else.",
        )
        .optional("what [server].tls says"),
        Field::new(
            "client_certificate",
            Kind::Text(&DEMAND),
            "Whether a client without certificate is refused in the handshake (required) or served \
             (optional). One with a wrong certificate is always refused.",
        )
        .default("\"required\"")
        .needs("client_ca"),
    ],
    one_of: &[],
};
