//! Variables that look like settings and are none: a typing mistake must not pass in silence.

use std::collections::BTreeSet;

use clap::Command;

use super::layers::Environment;

/// What all our variables begin with.
const PREFIX: &str = "SIDECARSET_";

/// A warning for each variable that begins as ours do and that no flag of any command reads.
#[must_use]
pub fn unknown_variables(command: &Command, environment: &Environment) -> Vec<String> {
    let known: BTreeSet<&str> = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(|arg| arg.get_env()?.to_str())
        .collect();
    let names: BTreeSet<&str> = environment.keys().filter_map(|name| name.to_str()).collect();
    names
        .iter()
        .filter(|name| name.starts_with(PREFIX) && !known.contains(*name) && !is_service_link(name, &names))
        .map(|name| {
            let nearest = known.iter().map(|known| (distance(name, known), known)).min();
            match nearest {
                Some((1..=3, known)) => {
                    format!("no setting reads the variable {name}; did you mean {known}?")
                }
                _ => format!("no setting reads the variable {name}"),
            }
        })
        .collect()
}

/// Kubernetes tells each Pod of the Services in its namespace: `SIDECARSET_WEBHOOK_SERVICE_HOST`, `SIDECARSET_WEBHOOK_PORT` and more.
fn is_service_link(name: &str, all: &BTreeSet<&str>) -> bool {
    ["_SERVICE_", "_PORT"].iter().any(|mark| {
        name.match_indices(mark).any(|(at, _)| {
            let service = name.get(..at).unwrap_or_default();
            all.contains(format!("{service}_SERVICE_HOST").as_str())
        })
    })
}

/// How many characters have to be changed, added or left out to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Args;

    fn warnings(names: &[&str]) -> Vec<String> {
        let environment = names.iter().map(|name| ((*name).into(), "x".into())).collect();
        unknown_variables(&Args::command(), &environment)
    }

    #[test]
    fn a_typing_mistake_is_told_with_what_was_meant() {
        assert_eq!(
            warnings(&["SIDECARSET_WORKER", "SIDECARSET_WORKERS", "PATH"]),
            ["no setting reads the variable SIDECARSET_WORKER; did you mean SIDECARSET_WORKERS?"]
        );
        assert_eq!(
            warnings(&["SIDECARSET_MEANING_OF_LIFE"]),
            ["no setting reads the variable SIDECARSET_MEANING_OF_LIFE"]
        );
    }

    #[test]
    fn the_links_of_services_are_no_mistakes() {
        let links = [
            "SIDECARSET_WEBHOOK_SERVICE_HOST",
            "SIDECARSET_WEBHOOK_SERVICE_PORT",
            "SIDECARSET_WEBHOOK_SERVICE_PORT_HTTPS",
            "SIDECARSET_WEBHOOK_PORT",
            "SIDECARSET_WEBHOOK_PORT_443_TCP",
            "SIDECARSET_WEBHOOK_PORT_443_TCP_ADDR",
        ];
        assert_eq!(warnings(&links), Vec::<String>::new());
        assert_eq!(warnings(&["SIDECARSET_WEBHOOK_PORT"]).len(), 1, "no Service is there: a mistake");
    }

    #[test]
    fn distances_count_changes() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "bc", 1), ("ab", "ba", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
