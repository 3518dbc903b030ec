//! Metrics that every process has under the same names, read from `/proc` when they are scraped. Elsewhere than on Linux
//! there are none.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::registrar::Described;

/// Length of a tick of `/proc/self/stat`, in ticks a second: a constant of Linux towards programs (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Name without suffix, type, help.
const METRICS: [(&str, MetricType, &str); 6] = [
    ("process_cpu_seconds", MetricType::Counter, "Processor time of the process, user and system."),
    ("process_resident_memory_bytes", MetricType::Gauge, "Memory of the process that is in RAM."),
    ("process_virtual_memory_bytes", MetricType::Gauge, "Address space of the process."),
    ("process_open_fds", MetricType::Gauge, "Open file descriptors."),
    ("process_max_fds", MetricType::Gauge, "Most file descriptors that may be open."),
    ("process_start_time_seconds", MetricType::Gauge, "When the process started, in seconds since 1970."),
];

/// Names and types, as they are scraped.
pub(super) fn described() -> Vec<Described> {
    METRICS
        .iter()
        .map(|(name, kind, _)| match kind {
            MetricType::Counter => Described { name: format!("{name}_total"), kind: "counter" },
            _ => Described { name: (*name).to_owned(), kind: "gauge" },
        })
        .collect()
}

/// Reads `/proc` at each scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let stat = stat.as_deref().map(fields_of_stat).unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let values = [
            cpu_seconds(&stat),
            kibibytes(&status, "VmRSS:"),
            kibibytes(&status, "VmSize:"),
            open_fds(),
            max_fds(&limits),
            start_time(&stat),
        ];
        for ((name, kind, help), value) in METRICS.iter().zip(values) {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, *kind)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(metric)?,
                _ => ConstGauge::new(value).encode(metric)?,
            }
        }
        Ok(())
    }
}

/// The fields behind the command's name, which may hold blanks and parentheses itself: the first is number 3 of the manual.
fn fields_of_stat(text: &str) -> Vec<&str> {
    text.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default()
}

fn ticks(stat: &[&str], number: usize) -> Option<f64> {
    stat.get(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &[&str]) -> Option<f64> {
    Some((ticks(stat, 14)? + ticks(stat, 15)?) / TICKS_PER_SECOND)
}

/// Ticks after the machine's start, which is known to the second.
fn start_time(stat: &[&str]) -> Option<f64> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + ticks(stat, 22)? / TICKS_PER_SECOND)
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Without the one that the folder is read through.
fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The soft limit; none at all is infinite.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_have_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 12345 1 2";
        let fields = fields_of_stat(stat);
        assert_eq!(cpu_seconds(&fields), Some(3.0));
        assert_eq!(ticks(&fields, 22), Some(12345.0));
    }

    #[test]
    fn units_are_bytes_and_counts() {
        let status = "VmPeak:\t  9 kB\nVmSize:\t    20 kB\nVmRSS:\t     3 kB\n";
        assert_eq!(
            (kibibytes(status, "VmRSS:"), kibibytes(status, "VmSize:")),
            (Some(3072.0), Some(20480.0))
        );
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(max_fds("Max open files   unlimited   unlimited   files"), Some(f64::INFINITY));
        assert_eq!(max_fds(""), None);
    }
}
