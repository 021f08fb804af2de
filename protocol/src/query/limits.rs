//! The limits of a query, each with its reason.

/// A query's canonical text. The longest one is a list of as many candidates as there may be.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// A filter as a person writes it.
pub const FILTER_BYTES_MAX: usize = 8 * 1024;

/// `and`, `or`, `not` inside each other. Deeper ones are not written by people, and a parser's stack has an end.
pub const FILTER_DEPTH_MAX: usize = 16;

/// Conditions and their joints in one filter; each is one walk over the table.
pub const FILTER_TERMS_MAX: usize = 128;

/// Values in one `in (…)`.
pub const IN_VALUES_MAX: usize = 256;

/// A column's name, as a schema bounds it.
pub const COLUMN_BYTES_MAX: usize = 256;

/// A text constant or a category.
pub const TEXT_BYTES_MAX: usize = 256;

/// Cells of one answer: bins, categories or candidates. Every cell carries its own noise, so more of them say less.
pub const CELLS_MAX: usize = 1000;

/// Probabilities of one quantile query. They come from one histogram and cost nothing more.
pub const PROBABILITIES_MAX: usize = 32;

/// Least and most ε that one answer may ask for: below, it is noise alone; above, it is no privacy.
pub const EPSILON_MIN: f64 = 1e-3;
/// See [`EPSILON_MIN`].
pub const EPSILON_MAX: f64 = 20.0;

/// As [`EPSILON_MIN`] in zCDP's ρ, which is about ε²/2.
pub const RHO_MIN: f64 = 1e-6;
/// See [`RHO_MIN`].
pub const RHO_MAX: f64 = 20.0;

/// Cells of a sketch of distinct patients, a power of two: from a few hundred patients to a few million.
pub const SKETCH_CELLS_MIN: u32 = 1 << 8;
/// See [`SKETCH_CELLS_MIN`]. A sketch has a bit for each.
pub const SKETCH_CELLS_MAX: u32 = 1 << 20;

/// Sites of one count of distinct patients. Masks need two, and each site's noise is on top of the others'.
pub const SKETCH_SITES_MIN: usize = 2;
/// See [`SKETCH_SITES_MIN`].
pub const SKETCH_SITES_MAX: usize = 32;
