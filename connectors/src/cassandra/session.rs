//! A session with the cluster: contact points, login, TLS, consistency.

use super::config::{Config, Tls};
use super::error::{Fault, by_words};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::Consistency;
use std::sync::Arc;
use std::time::Duration;

/// To wait for a connection to one node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// To wait for the whole session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// To wait for one statement: longer than the server's own limits, which tell more.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);

/// Connects and logs in.
pub async fn open(config: &Config) -> Result<Session, Fault> {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(REQUEST_TIMEOUT))
        // The writer decides itself, with back-off: the driver's own policies give up or try at once.
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .connection_timeout(CONNECT_TIMEOUT)
        .keyspaces_to_fetch([config.keyspace.as_str()])
        .default_execution_profile_handle(profile.into_handle());
    if let Some(datacenter) = &config.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    if let Some((user, password)) = &config.credentials {
        builder = builder.user(user, password);
    }
    if let Some(tls) = &config.tls {
        builder = builder.tls_context(Some(Arc::new(client_config(tls).map_err(Fault::Refused)?)));
    }
    let session = match tokio::time::timeout(SESSION_TIMEOUT, builder.build()).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Err(by_words(error.to_string())),
        Err(_) => return Err(Fault::Away(format!("no answer within {} s", SESSION_TIMEOUT.as_secs()))),
    };
    check_datacenter(config, &session)?;
    Ok(session)
}

/// A preferred data centre that no node names would make every statement fail without a word about it.
fn check_datacenter(config: &Config, session: &Session) -> Result<(), Fault> {
    let Some(wanted) = &config.datacenter else { return Ok(()) };
    let state = session.get_cluster_state();
    let mut known: Vec<&str> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&wanted.as_str()) {
        return Ok(());
    }
    Err(Fault::Refused(format!("there is no data centre {wanted}; the cluster has {}", known.join(", "))))
}

fn client_config(tls: &Tls) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(authorities(tls)?);
    let Some((certificate, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("cannot read the private key {key}: {error}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("cannot use the certificate {certificate}: {error}"))
}

fn authorities(tls: &Tls) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    match &tls.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("cannot use the authority in {path}: {error}"))?;
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("cannot read the certificate {path}: {error}");
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(format!("there is no certificate in {path}")) } else { Ok(found) }
}
