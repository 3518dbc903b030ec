//! Which CAs are in the bundles of the objects that make an API server call us, and since when.

use std::time::Duration;

use super::authority::CaCertificate;

/// One `caBundle`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bundle {
    /// The CAs in it.
    pub cas: Vec<CaCertificate>,
    /// Whether it holds something else beside them.
    pub unreadable: bool,
}

impl Bundle {
    /// Reads a bundle; an absent one is empty.
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Self {
        let (cas, unreadable) = CaCertificate::all_of_pem(pem);
        // A text without any block is no bundle either.
        Self { unreadable: unreadable > 0 || (cas.is_empty() && !pem.is_empty()), cas }
    }

    /// Whether it holds exactly these CAs, in any order.
    #[must_use]
    pub fn is(&self, wanted: &[&CaCertificate]) -> bool {
        !self.unreadable
            && self.cas.len() == wanted.len()
            && wanted.iter().all(|ca| self.cas.iter().any(|has| has == *ca))
    }
}

/// What a replica knows of one object that holds bundles.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Seen {
    /// Nothing yet.
    #[default]
    NotYet,
    /// It cannot be read at the moment.
    Failed,
    /// There is no such object, or it has nothing to do with us: no API server calls us because of it.
    Missing,
    /// It is there, with a bundle for each webhook of ours in it.
    Present(Vec<Bundle>),
}

/// The bundles of all objects, and since when each CA has been in all of them.
#[derive(Debug, Clone)]
pub struct Spread {
    objects: Vec<Seen>,
    everywhere: Vec<(CaCertificate, Duration)>,
}

impl Spread {
    /// Of so many objects.
    #[must_use]
    pub fn new(objects: usize) -> Self {
        Self { objects: vec![Seen::NotYet; objects], everywhere: Vec::new() }
    }

    /// Notes what one of them holds, `at` a time of a clock that never jumps.
    pub fn note(&mut self, object: usize, seen: Seen, at: Duration) {
        if let Some(known) = self.objects.get_mut(object) {
            *known = seen;
        }
        let mut still = std::mem::take(&mut self.everywhere);
        still.retain(|(ca, _)| self.holds_everywhere(ca));
        for ca in self.cas() {
            if still.iter().all(|(known, _)| known != ca) && self.holds_everywhere(ca) {
                still.push((ca.clone(), at));
            }
        }
        self.everywhere = still;
    }

    /// Whether every object was looked at, successfully or not.
    #[must_use]
    pub fn looked(&self) -> bool {
        !self.objects.contains(&Seen::NotYet)
    }

    /// Every CA in some bundle, each perhaps more than once.
    pub fn cas(&self) -> impl Iterator<Item = &CaCertificate> {
        self.bundles().flat_map(|bundle| &bundle.cas)
    }

    /// How long this CA has been in every bundle; `None` if it is not, or if that cannot be known at the moment.
    #[must_use]
    pub fn since(&self, ca: &CaCertificate, at: Duration) -> Option<Duration> {
        if self.objects.iter().all(|seen| *seen == Seen::Missing) {
            // Nobody calls us, so nobody can refuse us.
            return Some(Duration::MAX);
        }
        let (_, since) = self.everywhere.iter().find(|(known, _)| known == ca)?;
        Some(at.saturating_sub(*since))
    }

    fn holds_everywhere(&self, ca: &CaCertificate) -> bool {
        self.objects.iter().all(|seen| match seen {
            Seen::Missing => true,
            Seen::Present(bundles) => bundles.iter().all(|bundle| bundle.cas.contains(ca)),
            Seen::NotYet | Seen::Failed => false,
        })
    }

    fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.objects.iter().flat_map(|seen| match seen {
            Seen::Present(bundles) => bundles.as_slice(),
            _ => &[],
        })
    }
}
