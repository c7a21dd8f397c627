//! The latency that loss adds: one line per peer, over the loss.

use super::figures::{Figures, colour, is_ours};
use super::scale::{Scale, tick};
use super::svg::{Anchor, Font, GRID, Svg};

/// Dimensions of the picture, and of its plot.
const SIZE: (f64, f64) = (860.0, 520.0);
const ACROSS: (f64, f64) = (86.0, 720.0);
const DOWN: (f64, f64) = (434.0, 84.0);
/// Minimum distance of two names at the right.
const APART: f64 = 16.0;
/// Minimum latency that is drawn, in milliseconds; lower values are drawn at it.
const LEAST_MS: f64 = 0.1;

/// A peer's line, as points of percent lost and milliseconds.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Returns the picture, or `None` without figures.
pub fn draw(figures: &Figures<'_>) -> Option<String> {
    let losses = figures.losses();
    let lines = lines(figures, &losses);
    let all = || lines.iter().flat_map(|(_, points)| points).map(|(_, added)| *added);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let (true, Some(last)) = (most > 0.0, losses.last()) else { return None };
    let x = Scale::linear(f64::from(*last), ACROSS);
    let y = Scale::log(least, most, DOWN);
    let mut svg = Svg::new(SIZE.0, SIZE.1);
    frame(&mut svg, &losses, &x, &y);
    let mut names = Vec::new();
    for (peer, points) in &lines {
        let points: Vec<(f64, f64)> =
            points.iter().map(|(lost, added)| (x.at(*lost), y.at(*added))).collect();
        svg.path(&points, colour(peer), if is_ours(peer) { 4.0 } else { 2.2 });
        points.iter().for_each(|point| svg.dot(*point, 4.5, colour(peer)));
        names.extend(points.last().map(|(x, y)| (*x, *y, *peer)));
    }
    spread(&mut names);
    for (at, y, peer) in names {
        svg.rect((at + 14.0, y - 2.0), (12.0, 4.0), colour(peer));
        let font = if is_ours(peer) { Font::Strong } else { Font::Label };
        svg.text((at + 32.0, y + 4.5), Anchor::Start, font, peer);
    }
    Some(svg.finish())
}

/// Returns the 99th percentiles minus the peer's own median without loss, for peers that retransmit lost
/// messages.
fn lines<'a>(figures: &Figures<'a>, losses: &[u32]) -> Vec<Line<'a>> {
    let peers = figures.peers("loss-0", "p50_us");
    let repairing = peers.into_iter().filter(|(peer, _)| !peer.starts_with("raw"));
    let line = |(peer, median): (&'a str, Option<f64>)| {
        let median = median?;
        let point = |percent: &u32| {
            let p99 = figures.one(&format!("loss-{percent}"), peer, "p99_us")?;
            Some((f64::from(*percent), ((p99 - median) / 1_000.0).max(LEAST_MS)))
        };
        Some((peer, losses.iter().filter_map(point).collect()))
    };
    repairing.filter_map(line).collect()
}

fn frame(svg: &mut Svg, losses: &[u32], x: &Scale, y: &Scale) {
    svg.text((24.0, 34.0), Anchor::Start, Font::Title, "What loss adds to latency");
    let sub = "1 session of 8 at 30 Hz, round trip of 40 ms: 99th percentile less the median without loss";
    svg.text((24.0, 58.0), Anchor::Start, Font::Small, sub);
    for added in y.ticks() {
        svg.line((ACROSS.0, y.at(added)), (ACROSS.1, y.at(added)), GRID, 1.0);
        svg.text((ACROSS.0 - 8.0, y.at(added) + 4.0), Anchor::End, Font::Small, &tick(added));
    }
    for lost in losses {
        let at = x.at(f64::from(*lost));
        svg.line((at, DOWN.0), (at, DOWN.1), GRID, 1.0);
        svg.text((at, DOWN.0 + 20.0), Anchor::Middle, Font::Small, &format!("{lost}"));
    }
    let middle = (ACROSS.0 + ACROSS.1) / 2.0;
    svg.text((middle, DOWN.0 + 44.0), Anchor::Middle, Font::Small, "datagrams lost, each way, in percent");
    let remark = "raw UDP sends nothing again, and TCP does not pass the relay: they have no line";
    svg.text((middle, DOWN.0 + 66.0), Anchor::Middle, Font::Small, remark);
    svg.text_upwards((26.0, (DOWN.0 + DOWN.1) / 2.0), Font::Small, "added latency in ms, logarithmic");
}

/// Moves overlapping names apart, keeping their order.
fn spread(names: &mut [(f64, f64, &str)]) {
    names.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut free = f64::NEG_INFINITY;
    for (_, y, _) in names.iter_mut() {
        *y = y.max(free);
        free = *y + APART;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap() {
        let mut names = [(0.0, 50.0, "a"), (0.0, 45.0, "b"), (0.0, 100.0, "c")];
        spread(&mut names);
        assert_eq!(names, [(0.0, 45.0, "b"), (0.0, 61.0, "a"), (0.0, 100.0, "c")]);
    }
}
