//! Drawing: a picture of lines, rectangles, discs and text, written as SVG, PNG and PDF; axes, legends, colour maps, and text
//! escaped for each file format, HTML pages among them. This module knows nothing of runs.

pub mod axes;
pub mod colormap;
pub mod escape;
pub mod html;
pub mod legend;
mod pdf;
pub mod picture;
pub mod raster;
pub mod text;
