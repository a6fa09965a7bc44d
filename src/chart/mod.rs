//! Charts as SVG, and pages that hold them: no scripts, nothing from elsewhere.
//!
//! The drawing is the `plotters` crate's: it writes SVG by itself, without a browser, a canvas or
//! fonts to load, and has dashes and marks. Lines of a chart differ by their dashes and marks, and
//! bars have their numbers beside them, so that nothing is told by colour alone.

mod page;
mod svg;

pub use page::{Page, escaped};
pub use svg::{Across, Bar, ChartError, Series, bars, columns, lines};
