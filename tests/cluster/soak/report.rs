//! What a run has shown, for a verdict and for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::tally::{Call, Called, Inner, Way};

/// How often each reason occurred.
type Reasons = BTreeMap<String, usize>;

/// The sum of a [`super::tally::Tally`].
pub(crate) struct Report {
    /// Sorted latencies of answers that were right.
    good: BTreeMap<Way, Vec<Duration>>,
    /// Lost, and no replica was gone that explains it; or more than it can explain.
    pub(crate) failed: Reasons,
    pub(crate) wrong: Vec<String>,
    gone: Vec<Window>,
    /// Sent again although the API server was there.
    pub(crate) sent_again: Reasons,
    sent_again_around_outage: usize,
    bursts: usize,
    took: Duration,
    away: Vec<Duration>,
    events: Vec<String>,
}

/// A replica that was gone, and what was lost to it.
struct Window {
    what: &'static str,
    length: Duration,
    /// Requests while it was an endpoint.
    requests: usize,
    most_lost: usize,
    lost: Reasons,
}

impl Window {
    fn lost(&self) -> usize {
        self.lost.values().sum()
    }
}

impl Report {
    pub(crate) fn new(inner: &Inner) -> Self {
        let mut report = Self {
            good: BTreeMap::new(),
            failed: Reasons::new(),
            wrong: Vec::new(),
            gone: windows(inner),
            sent_again: Reasons::new(),
            sent_again_around_outage: 0,
            bursts: inner.bursts,
            took: took(&inner.calls),
            away: inner.away.iter().filter_map(|(began, ended)| Some((*ended)? - *began)).collect(),
            events: inner.events.clone(),
        };
        for call in &inner.calls {
            match &call.end {
                Called::Good => report.good.entry(call.way).or_default().push(call.to - call.from),
                Called::Wrong(why) => report.wrong.push(format!("{:?}: {why}", call.way)),
                Called::Lost(why) => {
                    let excuse = inner.gone.iter().position(|gone| gone.excuses(call.from, call.to, why));
                    let window = excuse.and_then(|at| report.gone.get_mut(at));
                    count(window.map_or(&mut report.failed, |window| &mut window.lost), call.way, why);
                }
            }
        }
        report.good.values_mut().for_each(|latencies| latencies.sort_unstable());
        for window in report.gone.iter().filter(|window| window.lost() > window.most_lost) {
            let what = format!("more than {} to a replica that was {}", window.most_lost, window.what);
            *report.failed.entry(what).or_default() += window.lost() - window.most_lost;
        }
        for (at, why) in &inner.sent_again {
            match inner.around_outage(*at, *at) {
                true => report.sent_again_around_outage += 1,
                false => *report.sent_again.entry(without_digits(why)).or_default() += 1,
            }
        }
        report
    }

    /// Good answers on one way.
    pub(crate) fn good(&self, way: Way) -> usize {
        self.good.get(&way).map_or(0, Vec::len)
    }

    /// Share of the Pods and reviews that came through the API server.
    pub(crate) fn share_through_api(&self) -> f64 {
        let through = self.good(Way::ThroughApi);
        through as f64 / (through + self.good(Way::Straight)).max(1) as f64
    }

    /// Changes of sets a second, over the whole run, also while the API server was away.
    pub(crate) fn changes_a_second(&self) -> f64 {
        self.good(Way::Change) as f64 / self.took.as_secs_f64()
    }

    /// Bursts a second.
    pub(crate) fn bursts_a_second(&self) -> f64 {
        self.bursts as f64 / self.took.as_secs_f64()
    }
}

/// From the first Pod to the last answer. Sets are made before.
fn took(calls: &[Call]) -> Duration {
    let first = calls.iter().filter(|call| call.way != Way::Change).map(|call| call.from).min();
    let last = calls.iter().map(|call| call.to).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
}

fn windows(inner: &Inner) -> Vec<Window> {
    let of = |from: Instant, to: Instant| {
        let under_way = inner.calls.iter().filter(|call| call.from < to && call.to > from);
        under_way.map(|call| call.way.requests()).sum()
    };
    let windows = inner.gone.iter().map(|gone| {
        let (what, length) = gone.told();
        let requests = of(gone.from, gone.unlisted);
        Window { what, length, requests, most_lost: gone.most_lost(requests), lost: Reasons::new() }
    });
    windows.collect()
}

fn count(reasons: &mut Reasons, way: Way, why: &str) {
    *reasons.entry(format!("{way:?}: {}", without_digits(why))).or_default() += 1;
}

