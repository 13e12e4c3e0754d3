//! The HTTP clients: how they are set up, and why.

use std::sync::{Arc, OnceLock};

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

/// So many redirects are followed.
pub const MAX_REDIRECTS: usize = 10;

/// Sends HTTP requests. Cheap to clone; set up at the first use, because reading the certificates takes a while.
///
/// - Every request has a connection of its own. A reused one may just be closed by the server, and the result of a
///   step must not depend on the requests before it.
/// - Proxies of the environment are not used: what a plan addresses is what it reaches, above all on this machine.
/// - Nothing is sent twice by itself, no `Referer` is added (it would carry a URL's secrets), no compression is asked
///   for, and there is no global timeout: the step has one.
/// - TLS trusts the certificates of this machine (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where else to look).
#[derive(Clone, Default)]
pub struct HttpClient {
    clients: Arc<OnceLock<Result<Clients, String>>>,
}

struct Clients {
    following: Client,
    staying: Client,
}

impl HttpClient {
    /// A client that is not set up yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The client that follows redirects (at most [`MAX_REDIRECTS`]), or the one that does not.
    ///
    /// # Errors
    /// Why it could not be set up, in one line.
    pub fn get(&self, follow_redirects: bool) -> Result<&Client, String> {
        let clients = self.clients.get_or_init(set_up).as_ref().map_err(Clone::clone)?;
        Ok(if follow_redirects { &clients.following } else { &clients.staying })
    }
}

/// Chooses the implementation of TLS for this process. Does nothing when one is chosen already.
pub fn install_tls() {
    // The error is the provider that was there before: that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn set_up() -> Result<Clients, String> {
    install_tls();
    let both = |with: fn(ClientBuilder) -> ClientBuilder| {
        let following = with(builder()).redirect(Policy::limited(MAX_REDIRECTS)).build()?;
        let staying = with(builder()).redirect(Policy::none()).build()?;
        Ok::<_, reqwest::Error>(Clients { following, staying })
    };
    // A machine without any certificates refuses the first; plain HTTP must work there all the same.
    both(|builder| builder)
        .or_else(|_| both(|builder| builder.tls_certs_only([])))
        .map_err(|error| format!("the HTTP client cannot be set up: {}", super::reasons(&error)))
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("testledger/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(0)
        .no_proxy()
        .retry(reqwest::retry::never())
        .referer(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_choice_of_tls_is_ignored_and_both_clients_are_there() {
        install_tls();
        install_tls();
        let client = HttpClient::new();
        assert!(client.get(true).is_ok());
        assert!(client.clone().get(false).is_ok());
    }

    #[test]
    fn a_machine_without_certificates_still_has_a_client() {
        install_tls();
        assert!(builder().tls_certs_only([]).build().is_ok());
    }
}
