//! Our webhook as a program beside the control plane, and its registration.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::admission;
use crate::control_plane::ControlPlane;
use crate::kubectl::{Kubectl, list};
use crate::poll;

/// A running `sidecarset webhook` with a folder of SidecarSets and a certificate of its own making.
pub(crate) struct Webhook<'a> {
    plane: &'a ControlPlane,
    name: String,
    pid: u32,
    /// Its `/readyz?verbose`.
    pub(crate) probe: String,
    /// Where its SidecarSets are.
    pub(crate) sidecarsets: PathBuf,
    /// The certificate of the authority that it made for itself.
    pub(crate) ca: PathBuf,
    pub(crate) url: String,
}

impl<'a> Webhook<'a> {
    /// Starts it with these SidecarSets of the recorded reviews and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(plane: &'a ControlPlane, test: &str, files: &[&str]) -> Self {
        Self::start_with(plane, test, |folder| {
            for file in files {
                fs::copy(admission::sidecarsets().join(file), folder.join(file)).unwrap();
            }
        })
    }

    /// Starts it with what is put into its folder and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_with(plane: &'a ControlPlane, test: &str, fill: impl FnOnce(&Path)) -> Self {
        Self::start_with_flags(plane, test, &[], fill)
    }

    /// The same with flags besides the usual ones.
    #[track_caller]
    pub(crate) fn start_with_flags(
        plane: &'a ControlPlane,
        test: &str,
        flags: &[&str],
        fill: impl FnOnce(&Path),
    ) -> Self {
        let folder = plane.folder.join(format!("webhook_{}", test.replace('-', "_")));
        let sidecarsets = folder.join("sidecarsets");
        fs::create_dir_all(&sidecarsets).unwrap();
        fill(&sidecarsets);
        let ca = folder.join("ca.crt");
        let mut args = vec![
            format!("--sidecarsets={}", sidecarsets.display()),
            "--cert-host=127.0.0.1".to_owned(),
            format!("--ca-out={}", ca.display()),
        ];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut webhook = Self::launch(plane, test, &args, ca);
        webhook.sidecarsets = sidecarsets;
        webhook.await_ready();
        webhook
    }

    /// Starts it with these arguments besides the usual ones and waits until it listens, which it does before it is ready. `ca` is the
    /// authority of its certificate.
    #[track_caller]
    pub(crate) fn launch(plane: &'a ControlPlane, test: &str, args: &[String], ca: PathBuf) -> Self {
        Self::launch_in(plane, test, &[], args, ca)
    }

    /// The same in an environment with these variables (`NAME=value`) besides the usual ones.
    #[track_caller]
    pub(crate) fn launch_in(
        plane: &'a ControlPlane,
        test: &str,
        environment: &[String],
        args: &[String],
        ca: PathBuf,
    ) -> Self {
        let name = format!("webhook_{}", test.replace('-', "_"));
        let mut command = vec!["env".to_owned()];
        command.extend_from_slice(environment);
        command.extend([
            env!("CARGO_BIN_EXE_sidecarset").to_owned(),
            "webhook".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--probe-listen=127.0.0.1:0".to_owned(),
            "--shutdown-delay=0s".to_owned(),
        ]);
        command.extend_from_slice(args);
        let pid = plane.supervisor.start(&name, &command).unwrap();
        let (mut url, mut probe) = (String::new(), String::new());
        plane
            .await_ready(&name, pid, || {
                let log = plane.supervisor.log(&name);
                let line = log.lines().rfind(|line| line.contains("probes and metrics: "));
                let line = line.ok_or("no line that says so")?;
                let urls: Vec<&str> =
                    line.split_whitespace().filter(|word| word.starts_with("http")).collect();
                let [serving, probing] = urls[..] else { return Err(line.to_owned()) };
                (url, probe) = (serving.to_owned(), probing.to_owned());
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
        Self { plane, name, pid, sidecarsets: PathBuf::new(), ca, url, probe }
    }

    /// Waits until its probe says so.
    #[track_caller]
    pub(crate) fn await_ready(&self) {
        let ready = || self.plane.http_get(&self.probe).map(|_| ());
        self.plane.await_ready(&self.name, self.pid, ready).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Registers it for Pods in the kubectl's namespace as `manifests/` do, and waits until the API server asks it.
    #[track_caller]
    pub(crate) fn register(&self, kubectl: &Kubectl) {
        self.register_changed(kubectl, |_| {});
    }

    /// The same with a registration that differs from the one of `manifests/`.
    #[track_caller]
    pub(crate) fn register_changed(&self, kubectl: &Kubectl, change: impl FnOnce(&mut Value)) {
        let mut configuration = registration(kubectl);
        configuration["metadata"]["name"] = json!(format!("sidecarset-{}", kubectl.namespace));
        let ca = STANDARD.encode(fs::read(&self.ca).unwrap());
        configuration["webhooks"][0]["clientConfig"] = json!({"url": self.url, "caBundle": ca});
        restrict(&mut configuration, &kubectl.namespace);
        change(&mut configuration["webhooks"][0]);
        kubectl.create(&[configuration]);
        // A configuration takes effect a moment after it was stored.
        let probe =
            ["run", "probe", "--image=probe:1", "--labels=app=shop", "--dry-run=server", "-o", "yaml"];
        poll::until("the webhook to be asked", std::time::Duration::from_secs(20), || {
            let text = kubectl.run(&probe)?;
            if text.contains("IS_INJECTED") { Ok(()) } else { Err("a Pod without sidecars".to_owned()) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// Starts it and registers it for one namespace: what most tests need.
    #[track_caller]
    pub(crate) fn for_namespace(plane: &'a ControlPlane, kubectl: &Kubectl, files: &[&str]) -> Self {
        let webhook = Self::start(plane, &kubectl.namespace, files);
        webhook.register(kubectl);
        webhook
    }

    /// The same with these objects in its folder. One of the SidecarSets has to inject into Pods with `app: shop`.
    #[track_caller]
    pub(crate) fn with_objects(plane: &'a ControlPlane, kubectl: &Kubectl, objects: &[Value]) -> Self {
        let webhook = Self::start_with(plane, &kubectl.namespace, |folder| {
            fs::write(folder.join("objects.json"), list(objects)).unwrap();
        });
        webhook.register(kubectl);
        webhook
    }

    /// How often it answered for a Pod with this name.
    pub(crate) fn admissions(&self, pod: &str) -> usize {
        let name = format!("pod.name=\"{pod}\"");
        self.whole_log().lines().filter(|line| line.contains(&name)).count()
    }

    /// The value of one of its metrics, by its name with labels and a space behind.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn metric(&self, name: &str) -> Result<f64, String> {
        let text = self.plane.http_get(&self.probe.replace("/readyz?verbose", "/metrics"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.ok_or_else(|| format!("no {name}in {text}"))
    }

    /// All that it has logged.
    pub(crate) fn whole_log(&self) -> String {
        self.plane.supervisor.log(&self.name)
    }

    /// How its log ends, for a failure message.
    pub(crate) fn log(&self) -> String {
        self.plane.supervisor.log_tail(&self.name)
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // At worst the supervisor ends it with everything else.
        let _ = self.plane.supervisor.stop(&self.name);
    }
}

/// The MutatingWebhookConfiguration of `manifests/`, as JSON.
#[track_caller]
pub(crate) fn registration(kubectl: &Kubectl) -> Value {
    let file = concat!(
        "--filename=",
        env!("CARGO_MANIFEST_DIR"),
        "/manifests/base/mutating-webhook-configuration.yaml"
    );
    kubectl.json(&["create", "--dry-run=client", file])
}

/// Limits a MutatingWebhookConfiguration to one namespace, besides what it asks for already.
pub(crate) fn restrict(configuration: &mut Value, namespace: &str) {
    let expressions = &mut configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"];
    let only = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]});
    match expressions.as_array_mut() {
        Some(expressions) => expressions.push(only),
        None => *expressions = json!([only]),
    }
}