/// Without ports and names, which differ each time.
fn without_digits(why: &str) -> String {
    why.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        for (window, what) in self.gone.iter().zip(1..) {
            writeln!(f, "  lost to replica {what} that was gone:")?;
            write_reasons(f, &window.lost)?;
        }
        writeln!(f, "\n| | {:.0?} |\n|---|---|", self.took)?;
        let names = [
            (Way::ThroughApi, "Pods through the API server"),
            (Way::Straight, "reviews straight over TLS"),
            (Way::Change, "changes of SidecarSets"),
        ];
        for (way, name) in names {
            let latencies = self.good.get(&way).map_or(&[][..], Vec::as_slice);
            let at = |share: f64| {
                let rank = (latencies.len().saturating_sub(1) as f64 * share) as usize;
                latencies.get(rank).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
            };
            let (p50, p99, longest) = (at(0.5), at(0.99), at(1.0));
            writeln!(
                f,
                "| {name}, all right | {}, p50 {p50:.1} ms, p99 {p99:.0} ms, longest {longest:.0} ms |",
                latencies.len()
            )?;
        }
        writeln!(f, "| through the API server | {:.0} % |", self.share_through_api() * 100.0)?;
        writeln!(f, "| changes of SidecarSets | {:.1}/s |", self.changes_a_second())?;
        writeln!(f, "| bursts | {:.2}/s |", self.bursts_a_second())?;
        writeln!(f, "| API server away | {:.1?} |", self.away)?;
        for window in &self.gone {
            let Window { what, length, requests, most_lost, .. } = window;
            writeln!(
                f,
                "| lost in the {length:.1?} with a replica {what} | {} of {requests} requests, at most {most_lost} may be |",
                window.lost()
            )?;
        }
        let sent_again = self.sent_again.values().sum::<usize>();
        writeln!(
            f,
            "| sent again because the API server was away | {} and {sent_again} when it was there |",
            self.sent_again_around_outage
        )?;
        writeln!(f, "| **failed** | {} |", self.failed.values().sum::<usize>())?;
        writeln!(f, "| **wrong** | {} |", self.wrong.len())?;
        write_reasons(f, &self.sent_again)?;
        write_reasons(f, &self.failed)?;
        self.wrong.iter().take(20).try_for_each(|wrong| writeln!(f, "    {wrong}"))
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &Reasons) -> fmt::Result {
    reasons.iter().try_for_each(|(reason, times)| writeln!(f, "    {times} x {reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::excuse::{Fate, Gone};
    use super::super::fleet::REPLICAS;
    use super::*;

    /// A replica that is killed at 10 s and an endpoint until 13 s, and these ends of calls at 11 s.
    fn mk_inner(ends: impl IntoIterator<Item = Called>) -> Inner {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let fate = Fate::Ended("killed");
        let gone = Gone { fate, address: REPLICAS[0], from: at(10), unlisted: at(13), to: at(13) };
        let calls = ends.into_iter().map(|end| Call { way: Way::Straight, from: at(11), to: at(11), end });
        Inner { calls: calls.collect(), gone: vec![gone], ..Inner::default() }
    }

    fn mk_refused() -> Called {
        Called::Lost("cannot connect to 10.1.0.2:10250: Connection refused (os error 111)".to_owned())
    }

    #[test]
    fn what_a_killed_replica_refuses_is_no_failure() {
        let report =
            Report::new(&mk_inner((0..90).map(|n| if n < 30 { mk_refused() } else { Called::Good })));
        assert_eq!(report.failed, Reasons::new());
        assert!(report.to_string().contains("| 30 of 90 requests, at most 48 may be |"), "{report}");
    }

    #[test]
    fn more_than_have_met_the_killed_replica_are() {
        let report =
            Report::new(&mk_inner((0..90).map(|n| if n < 60 { mk_refused() } else { Called::Good })));
        assert_eq!(report.failed.values().sum::<usize>(), 60 - 48, "{report}");
    }

    #[test]
    fn what_it_does_not_explain_is() {
        let report = Report::new(&mk_inner([Called::Lost("HTTP 500: a defect".to_owned()), Called::Good]));
        assert_eq!(report.failed, Reasons::from([("Straight: HTTP ###: a defect".to_owned(), 1)]));
    }

    #[test]
    fn a_second_try_needs_an_outage() {
        let now = Instant::now();
        let mut inner = Inner { sent_again: vec![(now, "HTTP 429".to_owned())], ..Inner::default() };
        assert_eq!(Report::new(&inner).sent_again.len(), 1);
        inner.away.push((now, None));
        assert!(Report::new(&inner).sent_again.is_empty());
    }
}
