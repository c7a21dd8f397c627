//! [`Svg`]: a picture under construction.

use std::fmt::Write;

/// A picture under construction; coordinates are pixels from the top left corner.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// A text's alignment at its point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins there.
    Start,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    End,
}

/// The appearance of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Font {
    /// The picture's title.
    Title,
    /// A panel's heading.
    Heading,
    /// Names and values.
    Label,
    /// Emphasized names and values.
    Strong,
    /// Ticks, units and remarks.
    Small,
}

/// Colours of text, of lines behind the figures, and of the background.
const INK: &str = "#1f2933";
const FAINT_INK: &str = "#5f6b7a";
/// Colour of grids.
pub const GRID: &str = "#e3e7ec";
const PAPER: &str = "#ffffff";
const FAMILY: &str = "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

impl Svg {
    /// Returns an empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Draws a filled rectangle.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.push(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" fill="{fill}"/>"#
        ));
    }

    /// Draws a straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), stroke: &str, width: f64) {
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{stroke}" stroke-width="{width}"/>"#
        ));
    }

    /// Draws a line through points.
    pub fn path(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!(
            r#"<polyline points="{points}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"/>"#
        ));
    }

    /// Draws a filled circle.
    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, fill: &str) {
        self.push(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{PAPER}" stroke-width="1.2"/>"#
        ));
    }

    /// Draws a text with its baseline at the point.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, font: Font, text: &str) {
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" {}>{}</text>"#,
            style(anchor, font),
            escape(text)
        ));
    }

    /// Draws a text that is read upwards and centred at the point.
    pub fn text_upwards(&mut self, (x, y): (f64, f64), font: Font, text: &str) {
        let style = style(Anchor::Middle, font);
        self.push(format_args!(
            r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" {style}>{}</text>"#,
            escape(text)
        ));
    }

    /// Returns the picture as the text of a file.
    pub fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"{FAMILY}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{PAPER}\"/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn style(anchor: Anchor, font: Font) -> String {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let (size, weight, ink) = match font {
        Font::Title => (19, 700, INK),
        Font::Heading => (14, 600, INK),
        Font::Label => (13, 400, INK),
        Font::Strong => (13, 700, INK),
        Font::Small => (12, 400, FAINT_INK),
    };
    format!(r#"text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{ink}""#)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_its_element() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 2.0), Anchor::End, Font::Label, "a < b & c</text>");
        let file = svg.finish();
        assert!(file.contains("a &lt; b &amp; c&lt;/text&gt;</text>"), "{file}");
        assert!(file.starts_with("<svg ") && file.ends_with("</svg>\n"));
    }
}
