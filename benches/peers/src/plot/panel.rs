//! The common parts of the panels of bars and of ranges: names at the left, an axis below.

use super::figures::is_ours;
use super::scale::{Scale, tick};
use super::svg::{Anchor, Font, GRID, Svg};

/// Width of a picture of panels.
const WIDTH: f64 = 860.0;
/// Space for the title, and between panels.
const TOP: f64 = 52.0;
const GAP: f64 = 26.0;
/// Height of a peer's row, of a heading and of an axis.
const ROW: f64 = 25.0;
const HEADING: f64 = 30.0;
const AXIS: f64 = 40.0;
/// Horizontal range of the figures.
pub const SPAN: (f64, f64) = (112.0, 660.0);
/// Left margin; the space right of the figures is for values.
const LEFT: f64 = 24.0;

/// One panel, with its rows below `top`.
pub struct Panel {
    top: f64,
    rows: usize,
}

/// Returns a picture for panels with these numbers of rows, and the places of the panels.
pub fn picture(title: &str, rows: &[usize]) -> (Svg, Vec<Panel>) {
    let mut panels = Vec::new();
    let mut top = TOP;
    for rows in rows {
        panels.push(Panel { top, rows: *rows });
        top += HEADING + *rows as f64 * ROW + AXIS + GAP;
    }
    let mut svg = Svg::new(WIDTH, top - GAP + 8.0);
    svg.text((LEFT, 34.0), Anchor::Start, Font::Title, title);
    (svg, panels)
}

impl Panel {
    /// Draws the background of the figures: heading, names, axis with its unit.
    pub fn frame(&self, svg: &mut Svg, heading: &str, peers: &[&str], scale: &Scale, unit: &str) {
        svg.text((LEFT, self.top + 17.0), Anchor::Start, Font::Heading, heading);
        let (begin, end) = (self.top + HEADING, self.top + HEADING + self.rows as f64 * ROW);
        for figure in scale.ticks() {
            let x = scale.at(figure);
            svg.line((x, begin), (x, end + 4.0), GRID, 1.0);
            svg.text((x, end + 19.0), Anchor::Middle, Font::Small, &tick(figure));
        }
        svg.text(((SPAN.0 + SPAN.1) / 2.0, end + 36.0), Anchor::Middle, Font::Small, unit);
        for (row, peer) in peers.iter().enumerate() {
            let font = if is_ours(peer) { Font::Strong } else { Font::Label };
            svg.text((SPAN.0 - 10.0, self.middle(row) + 4.5), Anchor::End, font, peer);
        }
    }

    /// Returns the middle of a row.
    pub fn middle(&self, row: usize) -> f64 {
        self.top + HEADING + (row as f64 + 0.5) * ROW
    }

    /// Writes the value to the right of a row's figure at `x`.
    pub fn value(&self, svg: &mut Svg, row: usize, x: f64, peer: &str, value: &str) {
        let font = if is_ours(peer) { Font::Strong } else { Font::Label };
        svg.text((x + 8.0, self.middle(row) + 4.5), Anchor::Start, font, value);
    }
}
