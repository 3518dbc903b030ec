//! One value from the limits or requests of several containers.

use crate::api::quantity::Quantity;

/// How the values of several containers become one (`targetContainersMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are added.
    Sum,
    /// The largest counts.
    Max,
    /// A mode that the CRD refuses and nobody can have meant: no limits, requests of 0.
    ///
    /// Rule: I-RES-9.
    Unknown,
}

impl Mode {
    /// The mode that has this name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "sum" => Self::Sum,
            "max" => Self::Max,
            _ => Self::Unknown,
        }
    }
}

/// The aggregate of a limit; `None` is unlimited, as soon as one container has no such limit.
///
/// Rule: I-RES-6, I-RES-8, I-RES-9.
pub(super) fn limit(mode: Mode, values: &[Option<Quantity>]) -> Option<Quantity> {
    if mode == Mode::Unknown || values.iter().any(Option::is_none) {
        return None;
    }
    Some(request(mode, values))
}

/// The aggregate of a request; a container without counts as 0.
///
/// Rule: I-RES-7, I-RES-8, I-RES-9, I-RES-10.
pub(super) fn request(mode: Mode, values: &[Option<Quantity>]) -> Quantity {
    let present = values.iter().flatten().copied();
    match mode {
        Mode::Sum => present.fold(Quantity::ZERO, |sum, value| sum + value),
        // Of equal ones the first has the format.
        Mode::Max => {
            present.reduce(|max, value| if value > max { value } else { max }).unwrap_or(Quantity::ZERO)
        }
        Mode::Unknown => Quantity::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Vec<Option<Quantity>> {
        texts
            .iter()
            .map(|text| (*text != "-").then(|| Quantity::parse(text).expect("the tables hold quantities")))
            .collect()
    }

    /// Mode, limits of one resource, their aggregate, requests, their aggregate.
    type Row = (Mode, &'static [&'static str], &'static str, &'static [&'static str], &'static str);

    fn printed(limit: Option<Quantity>) -> String {
        limit.map_or_else(|| "undefined".to_owned(), |quantity| quantity.to_string())
    }

    #[test]
    fn i_t_agg() {
        use Mode::{Max, Sum};
        let rows: [Row; 20] = [
            (Sum, &["200m", "400m"], "600m", &["50m", "100m"], "150m"),
            (Sum, &["200Mi", "400Mi"], "600Mi", &["100Mi", "200Mi"], "300Mi"),
            (Sum, &["200m", "-"], "undefined", &["50m", "100m"], "150m"),
            (Sum, &["200Mi", "400Mi"], "600Mi", &["100Mi", "-"], "100Mi"),
            (Sum, &["200m", "400m"], "600m", &["50m", "-"], "50m"),
            (Max, &["200m", "400m"], "400m", &["50m", "100m"], "100m"),
            (Max, &["200Mi", "400Mi"], "400Mi", &["100Mi", "200Mi"], "200Mi"),
            (Max, &["200Mi", "-"], "undefined", &["100Mi", "-"], "100Mi"),
            (Max, &["200m", "-"], "undefined", &["50m", "-"], "50m"),
            (Max, &["200m", "100m"], "200m", &["50m", "-"], "50m"),
            (Max, &["200Mi", "150Mi"], "200Mi", &["100Mi", "-"], "100Mi"),
            // I-RES-6: a limit of 0 is present.
            (Sum, &["0", "1Gi"], "1Gi", &["0", "-"], "0"),
            (Max, &["0", "0"], "0", &["-", "-"], "0"),
            (Sum, &["0Mi", "1k"], "1k", &["-", "-"], "0"),
            // I-RES-8: format of the first addend that is not 0, or of the first winner.
            (Sum, &["1Gi", "1G"], "2073741824", &["1Ki", "1k"], "2024"),
            (Sum, &["1G", "1Gi"], "2073741824", &["1000Ki", "24Ki"], "1Mi"),
            (Sum, &["0", "1000Ki", "24k"], "1048000", &["24k", "1000Ki"], "1048k"),
            (Max, &["1024", "1Ki"], "1024", &["1Ki", "1024"], "1Ki"),
            (Sum, &["1e3", "1k"], "2e3", &["1k", "1e3"], "2k"),
            // I-RES-9.
            (Mode::Unknown, &["1", "1"], "undefined", &["1", "1"], "0"),
        ];
        for (mode, limits, limit_sum, requests, request_sum) in rows {
            assert_eq!(printed(limit(mode, &values(limits))), limit_sum, "{mode:?} of limits {limits:?}");
            assert_eq!(
                request(mode, &values(requests)).to_string(),
                request_sum,
                "{mode:?} of requests {requests:?}"
            );
        }
    }

    #[test]
    fn i_res_9_only_the_names_of_the_api_are_modes() {
        assert_eq!(Mode::from_name("sum"), Mode::Sum);
        assert_eq!(Mode::from_name("max"), Mode::Max);
        for name in ["", "Sum", "min"] {
            assert_eq!(Mode::from_name(name), Mode::Unknown, "{name}");
        }
    }
}
