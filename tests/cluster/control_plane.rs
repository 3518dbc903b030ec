//! A real control plane of one's own: etcd, kube-apiserver, and where Pods must run, controller manager, scheduler
//! and kwok as the kubelet of one Node. Everything on free ports, with certificates and data of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::pki::Authority;
use crate::poll;
use crate::programs;
use crate::supervisor::{Network, Supervisor};

/// How long a program may take to become ready on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A group of users whose every write is in the audit log.
pub(crate) const AUDITED: &str = "audited";

/// Only what webhooks say about new Pods, and writes of that group; everything else would slow the tests down.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: [audited]
  verbs: [create, update, patch, delete]
- level: Metadata
  verbs: [create]
  resources: [{group: '', resources: [pods]}]
- level: None
";

/// A running control plane. Dropping it stops it; the shared one stops when the test process ends.
pub(crate) struct ControlPlane {
    pub(crate) supervisor: Supervisor,
    pub(crate) folder: PathBuf,
    /// Of the control plane's own servers; a webhook behind a Service may use it too.
    pub(crate) authority: Authority,
    /// As a member of `system:masters`.
    pub(crate) kubectl: Kubectl,
    address: Ipv4Addr,
    server: String,
    /// Where etcd answers its clients.
    etcd: String,
    /// Of the API server, besides the usual ones.
    flags: Vec<String>,
    /// The command and the process of the API server, once it has been started.
    api_server: Mutex<Option<(Vec<String>, u32)>>,
}

