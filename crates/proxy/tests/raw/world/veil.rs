//! TLS in front of a program, so that programs that speak plainly serve here too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::CertificateFiles;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Program;

/// What is said when the program has said all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// The goodbye of TLS.
    Goodbye,
    /// Nothing: the connection just ends.
    Rude,
}

/// TLS before a program; it ends with the test.
pub(crate) struct Veil {
    pub(crate) address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
}

impl Veil {
    /// How many connections were agreed upon.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }

    pub(crate) fn new(program: &Program, config: ServerConfig) -> Self {
        Self::with(program, config, Manners::Goodbye)
    }

    pub(crate) fn with(program: &Program, config: ServerConfig, manners: Manners) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let (counter, behind) = (Arc::clone(&handshakes), program.address);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                    tokio::spawn(async move {
                        let secured = acceptor.accept(stream).await.ok()?;
                        counter.fetch_add(1, Ordering::SeqCst);
                        let plain = TcpStream::connect(behind).await.ok()?;
                        carry(secured, plain, manners).await.ok()
                    });
                }
            });
        });
        Self {
            address,
            handshakes,
        }
    }
}

async fn carry(
    secured: tokio_rustls::server::TlsStream<TcpStream>,
    plain: TcpStream,
    manners: Manners,
) -> std::io::Result<()> {
    let (mut from_proxy, mut to_proxy) = tokio::io::split(secured);
    let (mut from_program, mut to_program) = plain.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_proxy, &mut to_program).await;
        to_program.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from_program, &mut to_proxy).await?;
        match manners {
            Manners::Goodbye => to_proxy.shutdown().await,
            // The other direction is given up with this one.
            Manners::Rude => Err(std::io::ErrorKind::Other.into()),
        }
    };
    tokio::try_join!(up, down).map(drop)
}

/// How a program with this certificate speaks; `protocols` are its own.
pub(crate) fn speaking(files: &CertificateFiles, protocols: &[&[u8]]) -> ServerConfig {
    let builder = builder().with_no_client_auth();
    with_protocols(builder.with_cert_resolver(shown(files)), protocols)
}

/// The same for one that wants a certificate of whoever connects.
pub(crate) fn suspicious(
    files: &CertificateFiles,
    client: CertificateDer<'static>,
) -> ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = builder().with_client_cert_verifier(verifier.build().unwrap());
    with_protocols(builder.with_cert_resolver(shown(files)), &[])
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn with_protocols(mut config: ServerConfig, protocols: &[&[u8]]) -> ServerConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

/// A certificate for those who ask for `localhost`, and for nobody else.
#[derive(Debug)]
struct Shown(SingleCertAndKey);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().filter(|name| *name == "localhost")?;
        self.0.resolve(hello)
    }
}

fn shown(files: &CertificateFiles) -> Arc<Shown> {
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    Arc::new(Shown(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}
