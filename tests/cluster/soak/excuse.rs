//! Which losses could not have been prevented: a replica was gone, and clients still went to it.
//!
//! A call may be lost then, and only then, and only in the way in which the replica is gone, and not more of them than have met it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::fleet::REPLICAS;

/// Idle connections that a client keeps to one host. All of them may lead to a machine that is cut off.
const IDLE: f64 = 25.0;
/// Clients that do: the API server for Pods and for SidecarSets, and the one that sends straight.
const CLIENTS: f64 = 3.0;

/// How a replica was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its process has ended: the kernel refuses and resets.
    Ended(&'static str),
    /// Its machine is cut off: nothing comes back.
    CutOff,
}

/// A replica that was gone while clients went to it.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) fate: Fate,
    pub(crate) address: Ipv4Addr,
    pub(crate) from: Instant,
    /// When clients knew that it is no endpoint any more.
    pub(crate) unlisted: Instant,
    /// When none had a connection to it any more.
    pub(crate) to: Instant,
}

impl Gone {
    /// Whether a call that was lost for this reason was lost to this replica.
    pub(crate) fn excuses(&self, from: Instant, to: Instant, why: &str) -> bool {
        let in_time = from < self.to && to > self.from;
        let in_this_way = match self.fate {
            Fate::Ended(_) => is_broken(why) && !is_timeout(why),
            Fate::CutOff => is_timeout(why) && !is_broken(why),
        };
        // Not every text names an address: "EOF" and a handshake that takes too long have none. One that does has to be this one.
        let elsewhere = addresses(why).any(|address| address != self.address);
        in_time && in_this_way && !elsewhere
    }

    /// Most calls that may be lost, of `calls` that were under way or began while the replica was an endpoint.
    ///
    /// Each of them may have gone to it, on a connection that was open or on a new one: one in three by chance, and four
    /// standard deviations. A machine that is cut off answers nothing on idle connections either.
    pub(crate) fn most_lost(&self, calls: usize) -> usize {
        let share = 1.0 / REPLICAS.len() as f64;
        let calls = calls as f64;
        let by_chance = calls * share + 4.0 * (calls * share * (1.0 - share)).sqrt();
        let idle = if self.fate == Fate::CutOff { IDLE * CLIENTS } else { 0.0 };
        (by_chance + idle).ceil() as usize
    }

    /// For a report.
    pub(crate) fn told(&self) -> (&'static str, Duration) {
        let what = match self.fate {
            Fate::Ended(what) => what,
            Fate::CutOff => "cut off",
        };
        (what, self.to - self.from)
    }
}

/// Whether the connection was refused, reset or ended, in the words of Go and of the client that sends straight.
fn is_broken(why: &str) -> bool {
    const WORDS: [&str; 7] = [
        "onnection refused",
        "onnection reset",
        "roken pipe",
        "EOF",
        "handshake eof",
        "closed before the answer was whole",
        "without sending TLS close_notify",
    ];
    WORDS.iter().any(|words| why.contains(words))
}

/// Whether nobody answered in time, in the words of both.
fn is_timeout(why: &str) -> bool {
    ["deadline exceeded", "Timeout exceeded", "timeout", "no answer from", "no connection within"]
        .iter()
        // What an API server says about every webhook has its patience in the address.
        .any(|words| why.replace("?timeout=", "").contains(words))
}

/// The replicas that a text names with a port, as Go and the client that sends straight do.
fn addresses(why: &str) -> impl Iterator<Item = Ipv4Addr> {
    REPLICAS.into_iter().filter(move |address| why.contains(&format!("{address}:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "failed calling webhook \"pods.sidecarset.kruise.io\": failed to call webhook: Post \
        \"https://sidecarset-webhook.sidecarset-system.svc:443/mutate-pod?timeout=10s\": ";

    fn mk_gone(fate: Fate) -> (Gone, Instant) {
        let from = Instant::now();
        let at = |seconds| from + Duration::from_secs(seconds);
        (Gone { fate, address: REPLICAS[2], from, unlisted: at(2), to: at(3) }, at(1))
    }

    #[test]
    fn a_killed_replica_refuses_resets_and_ends() {
        let (gone, now) = mk_gone(Fate::Ended("killed"));
        for why in [
            "cannot connect to 10.1.0.4:10250: Connection refused (os error 111)",
            "10.1.0.4:10250: the connection was closed before the answer was whole",
            &format!("{API}dial tcp 10.1.0.4:10250: connect: connection refused"),
            &format!("{API}read tcp 10.1.0.1:4711->10.1.0.4:10250: read: connection reset by peer"),
            &format!("{API}EOF"),
        ] {
            assert!(gone.excuses(now, now, why), "{why}");
        }
        for why in [
            "cannot connect to 10.1.0.3:10250: Connection refused (os error 111)",
            "no answer from 10.1.0.4:10250 within 10s",
            "HTTP 500: a defect",
            &format!("{API}dial tcp 10.1.0.2:10250: connect: connection refused"),
            &format!("{API}context deadline exceeded"),
            &format!("{API}tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        ] {
            assert!(!gone.excuses(now, now, why), "{why}");
        }
        let refused = "cannot connect to 10.1.0.4:10250: Connection refused (os error 111)";
        assert!(!gone.excuses(gone.to, gone.to, refused), "clients know better by now");
        assert!(!gone.excuses(gone.from, gone.from, refused), "before");
    }

    #[test]
    fn a_machine_that_is_cut_off_answers_nothing() {
        let (gone, now) = mk_gone(Fate::CutOff);
        for why in [
            "no answer from 10.1.0.4:10250 within 10s",
            "no connection within 10s",
            &format!("{API}context deadline exceeded"),
            &format!("{API}dial tcp 10.1.0.4:10250: i/o timeout"),
        ] {
            assert!(gone.excuses(now, now, why), "{why}");
        }
        for why in [
            "no answer from 10.1.0.2:10250 within 10s",
            "cannot connect to 10.1.0.4:10250: Connection refused (os error 111)",
            &format!("{API}EOF"),
        ] {
            assert!(!gone.excuses(now, now, why), "{why}");
        }
    }

    #[test]
    fn what_may_be_lost_is_bounded_by_what_was_asked() {
        let (killed, _) = mk_gone(Fate::Ended("killed"));
        assert_eq!(killed.most_lost(0), 0);
        assert_eq!(killed.most_lost(900), 300 + 57);
        let (cut_off, _) = mk_gone(Fate::CutOff);
        assert_eq!(cut_off.most_lost(900), 300 + 57 + 75);
    }
}
