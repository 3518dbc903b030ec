//! Reports as a person reads them.

use super::pods::Names;
use super::report::{Report, State};
use crate::cli::printer::table;

/// Longest message in the table of all sets, in characters.
const LONGEST_MESSAGE: usize = 100;
/// Width of the bar without its brackets.
const BAR: usize = 20;

/// A row a set.
pub(super) fn all(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no SidecarSets\n".to_owned();
    }
    let head =
        ["NAME", "STATE", "UPDATED", "READY", "INJECTED", "REASON", "MESSAGE"].map(str::to_owned).to_vec();
    let rows = reports.iter().map(|report| {
        vec![
            report.name.clone(),
            word(report.state).to_owned(),
            format!("{}/{}", report.updated_pods, report.matched_pods),
            format!("{}/{}", report.ready_pods, report.matched_pods),
            match &report.injection {
                None => "unknown",
                Some(injection) if injection.complete => "all",
                Some(_) => "not all",
            }
            .to_owned(),
            report.reason.clone(),
            shortened(&report.message, LONGEST_MESSAGE),
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// One rollout with everything that is known about it.
pub(super) fn one(report: &Report) -> String {
    let Report { name, matched_pods: matched, updated_pods: updated, ready_pods: ready, .. } = report;
    let mut rows = vec![
        ("updated", format!("{updated} of {matched} Pods, {} of these ready", report.updated_ready_pods)),
        ("ready", format!("{ready} of {matched} Pods")),
    ];
    if !report.latest_revision.is_empty() {
        rows.push(("revision", report.latest_revision.clone()));
    }
    if report.state != State::Done {
        rows.push(("because", format!("{}: {}", report.reason, report.message)));
    }
    if !report.advice.is_empty() {
        rows.push(("to do", report.advice.replace("NAME", name)));
    }
    if let Some(injection) = &report.injection
        && !injection.complete
    {
        rows.push(("injection", injection.message.clone()));
    }
    if let Some(pods) = &report.pods {
        let lists = [
            ("not updated", &pods.not_updated),
            ("not upgradable", &pods.not_upgradable),
            ("updated, not ready", &pods.updated_not_ready),
        ];
        rows.extend(lists.iter().filter(|(_, list)| list.count > 0).map(|(what, list)| (*what, names(list))));
    }
    let rows: Vec<_> = rows.into_iter().map(|(what, told)| vec![format!("  {what}"), told]).collect();
    format!("sidecarset.apps.kruise.io/{name}: {}\n{}", word(report.state), table(&rows))
}

/// One line of a rollout that is followed.
pub(super) fn line(report: &Report) -> String {
    format!("{}: {}: {}", report.name, word(report.state), report.message)
}

/// The same for a terminal of `width` columns, with a bar.
pub(super) fn bar(report: &Report, width: usize) -> String {
    let part = |count: i64| {
        let of = usize::try_from(report.matched_pods).unwrap_or_default();
        let count = usize::try_from(count).unwrap_or_default().min(of);
        // No Pods, nothing left to do.
        (count * BAR).checked_div(of).unwrap_or(BAR)
    };
    let (ready, updated) = (part(report.updated_ready_pods), part(report.updated_pods));
    let ready = ready.min(updated);
    let bar = ["#".repeat(ready), "=".repeat(updated - ready), "-".repeat(BAR - updated)].concat();
    let Report { matched_pods, updated_pods, updated_ready_pods, .. } = report;
    let counts = format!("[{bar}] {updated_pods}/{matched_pods} updated, {updated_ready_pods} ready");
    // The message begins with the counts; what follows is what it waits for.
    let rest = report.message.split_once("; ").map_or(word(report.state), |(_, rest)| rest);
    shortened(&format!("{counts}: {rest}"), width)
}

fn names(names: &Names) -> String {
    let first = names.first.join(", ");
    match names.count.saturating_sub(names.first.len()) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Done => "done",
        State::Held => "held",
        State::Progressing => "progressing",
        State::Blocked => "blocked",
    }
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::pods::PodsSeen;
    use super::super::report::Injection;
    use super::*;

    fn report() -> Report {
        Report {
            name: "log-agent".to_owned(),
            state: State::Blocked,
            reason: "Paused".to_owned(),
            message: "7 of 10 Pods updated, 5 of these ready; updateStrategy.paused is true".to_owned(),
            advice: "sidecarset rollout resume NAME",
            matched_pods: 10,
            updated_pods: 7,
            ready_pods: 8,
            updated_ready_pods: 5,
            latest_revision: "log-agent-5d".to_owned(),
            injection: Some(Injection { complete: false, message: "2 Pods lack the sidecars".to_owned() }),
            pods: Some(PodsSeen {
                not_updated: Names { count: 3, first: vec!["shop/a".to_owned(), "shop/b".to_owned()] },
                ..PodsSeen::default()
            }),
        }
    }

    #[test]
    fn one_rollout_is_told_with_what_to_do() {
        assert_eq!(
            one(&report()),
            "sidecarset.apps.kruise.io/log-agent: blocked\n\
             \x20 updated       7 of 10 Pods, 5 of these ready\n\
             \x20 ready         8 of 10 Pods\n\
             \x20 revision      log-agent-5d\n\
             \x20 because       Paused: 7 of 10 Pods updated, 5 of these ready; updateStrategy.paused is true\n\
             \x20 to do         sidecarset rollout resume log-agent\n\
             \x20 injection     2 Pods lack the sidecars\n\
             \x20 not updated   shop/a, shop/b and 1 more\n"
        );
    }

    #[test]
    fn all_sets_are_a_table() {
        let done = Report {
            name: "mesh".to_owned(),
            state: State::Done,
            reason: "AllPodsUpdated".to_owned(),
            message: "x".repeat(101),
            injection: None,
            ..report()
        };
        let text = all(&[report(), done]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME        STATE     UPDATED   READY   INJECTED   REASON           MESSAGE");
        assert!(
            lines[1]
                .starts_with("log-agent   blocked   7/10      8/10    not all    Paused           7 of 10")
        );
        assert!(
            lines[2].starts_with("mesh        done      7/10      8/10    unknown    AllPodsUpdated   x")
        );
        assert!(lines[2].ends_with("x..."), "{text}");
        assert_eq!(all(&[]), "no SidecarSets\n");
    }

    #[test]
    fn the_bar_fits_its_terminal() {
        let expected = "[##########====------] 7/10 updated, 5 ready: updateStrategy.paused is true";
        assert_eq!(bar(&report(), 80), expected);
        assert_eq!(bar(&report(), 40), "[##########====------] 7/10 updated,...");
        let none = Report {
            matched_pods: 0,
            updated_pods: 0,
            updated_ready_pods: 0,
            state: State::Done,
            message: "no Pod carries this set".to_owned(),
            ..report()
        };
        assert_eq!(bar(&none, 80), "[####################] 0/0 updated, 0 ready: done");
    }
}
