//! The load's side of TLS. It looks at no certificate, as wrk does: what it saves there is left to the proxy's origin.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rows::Row;

/// A client with sessions of its own.
pub(crate) struct Tls {
    connector: TlsConnector,
    /// The names that are asked for, in turn.
    names: Vec<ServerName<'static>>,
    resumes: bool,
    /// It has a session.
    has_been: Cell<bool>,
}

impl Tls {
    pub(crate) fn of(row: &Row) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believes(provider)))
            .with_no_client_auth();
        config.resumption = match row.resumes {
            true => Resumption::in_memory_sessions(row.hosts),
            false => Resumption::disabled(),
        };
        let name = |n| ServerName::try_from(row.host(n)).expect("a name");
        Self {
            connector: Arc::new(config).into(),
            names: (0..row.hosts).map(name).collect(),
            resumes: row.resumes,
            has_been: Cell::new(false),
        }
    }

    /// Shakes hands for the `n`th name. Where sessions are resumed, one that is not is an error, but for the first.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        n: usize,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.names[n].clone();
        let stream = self.connector.connect(name, stream).await?;
        let kind = stream.get_ref().1.handshake_kind();
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        let expected = self.resumes && self.has_been.replace(true);
        match is_resumed == expected {
            true => Ok(stream),
            false => Err(io::Error::other(format!("the handshake is {kind:?}"))),
        }
    }
}

/// Believes any certificate.
#[derive(Debug)]
struct Believes(Arc<CryptoProvider>);

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
