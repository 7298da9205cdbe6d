//! TLS for the HTTP servers, by rustls (feature `tls`).

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::settings::Server;

impl Server {
    /// Serves HTTPS. The configuration has the certificates. It can choose one for each connection with a [certificate
    /// resolver](tokio_rustls::rustls::server::ResolvesServerCert).
    ///
    /// If the configuration names no protocols, the server offers `h2` and `http/1.1` (ALPN). The
    /// [`header_timeout`](Self::header_timeout) of the first request includes the handshake. A client whose handshake
    /// fails loses its connection, which does not count as a failure of the server.
    ///
    #[cfg_attr(
        feature = "tcp",
        doc = "Only HTTP servers have TLS: a server with a configuration fails to start with [`tcp`](Self::tcp).\n"
    )]
    /// rustls needs a crypto provider, selected by a feature of the crate `rustls`.
    ///
    /// ```
    /// use axum::Router;
    /// use procession_runnable::server::{Server, rustls::ServerConfig};
    /// use rcgen::{CertifiedKey, generate_simple_self_signed};
    ///
    /// let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    /// let key = signing_key.serialize_der().try_into()?;
    /// let config = ServerConfig::builder()
    ///     .with_no_client_auth()
    ///     .with_single_cert(vec![cert.der().clone()], key)?;
    /// let https = Server::new("127.0.0.1:8443").tls(config).axum(Router::new());
    /// # let _ = https;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls(mut self, config: impl Into<Arc<ServerConfig>>) -> Self {
        let mut config = config.into();
        if config.alpn_protocols.is_empty() {
            let mut offering = ServerConfig::clone(&config);
            offering.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config = Arc::new(offering);
        }
        self.tls = Some(config.into());
        self
    }
}
