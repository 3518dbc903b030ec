//! Somebody who takes all connections of a replica, and machines that vanish without a word. Only in the long form: it takes
//! minutes, and 20,000 file descriptors.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::control_plane::ControlPlane;
use crate::load_client::{Connection, Target};
use crate::poll;
use crate::service;

use super::fleet::{Fleet, REPLICAS};
use super::tally::Tally;

/// Where the connections come from.
const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
/// How many there are, far more than a replica has places.
const CONNECTIONS: usize = 10_000;
/// How many of them are made at a time.
const AT_A_TIME: usize = 50;
/// How long a replica may take to notice that their machine has vanished.
const NOTICED: Duration = Duration::from_secs(100);

/// Opens connections to a replica and holds them, then cuts their machine off. Meanwhile admissions go on.
pub(crate) fn lay(
    plane: &ControlPlane,
    fleet: &Fleet<'_>,
    tally: &Tally,
    runtime: &Handle,
    ca: &[u8],
) -> Result<(), String> {
    const REPLICA: usize = 1;
    plane.make_local(&[SCANNER])?;
    let file = plane.folder.join("scanner-ca.crt");
    std::fs::write(&file, ca).map_err(|error| error.to_string())?;
    let address = format!("{}:{}", REPLICAS[REPLICA], service::PORT);
    let target = Target::new(&format!("https://{}/", service::HOST), &file, b"")?
        .dialing(move || address.clone())
        .coming_from(IpAddr::V4(SCANNER));
    let before = fleet.metric(REPLICA, "sidecarset_connections_made_room_total ")?;
    let start = Instant::now();
    let held = runtime.block_on(open(Arc::new(target)))?;
    let took = start.elapsed();
    let open = held.iter().filter(|connection| connection.is_open()).count();
    let made_room = fleet.metric(REPLICA, "sidecarset_connections_made_room_total ")? - before;
    tally.event(format!(
        "{} connections opened by one scanner in {took:.1?}: {open} of them stay open, {made_room} made room",
        held.len()
    ));
    if held.len() != CONNECTIONS || made_room < 1.0 {
        return Err("a replica took all connections, or not each of them came".to_owned());
    }
    let start = Instant::now();
    plane.cut_off(SCANNER)?;
    poll::until("the replica to notice that the scanner has vanished", NOTICED, || {
        thread::sleep(Duration::from_secs(1));
        let open = fleet.metric(REPLICA, "sidecarset_connections_open ")?;
        if open < 1000.0 { Ok(()) } else { Err(format!("{open} connections")) }
    })?;
    tally.event(format!("connections of the vanished scanner closed after {:.0?}", start.elapsed()));
    Ok(())
}

async fn open(target: Arc<Target>) -> Result<Vec<Connection>, String> {
    let mut held = Vec::with_capacity(CONNECTIONS);
    let mut dials = JoinSet::new();
    let mut left = CONNECTIONS;
    loop {
        while left > 0 && dials.len() < AT_A_TIME {
            let target = Arc::clone(&target);
            dials.spawn(async move { target.dial().await });
            left -= 1;
        }
        match dials.join_next().await {
            // Each is let in: whoever idles for longest makes room.
            Some(dialed) => held.push(dialed.map_err(|error| error.to_string())??),
            None => return Ok(held),
        }
    }
}
