//! What can be typed: types for clap, nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sidecarset::duration;

/// Measures admission webhooks the way an API server uses them
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve one fixed answer on the stack of `sidecarset webhook`
    Fixed(FixedArgs),
    /// Call a webhook as an API server does and check every answer
    Load(LoadArgs),
    /// Measure `sidecarset webhook` against the fixed answer, interleaved
    Compare(CompareArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct FixedArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// File that the CA is written to, for clients to trust
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_out: PathBuf,

    /// About how many bytes the answer has
    #[arg(long, value_name = "BYTES", default_value = "4096")]
    pub(crate) answer_bytes: usize,

    /// Threads that answer
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The webhook, for example https://127.0.0.1:8443/mutate-pod?timeout=10s
    pub(crate) url: String,

    /// File with the CA that the webhook's certificate is signed by
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,

    /// File with the AdmissionReview to post
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/bench/review-12k.json"))]
    pub(crate) review: PathBuf,

    /// So many requests at a time, each after the answer to the one before (the default, with 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: Option<u32>,

    /// So many requests a second, sent on time whether or not earlier ones were answered
    #[arg(long, value_name = "N", conflicts_with = "connections", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: Option<u32>,

    /// So many requests at once, every second
    #[arg(long, value_name = "N", conflicts_with_all = ["connections", "rate"], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) burst: Option<u32>,

    /// With --connections: so much time between two requests of each, which has one connection of its own. Near the time for which a
    /// client keeps an idle connection (90 s here) this shows whether the server closes one that is about to be used
    #[arg(long, value_name = "DURATION", requires = "connections", value_parser = duration::parse)]
    pub(crate) spacing: Option<Duration>,

    /// How long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) duration: Duration,

    /// Process whose CPU and memory are read
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The `sidecarset` binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) sidecarset: Option<PathBuf>,

    /// Folder with review-12k.json and sidecarsets/
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/bench"))]
    pub(crate) fixtures: PathBuf,

    /// Rounds that count; one more comes first to warm up
    #[arg(long, value_name = "N", default_value = "15", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,

    /// Length of a round; rounds at 500/s take twice, those of bursts four times as long
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    pub(crate) round: Duration,

    /// Measure only what has this in its name, for example "saturation"
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,

    /// Exit 1 if a gate is missed
    #[arg(long)]
    pub(crate) gate: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
