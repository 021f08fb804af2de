//! Finding passages and vectors inside one site.
