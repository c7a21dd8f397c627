//! Panels with one bar per peer.

use super::figures::{Figures, colour, is_ours};
use super::panel::{SPAN, picture};
use super::scale::{Scale, tidy};
use super::svg::Svg;

/// A panel of bars.
pub struct Bars {
    /// The workload.
    pub workload: &'static str,
    /// The heading above the panel.
    pub heading: &'static str,
    /// The name of the figure.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

/// Thickness of a bar.
const BAR: f64 = 15.0;

/// Returns a picture of panels, or `None` if no panel has a figure.
pub fn draw(title: &str, panels: &[Bars], figures: &Figures<'_>) -> Option<String> {
    let all: Vec<_> = panels.iter().map(|bars| (bars, figures.peers(bars.workload, bars.figure))).collect();
    let all: Vec<_> = all.into_iter().filter(|(_, peers)| most(peers) > 0.0).collect();
    let rows: Vec<usize> = all.iter().map(|(_, peers)| peers.len()).collect();
    let (mut svg, places) = picture(title, &rows);
    for (place, (bars, peers)) in places.iter().zip(&all) {
        let names: Vec<&str> = peers.iter().map(|(peer, _)| *peer).collect();
        let scale = Scale::linear(most(peers), SPAN);
        place.frame(&mut svg, bars.heading, &names, &scale, bars.unit);
        let ours = peers.iter().find(|(peer, _)| is_ours(peer)).and_then(|(_, value)| *value);
        for (row, (peer, value)) in peers.iter().enumerate() {
            let end = value.map_or(SPAN.0, |value| scale.at(value));
            bar(&mut svg, place.middle(row), end, peer);
            place.value(&mut svg, row, end, peer, &label(*value, ours, peer));
        }
    }
    (!all.is_empty()).then(|| svg.finish())
}

fn bar(svg: &mut Svg, middle: f64, end: f64, peer: &str) {
    svg.rect((SPAN.0, middle - BAR / 2.0), ((end - SPAN.0).max(1.0), BAR), colour(peer));
}

/// Returns the value, and its ratio to Rallypoint's.
fn label(value: Option<f64>, ours: Option<f64>, peer: &str) -> String {
    match (value, ours.filter(|ours| *ours > 0.0)) {
        (None, _) => "not measured".to_owned(),
        (Some(value), Some(ours)) if !is_ours(peer) => format!("{}  ({}×)", tidy(value), tidy(value / ours)),
        (Some(value), _) => tidy(value),
    }
}

fn most(peers: &[(&str, Option<f64>)]) -> f64 {
    peers.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_how_many_times_ours_it_is() {
        assert_eq!(label(Some(3.0), Some(2.0), "kcp"), "3.00  (1.50×)");
        assert_eq!(label(Some(2.0), Some(2.0), "rallypoint"), "2.00");
        assert_eq!(label(Some(2.0), None, "kcp"), "2.00");
        assert_eq!(label(None, Some(2.0), "kcp"), "not measured");
    }
}
