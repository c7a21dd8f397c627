//! The cost of a delivery to a worker without sockets, over members, sessions and idle connections.

use serde_json::Value;

use super::scale::{Scale, tick};
use super::svg::{Anchor, Font, GRID, Svg};

/// Dimensions of the picture, and of the plot in each panel.
const WIDTH: f64 = 860.0;
const ACROSS: (f64, f64) = (86.0, 800.0);
const TOP: f64 = 96.0;
const PANEL: f64 = 250.0;
const PLOT: f64 = 150.0;
const COLOUR: &str = "#d1491b";

/// A line of points, with the text of its axes.
struct Panel {
    heading: &'static str,
    across: &'static str,
    is_log: bool,
    points: Vec<(f64, f64)>,
}

/// Returns the picture of the file that `cargo bench --bench fanout -- --json` wrote, or `None` without rows.
pub fn draw(report: &Value) -> Option<String> {
    let rows: Vec<Row> = report.get("rows")?.as_array()?.iter().filter_map(Row::read).collect();
    let points = |is_of: fn(&Row) -> bool, at: fn(&Row) -> (f64, f64)| {
        rows.iter().filter(|row| is_of(row)).map(at).collect()
    };
    let panels = [
        Panel {
            heading: "A broadcast to a session, µs",
            across: "members of the session",
            is_log: false,
            points: points(
                |row| row.sessions == 1.0 && row.idle == 0.0,
                |row| (row.members, row.members * row.us),
            ),
        },
        Panel {
            heading: "A delivery to one member, µs",
            across: "sessions of 8, logarithmic",
            is_log: true,
            points: points(|row| row.members == 8.0 && row.idle == 0.0, |row| (row.sessions, row.us)),
        },
        Panel {
            heading: "A delivery in 8 sessions of 8, µs",
            across: "idle connections beside them",
            is_log: false,
            points: points(|row| row.sessions == 8.0 && row.members == 8.0, |row| (row.idle, row.us)),
        },
    ];
    let panels: Vec<Panel> = panels.into_iter().filter(|panel| panel.points.len() > 1).collect();
    let mut svg = Svg::new(WIDTH, TOP + PANEL * panels.len() as f64);
    svg.text((24.0, 34.0), Anchor::Start, Font::Title, "What a delivery costs a worker, without sockets");
    let sub =
        "64 bytes at 30 Hz from every member, in order, sealed; median of turns, acks and timers included";
    svg.text((24.0, 58.0), Anchor::Start, Font::Small, sub);
    let tops = (0..).map(|number| TOP + f64::from(number) * PANEL);
    panels.iter().zip(tops).for_each(|(panel, top)| panel.draw(top, &mut svg));
    (!panels.is_empty()).then(|| svg.finish())
}

/// A row of the report.
struct Row {
    sessions: f64,
    members: f64,
    idle: f64,
    /// The worker's time per delivery.
    us: f64,
}

impl Row {
    fn read(row: &Value) -> Option<Self> {
        let number = |key: &str| row.get(key)?.as_f64();
        Some(Self {
            sessions: number("sessions")?,
            members: number("members")?,
            idle: number("idle")?,
            us: number("ns_per_delivery")? / 1_000.0,
        })
    }
}

impl Panel {
    fn draw(&self, top: f64, svg: &mut Svg) {
        let mut points = self.points.clone();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max);
        let (furthest, dearest) = (most(|point| point.0), most(|point| point.1));
        let down = (top + 24.0 + PLOT, top + 24.0);
        let y = Scale::linear(dearest, down);
        let x = if self.is_log {
            Scale::log(points.first().map_or(1.0, |point| point.0), furthest, ACROSS)
        } else {
            Scale::linear(furthest, ACROSS)
        };
        svg.text((24.0, top + 8.0), Anchor::Start, Font::Heading, self.heading);
        for figure in y.ticks() {
            svg.line((ACROSS.0, y.at(figure)), (ACROSS.1, y.at(figure)), GRID, 1.0);
            svg.text((ACROSS.0 - 8.0, y.at(figure) + 4.0), Anchor::End, Font::Small, &tick(figure));
        }
        for figure in x.ticks() {
            svg.line((x.at(figure), down.0), (x.at(figure), down.1), GRID, 1.0);
            svg.text((x.at(figure), down.0 + 18.0), Anchor::Middle, Font::Small, &tick(figure));
        }
        svg.text(((ACROSS.0 + ACROSS.1) / 2.0, down.0 + 36.0), Anchor::Middle, Font::Small, self.across);
        let line: Vec<(f64, f64)> = points.iter().map(|(at, cost)| (x.at(*at), y.at(*cost))).collect();
        svg.path(&line, COLOUR, 3.0);
        line.iter().for_each(|point| svg.dot(*point, 4.5, COLOUR));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_panel_needs_two_rows() {
        let row =
            |members: u32| json!({ "sessions": 1, "members": members, "idle": 0, "ns_per_delivery": 9 });
        assert_eq!(draw(&json!({ "rows": [row(2)] })), None);
        let picture = draw(&json!({ "rows": [row(2), row(64)] })).expect("two rows make a picture");
        assert!(picture.contains("A broadcast") && !picture.contains("idle connections"));
    }
}
