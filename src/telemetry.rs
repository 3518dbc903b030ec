//! Logs: one line an event on stderr, text for people or JSON for programs, written by a thread of its own.
//!
//! An admission must never wait for the reader of our log. So a line goes into a bounded buffer; the writer thread takes
//! the whole buffer at once, at most every few milliseconds, and a line that does not fit is dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Most bytes of lines that wait for the writer.
const BUFFER_BYTES: usize = 4 << 20;
/// How long the writer collects lines before it writes: 50 writes a second instead of one a request.
const COLLECT: Duration = Duration::from_millis(20);
/// How long the end of the process waits for somebody to read what is left.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts logging to stderr for the whole process. The log is complete only once the returned guard was dropped.
///
/// # Errors
///
/// The thread cannot be started, or a logger is already installed.
pub fn start(format: LogFormat, level: LevelFilter, dropped: Counter) -> io::Result<LogGuard> {
    let (writer, guard) = buffered(io::stderr(), dropped)?;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let installed = match format {
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).with_writer(writer).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_writer(writer).try_init(),
    };
    installed.map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// A panic becomes a log line. Its text is shown only if it is a literal: a formatted one may quote a request's body.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let text = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(text withheld)");
    tracing::error!(place, text, "panic: this is a defect of sidecarset, please report it");
}

/// Makes a writer which hands whole lines to a thread that owns `out`.
fn buffered(out: impl Write + Send + 'static, dropped: Counter) -> io::Result<(LogWriter, LogGuard)> {
    let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), dropped });
    let for_thread = Arc::clone(&shared);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&for_thread, out))?;
    Ok((LogWriter { shared: Arc::clone(&shared) }, LogGuard { shared }))
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    closing: bool,
    /// The last lines have been written.
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// For the writer, when there are lines or it has to end, and for who waits for its end.
    wake: Condvar,
    dropped: Counter,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while logging must not end all logging.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_lines(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let mut state = shared.lock();
        while state.lines.is_empty() && !state.closing {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.closing {
            // Nobody is woken for the lines that come while we wait here, which is what makes logging cheap.
            drop(state);
            std::thread::sleep(COLLECT);
            state = shared.lock();
        }
        std::mem::swap(&mut batch, &mut state.lines);
        let closing = state.closing;
        drop(state);
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            // A full disk or a closed pipe: nobody can be told here, and serving goes on.
            shared.dropped.inc_by(batch.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
        batch.clear();
        if closing {
            shared.lock().closed = true;
            shared.wake.notify_all();
            return;
        }
    }
}

/// Keeps the log's thread; dropping it writes what is left, if somebody reads it.
#[derive(Debug)]
pub struct LogGuard {
    shared: Arc<Shared>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.wake.notify_all();
        let closed = self.shared.wake.wait_timeout_while(state, LAST_LINES, |state| !state.closed);
        // Either way the process ends now, and a panic while logging was already reported.
        drop(closed);
    }
}

/// Puts lines into the shared buffer.
#[derive(Debug, Clone)]
struct LogWriter {
    shared: Arc<Shared>,
}

impl Write for LogWriter {
    /// Takes one whole line: tracing-subscriber formats an event first and writes it with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        if state.lines.len() + line.len() > BUFFER_BYTES {
            self.shared.dropped.inc();
            return Ok(line.len());
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.shared.wake.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_are_written_in_order_before_the_guard_is_gone() {
        let sink = Sink::default();
        let (mut writer, guard) = buffered(sink.clone(), Counter::default()).expect("thread");
        for n in 0..1000 {
            writer.write_all(format!("line {n}\n").as_bytes()).expect("never fails");
        }
        drop(guard);
        let text = String::from_utf8(sink.0.lock().expect("lock").clone()).expect("text");
        assert_eq!(text.lines().count(), 1000);
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 999\n"));
    }

    #[test]
    fn a_line_that_does_not_fit_is_dropped_and_counted() {
        let dropped = Counter::default();
        let (mut writer, guard) = buffered(io::sink(), dropped.clone()).expect("thread");
        writer.write_all(&vec![b'x'; BUFFER_BYTES + 1]).expect("never fails");
        drop(guard);
        assert_eq!(dropped.get(), 1);
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let dropped = Counter::default();
        let (mut writer, guard) = buffered(Full, dropped.clone()).expect("thread");
        for line in [b"one\n".as_slice(), b"two\n", b"three\n"] {
            writer.write_all(line).expect("never fails");
        }
        drop(guard);
        assert_eq!(dropped.get(), 3);
    }
}
