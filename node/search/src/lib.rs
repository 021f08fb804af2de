//! Finding passages and vectors inside one site.

pub mod collection;
pub mod duplicates;
pub mod fusion;
pub mod lexical;
pub mod redaction;
pub mod text;
pub mod vector;
