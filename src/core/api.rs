//! The API as others write it: names, versions, quantities.

pub mod complete;
pub mod convert;
pub mod decode;
pub mod json;
pub mod keys;
pub mod names;
pub mod quantity;
pub mod types;
