//! Finding passages and vectors inside one site.

pub mod collection;
pub mod vector;
