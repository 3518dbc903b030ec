//! Which certificate the webhook serves, and how it is kept up to date.

use std::sync::Arc;
use std::time::Duration;

use super::every;
use crate::clock::{since_1970, unix_now};
use crate::cluster::certificates::{self, Settings};
use crate::cluster::client;
use crate::config::{CertificateConfig, ManagedConfig, ServeConfig};
use crate::metrics::Metrics;
use crate::server::probes::{Check, Health};
use crate::tls::managed::{Timing, hosts_of_service};
use crate::tls::resolver::CurrentCertificate;
use crate::tls::self_made::SelfMade;
use crate::tls::source::{CertificateSource, Keeper, PairFolder};

/// How often the serving certificate is compared with its source.
const POLL: Duration = Duration::from_secs(5);

/// Starts what keeps the serving certificate up to date, and gives its conditions of readiness.
///
/// # Errors
///
/// There is no certificate to serve, and waiting would not bring one.
pub(super) async fn start(
    config: &ServeConfig,
    current: &Arc<CurrentCertificate>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Check>, String> {
    let (flag, source): (_, Box<dyn CertificateSource>) = match &config.certificate {
        CertificateConfig::Managed(managed) => return manage(managed, current, metrics).await,
        CertificateConfig::Folder(dir) => ("--cert-dir", Box::new(PairFolder::new(dir))),
        CertificateConfig::SelfMade { hosts, ca_out } => {
            let made = SelfMade::new(hosts.clone()).map_err(|error| format!("--cert-host: {error}"))?;
            if let Some(file) = ca_out {
                std::fs::write(file, made.ca_pem())
                    .map_err(|error| format!("--ca-out {}: cannot write: {error}", file.display()))?;
            }
            ("--cert-host", Box::new(made))
        }
    };
    let mut keeper = Keeper::new(source, Arc::clone(current));
    match keeper.check() {
        Ok(Some(not_after)) => note(not_after, metrics),
        Ok(None) => {}
        Err(error) => return Err(format!("{flag}: {error}")),
    }
    let (current, for_look, metrics) = (Arc::clone(current), Arc::clone(metrics), Arc::clone(metrics));
    tokio::spawn(every(POLL, keeper, move |keeper| look(keeper, &for_look)));
    Ok(vec![Check::new("certificate", move || Health {
        holds: current.is_loaded(),
        detail: lifetime(metrics.certificate_expiry.get() - since_1970().as_secs_f64()),
    })])
}

/// Starts to manage certificates together with the other replicas. Until the Secret is there, this one is not ready.
async fn manage(
    config: &ManagedConfig,
    current: &Arc<CurrentCertificate>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Check>, String> {
    let ManagedConfig { cluster, secret, service, webhook_configurations, settle } = config.clone();
    let client = client::connect(cluster.kubeconfig.as_deref(), "certificates");
    let client = client.await.map_err(|error| error.to_string())?;
    let namespace = cluster.identity.namespace;
    let settings = Settings {
        hosts: hosts_of_service(&service, &namespace),
        timing: Timing::new(settle, &cluster.identity.pod),
        namespace,
        secret,
        service,
        configurations: webhook_configurations,
    };
    let status = certificates::start(&client, settings, Arc::clone(current), Arc::clone(metrics));
    Ok(vec![Check::new("certificate", move || {
        let (holds, detail) = status.look();
        Health { holds, detail }
    })])
}

fn look(keeper: &mut Keeper, metrics: &Metrics) {
    match keeper.check() {
        Ok(Some(not_after)) => {
            note(not_after, metrics);
            tracing::info!(not_after_unix = not_after, "serving certificate replaced");
        }
        Ok(None) => {}
        Err(error) => {
            metrics.certificate_reload_failures.inc();
            tracing::error!(%error, "the serving certificate does not load; the last good one stays");
        }
    }
}

/// What is left of a certificate's life. One that has ended is served all the same: not every client looks at the date, and
/// nothing is better without it.
fn lifetime(seconds: f64) -> String {
    let (left, hours) = (seconds >= 0.0, seconds.abs() / 3600.0);
    match (left, hours >= 48.0) {
        (true, true) => format!("ends in {:.0} days", hours / 24.0),
        (true, false) => format!("ends in {hours:.1} h"),
        (false, _) => format!("HAS ENDED {hours:.1} h ago, clients refuse it: renew it"),
    }
}

fn note(not_after_unix: i64, metrics: &Metrics) {
    metrics.certificate_expiry.set(not_after_unix as f64);
    if not_after_unix < unix_now() {
        tracing::warn!(not_after_unix, "the serving certificate has ended: clients will refuse it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_that_is_left_is_told() {
        assert_eq!(lifetime(89.0 * 86_400.0), "ends in 89 days");
        assert_eq!(lifetime(5400.0), "ends in 1.5 h");
        assert_eq!(lifetime(-7200.0), "HAS ENDED 2.0 h ago, clients refuse it: renew it");
    }
}
