//! A self-contained page: no script, no font, no picture from elsewhere; light or dark as the
//! reader's system is, and printable.
//!
//! | file | what |
//! |---|---|
//! | `html` | the page, its text escaped |
//! | `chart` | curves and points as SVG |

mod chart;
mod html;

pub use chart::{Chart, ChartError, Curve, Hue, Mark, Points, curves, points_by_group};
pub use html::{Page, escape};
