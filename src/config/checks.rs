//! What is wrong with settings that are good by themselves: two that exclude each other, files that are not there.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::layers::{Problem, Settings};
use crate::cli::args::{ControllerArgs, WebhookArgs};
use crate::cluster::client;

/// Longest delay that makes sense: nothing in a cluster takes longer to see that a replica is gone.
const LONGEST_SHUTDOWN_DELAY: Duration = Duration::from_secs(600);
/// Shortest age of a connection: with less, handshakes cost more than admissions.
const SHORTEST_CONNECTION_AGE: Duration = Duration::from_secs(1);
/// Shortest settling time: no API server learns faster of a change that it has not made itself.
const SHORTEST_SETTLE: Duration = Duration::from_secs(1);

/// Shortest Lease: below, a slow answer of the API server would end the leader.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
/// Shortest time between two lists of everything: more often, listing is all that a controller does.
const SHORTEST_RESYNC: Duration = Duration::from_secs(10);

/// Everything that is wrong with settings of the controller, in no special order.
pub(super) fn of_controller(args: &ControllerArgs, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    if args.kubeconfig.is_none() && !client::in_a_pod() {
        let text = "no cluster: this is no Pod, so name one with --kubeconfig";
        problems.push(Problem { settings: vec!["kubeconfig"], text: text.to_owned() });
    }
    let mut wrong = |name, found, right| problems.push(wrong_duration(settings, name, found, right));
    if args.lease_duration < SHORTEST_LEASE {
        wrong(
            "lease-duration",
            args.lease_duration,
            "at least 3s, so that a slow answer does not cost the Lease",
        );
    }
    if args.resync < SHORTEST_RESYNC {
        wrong("resync", args.resync, "at least 10s");
    }
    problems.extend(unreadable(settings, "kubeconfig", args.kubeconfig.as_deref(), "file"));
    problems
}

/// Everything that is wrong with settings of the webhook, in no special order.
pub(super) fn of_webhook(args: &WebhookArgs, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(addresses(args, settings));
    problems.extend(source(args, settings));
    problems.extend(certificate(args, settings));
    problems.extend(durations(args, settings));
    problems.extend(files(args, settings));
    problems
}

fn addresses(args: &WebhookArgs, settings: &Settings) -> Option<Problem> {
    let (listen, probes) = (args.listen, args.probe_listen);
    let everywhere = listen.ip().is_unspecified() || probes.ip().is_unspecified();
    if listen.port() != probes.port() || listen.port() == 0 || (listen.ip() != probes.ip() && !everywhere) {
        return None;
    }
    let (place, other) = (settings.place("probe-listen"), settings.place("listen"));
    let text = format!("{place} is {probes}, and {other} is {listen}; give one of them another port");
    Some(Problem { settings: vec!["listen", "probe-listen"], text })
}

fn source(args: &WebhookArgs, settings: &Settings) -> Option<Problem> {
    let both = vec!["sidecarsets", "kubeconfig"];
    match (&args.sidecarsets, &args.cluster.kubeconfig) {
        (Some(_), Some(_)) => {
            Some(exclude(settings, both, "SidecarSets come from a folder or from a cluster"))
        }
        (None, None) if !client::in_a_pod() => {
            let text = "no source of SidecarSets: this is no Pod, so name a folder with --sidecarsets or a cluster with \
                        --kubeconfig";
            Some(Problem { settings: both, text: text.to_owned() })
        }
        _ => None,
    }
}

fn certificate(args: &WebhookArgs, settings: &Settings) -> Vec<Problem> {
    let (of_a_folder, in_a_folder) = (args.cert_dir.is_some(), args.sidecarsets.is_some());
    let mut problems = Vec::new();
    for name in ["cert-host", "ca-out"].into_iter().filter(|name| settings.is_given(name)) {
        if of_a_folder {
            let why = "the certificate is read or made at start";
            problems.push(exclude(settings, vec!["cert-dir", name], why));
        } else if !in_a_folder && (args.cluster.kubeconfig.is_some() || client::in_a_pod()) {
            let text = format!(
                "{} is given, but only with --sidecarsets is a certificate made at start; leave it out",
                settings.place(name)
            );
            problems.push(Problem { settings: vec![name, "sidecarsets"], text });
        }
    }
    if of_a_folder && settings.is_given("certificate-secret") {
        let why = "the certificate is read from a folder or managed in a Secret";
        problems.push(exclude(settings, vec!["cert-dir", "certificate-secret"], why));
    }
    problems
}

fn exclude(settings: &Settings, names: Vec<&'static str>, why: &str) -> Problem {
    let places: Vec<String> = names.iter().map(|name| settings.place(name)).collect();
    let text = format!("{} cannot be used together: {why}; leave one of them out", places.join(" and "));
    Problem { settings: names, text }
}

fn durations(args: &WebhookArgs, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |name, found, right| problems.push(wrong_duration(settings, name, found, right));
    if args.shutdown_delay > LONGEST_SHUTDOWN_DELAY {
        wrong("shutdown-delay", args.shutdown_delay, "at most 10m");
    }
    if args.connection_age < SHORTEST_CONNECTION_AGE {
        wrong("connection-age", args.connection_age, "at least 1s");
    }
    if args.cluster.certificate_settle < SHORTEST_SETTLE {
        wrong("certificate-settle", args.cluster.certificate_settle, "at least 1s");
    }
    problems
}

fn wrong_duration(settings: &Settings, name: &'static str, found: Duration, right: &str) -> Problem {
    let text = format!("{} is {found:?}: it has to be {right}", settings.place(name));
    Problem { settings: vec![name], text }
}

fn files(args: &WebhookArgs, settings: &Settings) -> Vec<Problem> {
    let written = args.ca_out.as_deref().map(|file| match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    });
    let looks = [
        ("sidecarsets", args.sidecarsets.as_deref(), "folder"),
        ("cert-dir", args.cert_dir.as_deref(), "folder"),
        ("ca-out", written, "folder"),
        ("kubeconfig", args.cluster.kubeconfig.as_deref(), "file"),
        ("client-ca", args.client_ca.as_deref(), "file"),
    ];
    looks.into_iter().filter_map(|(name, path, what)| unreadable(settings, name, path, what)).collect()
}

fn unreadable(
    settings: &Settings,
    name: &'static str,
    path: Option<&Path>,
    what: &'static str,
) -> Option<Problem> {
    let path = path?;
    let looked = if what == "folder" { fs::read_dir(path).map(|_| ()) } else { read_some(path) };
    let error = looked.err()?;
    let text = format!("{}: {}: cannot read the {what}: {error}", settings.place(name), path.display());
    Some(Problem { settings: vec![name], text })
}

/// A folder can be opened as a file, but not read.
fn read_some(path: &Path) -> std::io::Result<()> {
    fs::File::open(path)?.read(&mut [0]).map(|_| ())
}
