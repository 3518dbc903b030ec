//! Servers as processes: starting and ending them, their CPU and memory as `/proc` tells them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a server may take until it is ready; with 50,000 SidecarSets it reads some 20 MB of them first.
const START_TIME: Duration = Duration::from_secs(60);
/// How often a starting server is tried.
const START_POLL: Duration = Duration::from_millis(10);
/// Bytes of a server's log that are kept, to say why it did not start.
const LOG_BEGINNING: u64 = 16 << 10;

/// A server that runs until this value is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` with `args` and `--listen` on a free port, and waits until it takes connections there.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", program.display());
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let mut child = Command::new(program)
            .args(args)
            .arg("--listen")
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| wrong(format!("cannot start: {error}")))?;
        let stderr = child.stderr.take();
        let mut server = Self { child, address };
        let log = read_log(stderr.ok_or_else(|| wrong("has no stderr".to_owned()))?);
        let until = Instant::now() + START_TIME;
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait().map_err(|error| wrong(error.to_string()))?.is_some() {
                let log = log.join().unwrap_or_default();
                return Err(wrong(format!("ended before it was ready; its log:\n{log}")));
            }
            if Instant::now() > until {
                return Err(wrong(format!("took no connection within {START_TIME:?}")));
            }
            thread::sleep(START_POLL);
        }
        Ok(server)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens on.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Reads all of a log, as a container runtime does: one that nobody reads would stop. Returns its beginning.
fn read_log(mut log: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut beginning = Vec::new();
        // What cannot be read is not there; the server's end is noticed elsewhere.
        let _ = log.by_ref().take(LOG_BEGINNING).read_to_end(&mut beginning);
        let _ = io::copy(&mut log, &mut io::sink());
        String::from_utf8_lossy(&beginning).into_owned()
    })
}

/// CPU time of each thread of a process at one moment.
pub(crate) struct CpuTimes(BTreeMap<u32, (String, u64)>);

impl CpuTimes {
    /// Reads `/proc/PID/task/*/schedstat`, which counts nanoseconds on a CPU.
    pub(crate) fn read(pid: u32) -> Result<Self, String> {
        let dir = format!("/proc/{pid}/task");
        let wrong = |error| format!("{dir}: {error}; the process has to run on this machine, under Linux");
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let id = path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
            // A thread may end while we look.
            let (Some(id), Ok(name), Ok(text)) =
                (id, fs::read_to_string(path.join("comm")), fs::read_to_string(path.join("schedstat")))
            else {
                continue;
            };
            let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
            let nanoseconds =
                nanoseconds.ok_or_else(|| format!("{}: unexpected schedstat {text:?}", path.display()))?;
            threads.insert(id, (name.trim_end().to_owned(), nanoseconds));
        }
        Ok(Self(threads))
    }

    /// Microseconds from `earlier` to this, by name of thread. What a thread used that ended in between is lost.
    pub(crate) fn since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let mut by_name = BTreeMap::new();
        for (id, (name, now)) in &self.0 {
            let before = earlier.0.get(id).map_or(0, |(_, before)| *before);
            *by_name.entry(name.clone()).or_default() += now.saturating_sub(before) as f64 / 1e3;
        }
        by_name
    }
}

/// Memory of a process in KiB: what is resident now, and the most that ever was.
pub(crate) fn resident_kib(pid: u32) -> Result<(u64, u64), String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| format!("{path}: no {name}"))
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_shows_its_log() {
        let args = ["-c", "echo the reason >&2; exit 3"];
        let error = Server::start(Path::new("/bin/sh"), args).err();
        assert!(error.as_ref().is_some_and(|text| text.contains("the reason\n")), "{error:?}");
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let pid = std::process::id();
        let before = CpuTimes::read(pid).expect("readable");
        let start = Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(30) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let used: f64 = CpuTimes::read(pid).expect("readable").since(&before).values().sum();
        assert!(used > 100.0, "{used} µs for {sum} steps");
        let (now, most) = resident_kib(pid).expect("readable");
        assert!(0 < now && now <= most);
    }
}
