//! Ports of a container, and the ports of the node that they claim.

use std::collections::HashSet;

use super::at::At;
use super::report::Report;
use crate::api::names::{is_port_name, is_port_number};

/// What the name of a port has to be.
pub(super) const PORT_NAME: &str =
    "a port name: at most 15 lower-case letters, digits and single inner hyphens, with at least one letter";
/// What the number of a port has to be.
pub(super) const PORT_NUMBER: &str = "a port number from 1 to 65535";
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// The ports of the node that are taken: protocol, address, number.
pub(super) type HostPorts<'v> = HashSet<(&'v str, &'v str, i64)>;

/// Checks the ports of one container.
///
/// Rule: A-CORE-34, A-CORE-35, A-CORE-36, A-CORE-37.
pub(super) fn check(ports: &At<'_, '_>, report: &mut Report) {
    let mut names = HashSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.child("name"), port.child("containerPort"), port.child("hostPort"));
        if !name.text().is_empty() {
            if !is_port_name(name.text()) {
                report.invalid(&name, PORT_NAME, "A-CORE-34");
            } else if !names.insert(name.text()) {
                report.duplicate(&name, "the ports of the container", "A-CORE-34");
            }
        }
        if report.need(&number, PORT_NUMBER, "A-CORE-35") {
            report.expect_number(&number, is_port_number, PORT_NUMBER, "A-CORE-35");
        }
        if host.number() != 0 {
            report.expect_number(&host, is_port_number, PORT_NUMBER, "A-CORE-36");
        }
        report.need_one_of(&port.child("protocol"), &PROTOCOLS, "A-CORE-37");
    }
}

/// Checks that no port of the node is taken twice.
///
/// Rule: A-CORE-38.
pub(super) fn check_host_ports<'v>(ports: &At<'v, '_>, taken: &mut HostPorts<'v>, report: &mut Report) {
    for port in ports.items() {
        let host = port.child("hostPort");
        let claim = (port.text_at("protocol"), port.text_at("hostIP"), host.number());
        if host.number() != 0 && !taken.insert(claim) {
            report.duplicate(&host, "the host ports of the same protocol and hostIP", "A-CORE-38");
        }
    }
}
