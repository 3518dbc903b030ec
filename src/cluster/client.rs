//! The client of the API server, from a kubeconfig or from inside a Pod.

mod bound;
mod connection;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

pub use bound::MayWrite;

/// Time for a connection to the API server. A call goes on to another of its replicas after that.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest silence on a connection that is in use. The quietest call is a watch, which ends after two minutes and carries bookmarks
/// before. This is for an API server that hangs; one whose machine has vanished is noticed sooner, see [`connection`].
const READ_TIME: Duration = Duration::from_secs(130);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("--kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// No kubeconfig was named, and the one that kubectl would take cannot be used.
    #[error("no cluster to ask: {0}; name a file with --kubeconfig or KUBECONFIG, and --context if need be")]
    Default(#[source] KubeconfigError),
    /// The service account of the Pod cannot be used.
    #[error(
        "the service account of this Pod cannot be used: {0}; mount its token (automountServiceAccountToken) or name a --kubeconfig"
    )]
    InCluster(#[from] InClusterError),
    /// The settings are there, and no client can be made of them.
    #[error("no client for the API server: {0}")]
    Client(#[source] kube::Error),
}

/// Whether this process runs in a Pod that can call its API server.
#[must_use]
pub fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty())
}

/// A client that signs its calls as `sidecarset/VERSION (COMPONENT)`, made from `kubeconfig` or, without one, from the service
/// account of the Pod. Nothing is called yet.
///
/// # Errors
///
/// The settings are not there, or cannot be used.
pub async fn connect(kubeconfig: Option<&Path>, component: &str) -> Result<Client, ConnectError> {
    client(signed(config(kubeconfig).await?, component))
}

/// The clients of a process of which only one replica may write. It decides anew after a failure, so both give each answer at once:
/// other clients ask an API server that is too busy again for minutes, also about what is not wanted any more.
#[derive(Clone)]
pub struct Clients {
    /// For everything but what only the leader may write.
    pub reads: Client,
    /// Sends nothing while the process may not write. Its calls have no limit of their own.
    pub writes: Client,
}

/// kube's client says nothing about itself.
impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

/// Both clients of a process that may write as long as `may_write` says so.
///
/// # Errors
///
/// The settings are not there, or cannot be used.
///
/// Decision: D-35.
pub async fn connect_for_leader(
    kubeconfig: Option<&Path>,
    component: &str,
    may_write: MayWrite,
) -> Result<Clients, ConnectError> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    let config = signed(config, component);
    let reads = client(config.clone())?;
    let writes = bound::client(config, may_write).map_err(ConnectError::Client)?;
    Ok(Clients { reads, writes })
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, ConnectError> {
    match kubeconfig {
        Some(path) => from_file(path, None).await,
        None => Ok(Config::incluster()?),
    }
}

/// A client for a person: from `kubeconfig`, else from where kubectl looks (the files of `KUBECONFIG`, `~/.kube/config`), else from
/// the service account of the Pod. Nothing is called yet.
///
/// # Errors
///
/// The settings are not there, have no such context, or cannot be used.
pub async fn connect_as_kubectl(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    component: &str,
) -> Result<Client, ConnectError> {
    let config = match kubeconfig {
        Some(path) => from_file(path, context).await?,
        None => match Kubeconfig::read() {
            Ok(file) => Config::from_custom_kubeconfig(file, &options(context))
                .await
                .map_err(ConnectError::Default)?,
            Err(_) if in_a_pod() && context.is_none() => Config::incluster()?,
            Err(error) => return Err(ConnectError::Default(error)),
        },
    };
    client(signed(config, component))
}

async fn from_file(path: &Path, context: Option<&str>) -> Result<Config, ConnectError> {
    let wrong = |source| ConnectError::Kubeconfig { path: path.to_owned(), source };
    let file = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(file, &options(context)).await.map_err(wrong)
}

fn options(context: Option<&str>) -> KubeConfigOptions {
    KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() }
}

/// Has every call say who calls.
fn signed(mut config: Config, component: &str) -> Config {
    let agent = format!("sidecarset/{} ({component})", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = agent.parse() {
        config.headers.push((axum::http::header::USER_AGENT, agent));
    }
    config
}

fn client(mut config: Config) -> Result<Client, ConnectError> {
    config.read_timeout = Some(READ_TIME);
    config.reset_reader_on_write = true;
    connection::client(config, |stream| stream).map_err(ConnectError::Client)
}
