//! Panels with one line per peer, from the median to the 99th percentile.

use super::figures::{Figures, colour};
use super::panel::{SPAN, picture};
use super::scale::{Scale, tidy};

/// A panel of ranges of latency.
pub struct Ranges {
    /// The workload.
    pub workload: &'static str,
    /// The heading above the panel.
    pub heading: &'static str,
}

/// Returns a picture of panels on logarithmic axes, or `None` if no panel has figures.
pub fn draw(title: &str, panels: &[Ranges], figures: &Figures<'_>) -> Option<String> {
    let mut all = Vec::new();
    for ranges in panels {
        let peers = figures.peers(ranges.workload, "p50_us");
        let ends = peers.into_iter().filter_map(|(peer, low)| {
            let high = figures.one(ranges.workload, peer, "p99_us")?;
            Some((peer, low?, high))
        });
        let ends: Vec<_> = ends.filter(|(_, low, high)| *low > 0.0 && *high > 0.0).collect();
        if !ends.is_empty() {
            all.push((ranges, ends));
        }
    }
    let rows: Vec<usize> = all.iter().map(|(_, ends)| ends.len()).collect();
    let (mut svg, places) = picture(title, &rows);
    for (place, (ranges, ends)) in places.iter().zip(&all) {
        let names: Vec<&str> = ends.iter().map(|(peer, ..)| *peer).collect();
        let least = ends.iter().map(|(_, low, _)| *low).fold(f64::INFINITY, f64::min);
        let most = ends.iter().map(|(.., high)| *high).fold(0.0, f64::max);
        let scale = Scale::log(least, most, SPAN);
        place.frame(&mut svg, ranges.heading, &names, &scale, UNIT);
        for (row, (peer, low, high)) in ends.iter().enumerate() {
            let y = place.middle(row);
            svg.line((scale.at(*low), y), (scale.at(*high), y), colour(peer), 4.0);
            svg.dot((scale.at(*low), y), 6.0, colour(peer));
            svg.dot((scale.at(*high), y), 4.5, colour(peer));
            place.value(&mut svg, row, scale.at(*high), peer, &format!("{} – {}", tidy(*low), tidy(*high)));
        }
    }
    (!all.is_empty()).then(|| svg.finish())
}

const UNIT: &str = "µs, from the median (large dot) to the 99th percentile (small dot), logarithmic";
