//! Runs the programs of a control plane so that none outlives the test process.
//!
//! A small shell script is their parent. It ends them in order as soon as its stdin ends, and that happens on drop,
//! when a test panics, when the test binary returns, and when it is killed: no signal handler and no `atexit` needed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SCRIPT: &str = include_str!("supervisor.sh");

/// Where the programs of a supervisor run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// In the network namespace of the test process.
    Shared,
    /// In a new network namespace, which lasts as long as a program runs in it.
    Own,
}

/// The parent of a control plane's programs; the folder holds their logs and data.
pub(crate) struct Supervisor {
    folder: PathBuf,
    network: Network,
    shell: Mutex<Shell>,
}

struct Shell {
    process: Child,
    /// `None` once the end of the input has been sent.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts the parent process; its working folder is `folder`, which must exist.
    ///
    /// # Errors
    /// A sentence, when the shell or the network namespace cannot be made.
    pub(crate) fn new(folder: &Path, network: Network) -> Result<Self, String> {
        let script = folder.join("supervisor.sh");
        fs::write(&script, SCRIPT).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
        let log = fs::File::create(folder.join("supervisor.log"))
            .map_err(|error| format!("cannot write into {}: {error}", folder.display()))?;
        let mut command = match network {
            Network::Shared => Command::new("sh"),
            Network::Own => {
                let mut unshare = Command::new("unshare");
                // A user namespace gives the right to make a network namespace to anyone; root in a container often
                // has that right but may not make user namespaces.
                unshare.args(own_network_flags()?).args(["--", "sh"]);
                unshare
            }
        };
        let mut process = command
            .arg(&script)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in a terminal must reach the test only; the parent then sees its input end.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        let commands = process.stdin.take();
        let answers = process.stdout.take().ok_or("the supervisor has no stdout")?;
        let shell = Shell { process, commands, answers: BufReader::new(answers) };
        let supervisor = Self { folder: folder.to_owned(), network, shell: Mutex::new(shell) };
        // Whoever enters the network before the process has made it would be in ours, and change that.
        match supervisor.ask("hello")?.as_str() {
            "hello" => Ok(supervisor),
            answer => Err(format!("the supervisor answered {answer:?} when asked for a sign of life")),
        }
    }

    /// Starts a program under a name of lower-case letters, digits and `_`; its output goes to `NAME.log`.
    ///
    /// # Errors
    /// A sentence, when the supervisor is gone. That the program fails later is seen by [`Supervisor::ended`].
    pub(crate) fn start(&self, name: &str, command: &[String]) -> Result<u32, String> {
        let quoted: Vec<String> = command.iter().map(|word| quote(word)).collect();
        let answer = self.ask(&format!("start {name} {}", quoted.join(" ")))?;
        answer
            .strip_prefix("started ")
            .and_then(|pid| pid.parse().ok())
            .ok_or_else(|| format!("the supervisor answered {answer:?} when asked to start {name}"))
    }

    /// Ends a program with SIGTERM (SIGKILL after 10 s), waits for it and returns its exit status.
    ///
    /// # Errors
    /// A sentence, when the supervisor is gone.
    pub(crate) fn stop(&self, name: &str) -> Result<i32, String> {
        let answer = self.ask(&format!("stop {name}"))?;
        answer
            .strip_prefix("stopped ")
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| format!("the supervisor answered {answer:?} when asked to stop {name}"))
    }

    /// Sends a signal, for example `KILL`, to the program with this process id.
    ///
    /// # Errors
    /// What `kill` says.
    pub(crate) fn signal(pid: u32, name: &str) -> Result<(), String> {
        let output = Command::new("kill")
            .args(["-s", name, &pid.to_string()])
            .output()
            .map_err(|error| format!("cannot run kill: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Whether the program with this process id has ended by itself.
    pub(crate) fn ended(pid: u32) -> bool {
        // The state follows the name in brackets; a program that has ended stays as Z until its parent waits for it.
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')),
            Err(_) => true,
        }
    }

    /// The words which run a command inside the programs' network namespace; none when it is the test's own.
    pub(crate) fn enter(&self) -> Vec<String> {
        match self.network {
            Network::Shared => Vec::new(),
            Network::Own => {
                let pid = self.lock().process.id().to_string();
                let mut words = vec!["nsenter", "--target", &pid, "--net"];
                if own_network_flags().is_ok_and(|flags| flags.contains(&"--user")) {
                    words.extend(["--user", "--preserve-credentials"]);
                }
                words.push("--");
                words.into_iter().map(str::to_owned).collect()
            }
        }
    }

    /// What a program has printed so far.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = fs::read(self.log_file(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines of a program's log, each indented, for a failure message.
    pub(crate) fn log_tail(&self, name: &str) -> String {
        let text = self.log(name);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(25);
        format!("{} ends with:\n    {}", self.log_file(name).display(), lines[from..].join("\n    "))
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn ask(&self, line: &str) -> Result<String, String> {
        let mut shell = self.lock();
        let gone = |error: std::io::Error| format!("the supervisor is gone: {error}");
        let commands = shell.commands.as_mut().ok_or("the supervisor was stopped")?;
        writeln!(commands, "{line}").and_then(|()| commands.flush()).map_err(gone)?;
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).map_err(gone)?;
        Ok(answer.trim_end().to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Shell> {
        // A test that panicked with the lock must not hide what the others find.
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut shell = self.lock();
        shell.commands = None;
        // Nothing can be done about a failure here, and waiting is what matters.
        let _ = shell.process.wait();
    }
}

/// The flags of `unshare` for a network namespace of one's own: the first that this machine allows.
pub(crate) fn own_network_flags() -> Result<&'static [&'static str], String> {
    const CHOICES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let mut refusals = Vec::new();
    for flags in CHOICES {
        match Command::new("unshare").args(flags).args(["--", "ip", "link", "set", "lo", "up"]).output() {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => refusals.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => refusals.push(format!("unshare: {error}")),
        }
    }
    Err(format!(
        "this test needs a network namespace of its own: root, or user namespaces, and the programs unshare, nsenter \
         and ip; found: {}",
        refusals.join("; ")
    ))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
