//! Settings of the servers: flags, environment, file; all that is wrong at once; `--print-config`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run printed: exit status, stdout, stderr.
type Run = (Option<i32>, String, String);

struct Folder(tempfile::TempDir);

impl Folder {
    /// With `config.yaml`, and the folder `sets` for a source that is there.
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(dir.path().join("sets")).expect("made");
        fs::write(dir.path().join("config.yaml"), config).expect("written");
        Self(dir)
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("config.yaml")
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        self.run_as("webhook", args, variables)
    }

    fn run_as(&self, server: &str, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
            .current_dir(self.0.path())
            .arg(server)
            .args(args)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("run");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).expect("text");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

/// The lines about these settings.
fn lines<'t>(printed: &'t str, names: &[&str]) -> Vec<&'t str> {
    let about =
        |line: &&str| names.iter().any(|name| line.trim_start_matches("# ").starts_with(&format!("{name}:")));
    printed.lines().filter(about).collect()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = Folder::new("workers: 5\nmax-in-flight: 77\nlog-level: warn\nshutdown-delay: 3s\n");
    let variables = [
        ("SIDECARSET_SIDECARSETS", "sets"),
        ("SIDECARSET_WORKERS", "7"),
        ("SIDECARSET_MAX_IN_FLIGHT", "99"),
        // As a template leaves it that was given nothing.
        ("SIDECARSET_LOG_LEVEL", ""),
    ];
    let (code, printed, told) =
        folder.run(&["--config=config.yaml", "--print-config", "--workers=11"], &variables);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let names =
        ["sidecarsets", "workers", "max-in-flight", "log-level", "shutdown-delay", "log-format", "cert-dir"];
    assert_eq!(
        lines(&printed, &names),
        [
            "sidecarsets: sets # environment SIDECARSET_SIDECARSETS",
            "# cert-dir: not set",
            "max-in-flight: 99 # environment SIDECARSET_MAX_IN_FLIGHT",
            "shutdown-delay: \"3s\" # file config.yaml line 4",
            "log-format: text # default",
            "log-level: warn # file config.yaml line 3",
            "workers: 11 # flag",
        ]
    );
}