impl ControlPlane {
    /// The control plane that most tests share, each in a namespace of its own. Started on first use, whole.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| {
            let plane = Self::without_kubelet("shared")?;
            plane.start_kubelet()?;
            Ok(plane)
        });
        match started {
            Ok(plane) => plane,
            Err(error) => panic!("the control plane did not start: {error}"),
        }
    }

    /// Only etcd and an API server, in a network namespace where `addresses` are local: it dials the endpoints of
    /// Services itself, the first address is its own.
    ///
    /// # Errors
    /// Why there is no such namespace, or what did not start.
    pub(crate) fn in_own_network(name: &str, addresses: &[Ipv4Addr]) -> Result<Self, String> {
        let own = addresses.first().copied().ok_or("no address for the API server")?;
        let plane = Self::prepare(name, Network::Own, own)?;
        plane.make_local(addresses)?;
        plane.start_api_server()?;
        Ok(plane)
    }

    /// The same in the network namespace of this process, see [`crate::own_network`].
    ///
    /// # Errors
    /// What did not start.
    pub(crate) fn in_this_network(name: &str, addresses: &[Ipv4Addr]) -> Result<Self, String> {
        let own = addresses.first().copied().ok_or("no address for the API server")?;
        let plane = Self::prepare(name, Network::Shared, own)?;
        plane.make_local(addresses)?;
        plane.start_api_server()?;
        Ok(plane)
    }

    /// Makes addresses local to the control plane's network.
    ///
    /// # Errors
    /// What `ip` says.
    pub(crate) fn make_local(&self, addresses: &[Ipv4Addr]) -> Result<(), String> {
        self.run(&["ip", "link", "set", "lo", "up"])?;
        for address in addresses {
            self.run(&["ip", "addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        Ok(())
    }

    /// Takes a local address away so that packets to it get lost without a word, as when a machine loses its power.
    ///
    /// # Errors
    /// What `ip` says.
    pub(crate) fn cut_off(&self, address: Ipv4Addr) -> Result<(), String> {
        let address = format!("{address}/32");
        // Without a route the sender would be told. This one leads to an interface that drops what is not its own.
        self.run(&["ip", "route", "add", &address, "dev", "lo"])?;
        self.run(&["ip", "addr", "del", &address, "dev", "lo"]).map(drop)
    }

    /// Makes an address local again that was cut off.
    ///
    /// # Errors
    /// What `ip` says.
    pub(crate) fn connect_again(&self, address: Ipv4Addr) -> Result<(), String> {
        self.make_local(&[address])?;
        self.run(&["ip", "route", "del", &format!("{address}/32"), "dev", "lo"]).map(drop)
    }

    /// Kills the API server and starts it again with the same settings and data.
    ///
    /// # Errors
    /// Why it does not become ready again.
    pub(crate) fn crash_api_server(&self) -> Result<(), String> {
        let mut api_server = self.api_server.lock().unwrap_or_else(PoisonError::into_inner);
        let (command, pid) = api_server.as_mut().ok_or("the API server was never started")?;
        Supervisor::signal(*pid, "KILL")?;
        self.supervisor.stop("apiserver")?;
        *pid = self.supervisor.start("apiserver", command)?;
        self.await_ready("apiserver", *pid, || self.kubectl.run(&["get", "--raw", "/readyz"]).map(|_| ()))
    }

    /// Lets etcd forget all that is not the state of now.
    ///
    /// # Errors
    /// What curl says.
    pub(crate) fn compact_etcd(&self) -> Result<(), String> {
        let post = |path: &str, body: &Value| {
            let (url, body) = (format!("{}/v3/kv/{path}", self.etcd), body.to_string());
            self.run(&[
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "10",
                "--data",
                &body,
                &url,
            ])
        };
        // Any read tells the newest revision. The key is in base64.
        let read = post("range", &json!({"key": "AA=="}))?;
        let read: Value = serde_json::from_str(&read).map_err(|error| format!("{error} in {read}"))?;
        post("compaction", &json!({"revision": read["header"]["revision"], "physical": true})).map(drop)
    }

    /// Makes a namespace where Pods can be created, and gives a kubectl for it.
    #[track_caller]
    pub(crate) fn namespace(&self, name: &str, labels: Value) -> Kubectl {
        let metadata = json!({"name": name, "labels": labels});
        self.kubectl.create(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})]);
        let kubectl = self.kubectl.in_namespace(name);
        // Without it the API server refuses every Pod. The controller manager makes it, where there is one.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        if let Err(error) = kubectl.run_with_input(&["create", "-f", "-"], &crate::kubectl::list(&[account]))
        {
            assert!(error.contains("AlreadyExists"), "no service account in {name}: {error}");
        }
        kubectl
    }

    /// Where the API server writes what webhooks say about new Pods.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The body at a URL, fetched with curl in the control plane's network.
    ///
    /// # Errors
    /// What curl says, also for an HTTP status of 400 and more.
    pub(crate) fn http_get(&self, url: &str) -> Result<String, String> {
        self.run(&["curl", "--silent", "--show-error", "--fail", "--max-time", "5", url])
    }

    /// The same, whatever the HTTP status.
    ///
    /// # Errors
    /// What curl says.
    pub(crate) fn http_text(&self, url: &str) -> Result<String, String> {
        self.run(&["curl", "--silent", "--show-error", "--max-time", "5", url])
    }

    /// Waits until `ready` says `Ok`, but not longer than the program lives.
    ///
    /// # Errors
    /// What was last seen and how the program's log ends.
    pub(crate) fn await_ready(
        &self,
        name: &str,
        pid: u32,
        mut ready: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let answer = poll::until(&format!("{name} to become ready"), START_LIMIT, || {
            if Supervisor::ended(pid) { Ok(Err(format!("{name} ended by itself"))) } else { ready().map(Ok) }
        });
        answer.and_then(|inner| inner).map_err(|error| format!("{error}\n{}", self.supervisor.log_tail(name)))
    }

    /// Only etcd and an API server, for a test that changes what others rely on.
    ///
    /// # Errors
    /// What did not start.
    pub(crate) fn without_controllers(name: &str) -> Result<Self, String> {
        Self::start(name, &[])
    }

    /// The same with flags of the API server besides the usual ones.
    ///
    /// # Errors
    /// What did not start.
    pub(crate) fn with_flags(name: &str, flags: &[&str]) -> Result<Self, String> {
        Self::start(name, flags)
    }

    /// All but the kubelet, for a test that plays it.
    ///
    /// # Errors
    /// What did not start.
    pub(crate) fn without_kubelet(name: &str) -> Result<Self, String> {
        let plane = Self::start(name, &[])?;
        plane.start_controllers()?;
        Ok(plane)
    }

    fn start(name: &str, flags: &[&str]) -> Result<Self, String> {
        let mut plane = Self::prepare(name, Network::Shared, Ipv4Addr::LOCALHOST)?;
        plane.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        plane.start_api_server()?;
        Ok(plane)
    }

    fn prepare(name: &str, network: Network, address: Ipv4Addr) -> Result<Self, String> {
        let folder = fresh_folder(name)?;
        let supervisor = Supervisor::new(&folder, network)?;
        let authority = Authority::new(&folder)?;
        let server = format!("https://{address}:{}", free_port());
        let kubectl = Kubectl {
            enter: supervisor.enter(),
            program: programs::path("kubectl")?,
            kubeconfig: authority.kubeconfig("admin", Some("system:masters"), &server)?,
            cache: folder.join("data/kubectl"),
            namespace: "default".to_owned(),
        };
        Ok(Self {
            supervisor,
            folder,
            authority,
            kubectl,
            address,
            server,
            etcd: format!("http://127.0.0.1:{}", free_port()),
            flags: Vec::new(),
            api_server: Mutex::default(),
        })
    }

    fn start_api_server(&self) -> Result<(), String> {
        let data = self.folder.join("data");
        let client = &self.etcd;
        let peer = format!("http://127.0.0.1:{}", free_port());
        let etcd = vec![
            programs::path("etcd")?.display().to_string(),
            flag("data-dir", data.join("etcd").display()),
            flag("listen-client-urls", client),
            flag("advertise-client-urls", client),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", format!("default={peer}")),
            // The data are gone after the test anyway.
            "--unsafe-no-fsync".to_owned(),
            flag("log-level", "warn"),
        ];
        let etcd_pid = self.supervisor.start("etcd", &etcd)?;

        let serving = self.folder.join("apiserver");
        let address = self.address.to_string();
        self.authority.server(&serving, &["localhost", &address, "kubernetes.default.svc", "10.0.0.1"])?;
        let (sign_key, check_key) = self.authority.service_account_keys()?;
        let port = self.server.rsplit_once(':').map_or("443", |(_, port)| port);
        let audit_policy = self.folder.join("audit-policy.yaml");
        std::fs::write(&audit_policy, AUDIT_POLICY).map_err(|error| format!("the audit policy: {error}"))?;
        let mut api_server = vec![
            programs::path("kube-apiserver")?.display().to_string(),
            flag("etcd-servers", client),
            flag("bind-address", &address),
            flag("advertise-address", &address),
            flag("secure-port", port),
            flag("client-ca-file", self.authority.certificate().display()),
            flag("tls-cert-file", serving.join("tls.crt").display()),
            flag("tls-private-key-file", serving.join("tls.key").display()),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-account-key-file", check_key.display()),
            flag("service-account-signing-key-file", sign_key.display()),
            flag("service-cluster-ip-range", "10.0.0.0/24"),
            flag("authorization-mode", "RBAC"),
            flag("allow-privileged", "true"),
            // The API server picks an endpoint of a Service itself and dials it: nobody plays kube-proxy here.
            flag("enable-aggregator-routing", "true"),
            flag("endpoint-reconciler-type", "none"),
            flag("audit-policy-file", audit_policy.display()),
            flag("audit-log-path", self.audit_log().display()),
        ];
        api_server.extend_from_slice(&self.flags);
        let api_server_pid = self.supervisor.start("apiserver", &api_server)?;
        *self.api_server.lock().unwrap_or_else(PoisonError::into_inner) = Some((api_server, api_server_pid));
        self.await_ready("apiserver", api_server_pid, || {
            if Supervisor::ended(etcd_pid) {
                return Err(format!("etcd ended by itself; {}", self.supervisor.log_tail("etcd")));
            }
            self.kubectl.run(&["get", "--raw", "/readyz"]).map(|_| ())
        })
    }

    /// Starts what makes workloads run; the API server must be ready, which includes its default roles: programs
    /// started earlier are refused and log that for a while.
    fn start_controllers(&self) -> Result<(), String> {
        let key = self.folder.join("service-account.key");
        let manager = vec![
            programs::path("kube-controller-manager")?.display().to_string(),
            self.client_flag("system:kube-controller-manager", None)?,
            flag("leader-elect", "false"),
            flag("service-account-private-key-file", key.display()),
            flag("root-ca-file", self.authority.certificate().display()),
            flag("use-service-account-credentials", "true"),
            flag("secure-port", free_port()),
            flag("bind-address", "127.0.0.1"),
            flag("cert-dir", self.folder.join("data/manager").display()),
        ];
        let scheduler = vec![
            programs::path("kube-scheduler")?.display().to_string(),
            self.client_flag("system:kube-scheduler", None)?,
            flag("leader-elect", "false"),
            flag("secure-port", "0"),
        ];
        self.supervisor.start("manager", &manager)?;
        self.supervisor.start("scheduler", &scheduler)?;
        Ok(())
    }

    /// Starts what plays the kubelet of one Node.
    fn start_kubelet(&self) -> Result<(), String> {
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/kubelet-stages.yaml");
        let kwok = vec![
            programs::path("kwok")?.display().to_string(),
            self.client_flag("kwok", Some("system:masters"))?,
            flag("manage-all-nodes", "true"),
            // Its heartbeat: without one every Pod is marked not ready after 40 s.
            flag("node-lease-duration-seconds", "40"),
            flag("config", stages.display()),
        ];
        let kwok_pid = self.supervisor.start("kwok", &kwok)?;
        let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
        self.kubectl.create(&[json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux"}},
            "status": {"capacity": capacity, "allocatable": capacity},
        })]);
        self.await_ready("kwok", kwok_pid, || {
            let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.taints[*].key}"#;
            let seen = self.kubectl.run(&["get", "node", "node-1", "-o", ready])?;
            // The controller manager takes the taint `not-ready` away once kwok has made the Node ready.
            if seen.trim() == "True" { Ok(()) } else { Err(format!("node-1: {seen}")) }
        })
    }

    /// The kubeconfig of another user.
    #[track_caller]
    pub(crate) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.authority.kubeconfig(user, None, &self.server).unwrap()
    }

    /// The kubeconfig of another user, whose writes are in the audit log.
    #[track_caller]
    pub(crate) fn audited_kubeconfig_of(&self, user: &str) -> PathBuf {
        self.authority.kubeconfig(user, Some(AUDITED), &self.server).unwrap()
    }

    /// The kubeconfig of a member of `system:masters` who reaches the API server elsewhere.
    #[track_caller]
    pub(crate) fn kubeconfig_by(&self, user: &str, server: &str) -> PathBuf {
        self.authority.kubeconfig(user, Some("system:masters"), server).unwrap()
    }

    /// Where the API server listens.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    fn client_flag(&self, user: &str, group: Option<&str>) -> Result<String, String> {
        Ok(flag("kubeconfig", self.authority.kubeconfig(user, group, &self.server)?.display()))
    }

    /// The answer to a POST of a JSON file over TLS, sent with curl.
    ///
    /// # Errors
    /// What curl says, also for an HTTP status of 400 and more.
    pub(crate) fn http_post(&self, url: &str, ca: &Path, body: &Path) -> Result<String, String> {
        let (ca, body) = (ca.display().to_string(), format!("@{}", body.display()));
        let json = "Content-Type: application/json";
        self.run(&[
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--cacert",
            &ca,
            "-H",
            json,
            "--data-binary",
            &body,
            url,
        ])
    }

    /// Runs a command in the control plane's network and gives what it printed.
    fn run(&self, command: &[&str]) -> Result<String, String> {
        let mut words = self.kubectl.enter.clone();
        words.extend(command.iter().map(|word| (*word).to_owned()));
        let output = Command::new(&words[0])
            .args(&words[1..])
            .output()
            .map_err(|error| format!("cannot run {}: {error}", words.join(" ")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A port of 127.0.0.1 that nobody listens on, and that no outgoing connection will take before it is used: it lies
/// below the range which Linux gives to those.
fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another test process on this machine starts looking elsewhere.
    let start = std::process::id().wrapping_mul(37) % u32::from(COUNT);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + step) % u32::from(COUNT)).unwrap_or(0);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

/// A new folder under cargo's own for tests; logs of processes that have ended are removed.
fn fresh_folder(name: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster");
    for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !Path::new("/proc").join(pid).exists() {
            // Another test process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = root.join(std::process::id().to_string()).join(name);
    fs::create_dir_all(folder.join("data"))
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}
