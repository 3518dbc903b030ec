//! kubectl, as a person runs it: arguments in, text and exit code out.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// kubectl with one control plane's kubeconfig, in one namespace.
#[derive(Clone)]
pub(crate) struct Kubectl {
    /// Words before the program's own: how to enter the control plane's network.
    pub(crate) enter: Vec<String>,
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) cache: PathBuf,
    /// Empty where objects say themselves to which they belong: kubectl refuses those of another one.
    pub(crate) namespace: String,
}

impl Kubectl {
    /// The same kubectl in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// Runs kubectl and gives what it printed, or its stderr when it failed.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String, String> {
        self.run_with_input(args, "")
    }

    /// Runs kubectl with text on its stdin.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Result<String, String> {
        let output = self.output(args, input)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Runs kubectl and gives everything it printed, whether it failed or not.
    ///
    /// # Errors
    /// A sentence, when it cannot be started.
    pub(crate) fn output(&self, args: &[&str], input: &str) -> Result<Output, String> {
        let words = self.command(args);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", words[0]))?;
        let mut stdin = child.stdin.take().ok_or("kubectl has no stdin")?;
        let input = input.to_owned();
        // Beside the reading below: kubectl answers while it reads, and a full pipe would stop both.
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(|error| format!("kubectl: {error}"))?;
        // kubectl may end before it has read all, with a message of its own: that is what counts.
        let _ = writer.join();
        Ok(output)
    }

    /// What kubectl prints, as a test expects it to succeed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        match self.run(args) {
            Ok(text) => text,
            Err(error) => panic!("kubectl {} failed: {error}", args.join(" ")),
        }
    }

    /// kubectl's stderr, as a test expects it to fail.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], input: &str) -> String {
        match self.run_with_input(args, input) {
            Ok(text) => panic!("kubectl {} must fail but printed: {text}", args.join(" ")),
            Err(error) => error,
        }
    }

    /// The JSON that `kubectl ARGS -o json` prints.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => panic!("kubectl {} printed no JSON ({error}): {text}", args.join(" ")),
        }
    }

    /// `kubectl create -f -` of these objects; prints what kubectl prints.
    #[track_caller]
    pub(crate) fn create(&self, objects: &[Value]) -> String {
        match self.run_with_input(&["create", "-f", "-"], &list(objects)) {
            Ok(text) => text,
            Err(error) => panic!("kubectl create -f - failed: {error}"),
        }
    }

    fn command(&self, args: &[&str]) -> Vec<String> {
        let mut words = self.enter.clone();
        words.push(self.program.display().to_string());
        words.push(format!("--kubeconfig={}", self.kubeconfig.display()));
        words.push(format!("--cache-dir={}", self.cache.display()));
        if !self.namespace.is_empty() {
            words.push(format!("--namespace={}", self.namespace));
        }
        words.extend(args.iter().map(|word| (*word).to_owned()));
        words
    }
}

/// Objects as one text that kubectl reads.
pub(crate) fn list(objects: &[Value]) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
