//! Finding passages and vectors inside one site.

pub mod vector;
