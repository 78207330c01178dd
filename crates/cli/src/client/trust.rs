//! Whom we believe to be the pool: the well-known authorities, and what `--ca` names.

use crate::error::CliError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Certificates to trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Reads the file that was named, or the pool's own when it is there.
    ///
    /// # Errors
    /// A named file cannot be read or holds no certificate.
    pub fn read(named: Option<&Path>, beside: Option<PathBuf>) -> Result<Self, CliError> {
        let file = match (named, beside) {
            (Some(file), _) => file.to_owned(),
            (None, Some(file)) if file.exists() => file,
            _ => return Ok(Self::default()),
        };
        let pem =
            std::fs::read(&file).map_err(|why| CliError::io(format!("reading {}", file.display()), why))?;
        let own: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        if own.is_empty() {
            return Err(CliError::usage(format!("{} holds no certificate in PEM", file.display())));
        }
        Ok(Self { own })
    }

    /// For requests.
    #[must_use]
    pub fn for_http(&self) -> TlsConfig {
        let roots = if self.own.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::new_with_certs(
                &self.own.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>(),
            )
        };
        TlsConfig::builder().root_certs(roots).build()
    }

    /// For WebSockets.
    ///
    /// # Errors
    /// No certificate of the file can be used.
    pub fn for_sockets(&self) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        if self.own.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for der in &self.own {
            roots.add(der.clone())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}
