//! The API server as we use it: how we reach it and who we are there. What is read from it is [`crate::source`]'s, what is written
//! is done by the parts below.

pub mod certificates;
pub mod client;
pub mod events;
pub mod identity;
pub mod objects;
pub mod preflight;
