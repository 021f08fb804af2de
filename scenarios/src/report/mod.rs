//! A self-contained page: no script, no font, no picture from elsewhere; light or dark as the
//! reader's system is, and printable.
//!
//! | file | what |
//! |---|---|
//! | `html` | the page, its text escaped |
//! | `chart` | curves, points and bars as SVG |

mod chart;
mod html;

pub use chart::{
    Bars, Chart, ChartError, Curve, Hue, Mark, Points, bars_by_group, curves, points_by_group,
};
pub use html::{Page, escape};