#[test]
fn what_is_printed_can_be_given_back() {
    let folder = Folder::new(
        "sidecarsets: sets\ncert-host: [a.example, \"::1\", 10.0.0.1]\nstrict-validation: on\nlisten: '[::1]:0'\n\
         feature-gates: [SortSidecarContainers=true, SidecarSetPatchPodMetadataDefaultsAllowed=false]\nca-out: 'a # b: \"c\"'\n\
         service: \"123\"\nrevision-namespace: \"on\"\nnamespace: null\n",
    );
    let (code, first, told) = folder.run(&["--config=config.yaml", "--print-config"], &[]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert_eq!(
        lines(&first, &["cert-host", "ca-out", "revision-namespace", "namespace", "strict-validation"]),
        [
            "# namespace: not set",
            "revision-namespace: \"on\" # file config.yaml line 8",
            "cert-host: [a.example, \"::1\", \"10.0.0.1\"] # file config.yaml line 2",
            "ca-out: \"a # b: \\\"c\\\"\" # file config.yaml line 6",
            "strict-validation: true # file config.yaml line 3",
        ]
    );
    fs::write(folder.0.path().join("again.yaml"), &first).expect("written");
    let (code, second, told) = folder.run(&["--print-config"], &[("SIDECARSET_CONFIG", "again.yaml")]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value).to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
    let defaults = second.lines().filter(|line| line.ends_with(" # default")).collect::<Vec<_>>();
    assert_eq!(defaults, Vec::<&str>::new(), "all of it comes from the file");
}

#[test]
fn every_setting_that_is_wrong_is_named_with_its_place() {
    let folder = Folder::new(
        "log-level: loud\nwrokers: 4\nworkers: {a: b}\nshutdown-delay: 11m\nconnection-age: 10ms\nconfig: x\n\
         max-in-flight: [1, [2]]\nlisten: 8443\n",
    );
    let args = [
        "--config=config.yaml",
        "--sidecarsets=gone",
        "--kubeconfig=sets",
        "--client-ca=gone.pem",
        "--cert-dir=sets",
        "--cert-host=a",
        "--ca-out=gone/ca.crt",
        "--certificate-secret=mine",
        "--debug-endpoints=maybe",
        "--namespace=Not_A_Name",
        "--webhook-configurations=a,B",
    ];
    let variables = [
        ("SIDECARSET_PROBE_LISTEN", "8081"),
        ("SIDECARSET_LOG_FORMAT", "xml"),
        ("SIDECARSET_FEATURE_GATES", "X=true"),
    ];
    let (code, printed, told) = folder.run(&args, &variables);
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    for expected in [
        "error: 22 settings are wrong",
        "  config.yaml line 1, log-level is \"loud\": known are off,",
        "  config.yaml line 2: unknown setting \"wrokers\"; did you mean workers?",
        "  config.yaml line 3, workers: it has to be a text, a number,",
        "  config.yaml line 4, shutdown-delay is 660s: it has to be at most 10m",
        "  config.yaml line 5, connection-age is 10ms: it has to be at least 1s",
        "  config.yaml line 6: config is no setting; give --config on the command line",
        "  config.yaml line 7, max-in-flight: it has to be a text,",
        "  config.yaml line 8, listen is \"8443\": write an IP address and a port, for example 0.0.0.0:10250",
        "  SIDECARSET_PROBE_LISTEN is \"8081\": write an IP address and a port",
        "  SIDECARSET_LOG_FORMAT is \"xml\": it can be text, json",
        "  SIDECARSET_FEATURE_GATES is \"X=true\": unknown gate \"X\"; known are ",
        "  --debug-endpoints is \"maybe\": it can be true, false",
        "  --namespace is \"Not_A_Name\": it has to be of a-z, 0-9 and -",
        "  --webhook-configurations is \"B\": it has to be of a-z, 0-9, - and .",
        "  --sidecarsets and --kubeconfig cannot be used together",
        "  --cert-dir and --cert-host cannot be used together",
        "  --cert-dir and --ca-out cannot be used together",
        "  --cert-dir and --certificate-secret cannot be used together",
        "  --sidecarsets: gone: cannot read the folder: No such file",
        "  --ca-out: gone: cannot read the folder: No such file",
        "  --client-ca: gone.pem: cannot read the file: No such file",
        "  --kubeconfig: sets: cannot read the file: Is a directory",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
}

#[test]
fn what_is_wrong_is_not_taken_for_its_default() {
    let folder = Folder::new("");
    // Not also: that this is no Pod and no source is named.
    let (_, _, told) = folder.run(&["--kubeconfig=", "--probe-listen=x", "--listen=127.0.0.1:8081"], &[]);
    assert!(told.starts_with("error: 2 settings are wrong\n  --probe-listen is \"x\""), "{told}");
    assert!(told.contains("  --kubeconfig is \"\": "), "{told}");
}

#[test]
fn addresses_must_differ() {
    let folder = Folder::new("probe-listen: 0.0.0.0:9443\nsidecarsets: sets\n");
    for (listen, clash) in [("127.0.0.1:9443", true), ("[::]:9443", true), ("127.0.0.1:9444", false)] {
        let (code, _, told) =
            folder.run(&["--print-config", "--config=config.yaml", &format!("--listen={listen}")], &[]);
        assert_eq!(code, Some(if clash { 2 } else { 0 }), "{told}");
        assert_eq!(
            told.contains("config.yaml line 1, probe-listen is 0.0.0.0:9443, and --listen is"),
            clash,
            "{told}"
        );
    }
}

#[test]
fn a_file_that_is_no_mapping_is_told() {
    for (text, expected) in [
        ("- a\n", "has to be one mapping"),
        ("a: 1\n---\nb: 2\n", "several documents"),
        ("workers: 1\nworkers: 2\n", "stands twice"),
        ("a: [\n", "not readable as YAML"),
    ] {
        let folder = Folder::new(text);
        let path = folder.config().display().to_string();
        let (code, _, told) = folder.run(&["--config", &path], &[]);
        assert_eq!(code, Some(2));
        assert!(told.contains(&format!("error: --config {path}: ")) && told.contains(expected), "{told}");
    }
    let (code, _, told) = Folder::new("").run(&["--config=gone.yaml"], &[]);
    assert_eq!((code, told.contains("--config gone.yaml: cannot read: ")), (Some(2), true), "{told}");
    for empty in ["", "# nothing\n", "---\n"] {
        let (code, _, told) =
            Folder::new(empty).run(&["--config=config.yaml", "--sidecarsets=sets", "--print-config"], &[]);
        assert_eq!((code, told.as_str()), (Some(0), ""), "{empty:?}");
    }
}

#[test]
fn a_switch_can_be_turned_off_again() {
    let folder = Folder::new("sidecarsets: sets\nstrict-validation: true\ndebug-endpoints: true\n");
    let args = ["--config=config.yaml", "--print-config", "--strict-validation=false"];
    let (_, printed, _) = folder.run(&args, &[("SIDECARSET_DEBUG_ENDPOINTS", "false")]);
    assert_eq!(
        lines(&printed, &["strict-validation", "debug-endpoints"]),
        [
            "debug-endpoints: false # environment SIDECARSET_DEBUG_ENDPOINTS",
            "strict-validation: false # flag"
        ]
    );
    let (_, printed, _) = folder.run(&["--sidecarsets=sets", "--print-config", "--debug-endpoints"], &[]);
    assert_eq!(lines(&printed, &["debug-endpoints"]), ["debug-endpoints: true # flag"]);
}

#[test]
fn unknown_variables_are_told_and_do_not_stop_it() {
    let folder = Folder::new("sidecarsets: sets\n");
    let variables = [
        ("SIDECARSET_WORKER", "3"),
        ("SIDECARSET_WEBHOOK_SERVICE_HOST", "10.0.0.7"),
        ("SIDECARSET_WEBHOOK_PORT", "tcp://10.0.0.7:443"),
    ];
    let (code, _, told) = folder.run(&["--config=config.yaml", "--print-config"], &variables);
    assert_eq!(code, Some(0));
    assert_eq!(
        told,
        "warning: no setting reads the variable SIDECARSET_WORKER; did you mean SIDECARSET_WORKERS?\n"
    );
}

#[test]
fn the_controller_has_the_same_three_places() {
    let folder =
        Folder::new("kubeconfig: config.yaml\nworkers: 5\nlease: mine\nterminator: true\nresync: 1h\n");
    let variables =
        [("SIDECARSET_CONFIG", "config.yaml"), ("SIDECARSET_WORKERS", "7"), ("SIDECARSET_LEASE", "")];
    let (code, printed, told) =
        folder.run_as("controller", &["--print-config", "--terminator=false", "--resync=2m"], &variables);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert_eq!(
        printed,
        "kubeconfig: config.yaml # file config.yaml line 1\n\
         # namespace: not set\n\
         # revision-namespace: not set\n\
         lease: mine # file config.yaml line 3\n\
         lease-duration: \"15s\" # default\n\
         workers: 7 # environment SIDECARSET_WORKERS\n\
         kube-api-qps: 200 # default\n\
         kube-api-burst: 400 # default\n\
         resync: \"2m\" # flag\n\
         service: sidecarset-webhook # default\n\
         webhook-configuration: sidecarset # default\n\
         terminator: false # flag\n\
         probe-listen: \"127.0.0.1:8082\" # default\n\
         log-format: text # default\n\
         log-level: info # default\n"
    );
}

#[test]
fn every_setting_of_the_controller_that_is_wrong_is_named() {
    let folder = Folder::new("lease: A\nwrokers: 1\nresync: 0s\n");
    let args =
        ["--config=config.yaml", "--workers=0", "--lease-duration=2s", "--service=a.b", "--kube-api-qps=0"];
    let variables = [("SIDECARSET_TERMINATOR", "perhaps"), ("SIDECARSET_PROBE_LISTEN", "8082")];
    let (code, printed, told) = folder.run_as("controller", &args, &variables);
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    for expected in [
        "error: 10 settings are wrong",
        "  config.yaml line 1, lease is \"A\": it has to be of a-z, 0-9, - and .",
        "  config.yaml line 2: unknown setting \"wrokers\"; did you mean workers?",
        "  config.yaml line 3, resync is 0ns: it has to be at least 10s",
        "  --workers is \"0\": write a number from 1 to 64",
        "  --kube-api-qps is \"0\": 0 is not in 1..=100000",
        "  --lease-duration is 2s: it has to be at least 3s",
        "  --service is \"a.b\": it has to be of a-z, 0-9 and -",
        "  SIDECARSET_TERMINATOR is \"perhaps\": it can be true, false",
        "  SIDECARSET_PROBE_LISTEN is \"8082\": write an IP address and a port",
        "  no cluster: this is no Pod, so name one with --kubeconfig",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in\n{told}");
    }
}
