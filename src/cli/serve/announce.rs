//! The log lines that say where we are, what we wait for, and that we are ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::AppState;
use crate::server::probes::Readiness;

/// How often it is looked whether we are ready.
const POLL: Duration = Duration::from_millis(100);
/// How often it is told that we are not.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Says that we are ready as soon as that is so, and before what that waits for. Ends with that, or when a drain starts.
pub(super) async fn run(place: String, readiness: Arc<Readiness>, state: Arc<AppState>) {
    let mut told: Option<Instant> = None;
    loop {
        let missing = readiness.missing();
        if state.draining.started() {
            return;
        }
        if missing.is_empty() {
            return tracing::info!("ready: {place}");
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            match told {
                None => tracing::info!("not ready before {}: {place}", names(&missing)),
                Some(_) => tracing::info!("still not ready: {}", details(&missing)),
            }
            told = Some(Instant::now());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn names(missing: &[(&str, String)]) -> String {
    missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// What is behind the conditions, on one line.
fn details(missing: &[(&str, String)]) -> String {
    let told = |(name, detail): &(&str, String)| match detail.trim_end() {
        "" => (*name).to_owned(),
        detail => format!("{name} ({})", detail.replace('\n', "; ")),
    };
    missing.iter().map(told).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_told_on_one_line() {
        let missing = [
            ("snapshot", String::new()),
            ("watches", "SidecarSet: the first list is not complete\nNamespace: 3 in use\n".to_owned()),
        ];
        assert_eq!(names(&missing), "snapshot, watches");
        assert_eq!(
            details(&missing),
            "snapshot, watches (SidecarSet: the first list is not complete; Namespace: 3 in use)"
        );
    }
}
