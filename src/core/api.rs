//! The API as others write it: names, versions, quantities.

pub mod keys;
