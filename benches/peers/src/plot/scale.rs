//! [`Scale`]: conversion of figures to pixels.

/// Converts figures to pixels along one axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
}

/// Maximum number of ticks on a linear axis.
const TICKS: f64 = 6.0;
/// A logarithmic axis with more decades than this has ticks only at powers of ten.
const FEW_DECADES: f64 = 2.2;

impl Scale {
    /// Returns a linear scale from 0 to a round figure that includes `most`, on the pixels `from` to `to`.
    pub fn linear(most: f64, (from, to): (f64, f64)) -> Self {
        let high = if most > 0.0 { most } else { 1.0 };
        let step = step(high);
        Self { kind: Kind::Linear, low: 0.0, high: (high / step).ceil() * step, from, to }
    }

    /// Returns a logarithmic scale between round figures that include `least` and `most`, both of which are
    /// positive.
    pub fn log(least: f64, most: f64, (from, to): (f64, f64)) -> Self {
        let low = around(least).0;
        let high = around(most).1.max(low * 10.0);
        Self { kind: Kind::Log, low, high, from, to }
    }

    /// Returns the position of a figure.
    pub fn at(&self, figure: f64) -> f64 {
        let part = match self.kind {
            Kind::Linear => (figure - self.low) / (self.high - self.low),
            Kind::Log => (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Returns the figures at which ticks are drawn.
    pub fn ticks(&self) -> Vec<f64> {
        if self.kind == Kind::Linear {
            let step = step(self.high);
            let count = (self.high / step).round() as usize;
            return (0..=count).map(|tick| tick as f64 * step).collect();
        }
        let is_wide = (self.high / self.low).log10() > FEW_DECADES;
        let ticks = round_figures().filter(|(figure, mantissa)| {
            let is_within = *figure >= self.low * 0.999 && *figure <= self.high * 1.001;
            is_within && (!is_wide || *mantissa == 1)
        });
        ticks.map(|(figure, _)| figure).collect()
    }
}

/// Returns 1, 2 and 5 times the powers of ten, each with that factor.
fn round_figures() -> impl Iterator<Item = (f64, u8)> {
    (-6..=12).flat_map(|power| [1_u8, 2, 5].map(|by| (f64::from(by) * 10_f64.powi(power), by)))
}

/// Returns the nearest round figures below and above.
fn around(figure: f64) -> (f64, f64) {
    let below = round_figures().map(|(round, _)| round).take_while(|round| *round <= figure).last();
    let above = round_figures().map(|(round, _)| round).find(|round| *round >= figure);
    (below.unwrap_or(1e-6), above.unwrap_or(1e12))
}

/// Returns the round step that gives at most [`TICKS`] ticks up to `high`.
fn step(high: f64) -> f64 {
    round_figures().map(|(round, _)| round).find(|round| high / round <= TICKS).unwrap_or(high)
}

/// Formats a figure for people: only significant digits, with separated thousands.
pub fn tidy(figure: f64) -> String {
    if figure > 0.0 && figure < 0.005 {
        return "<0.01".to_owned();
    }
    let decimals = match figure.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    apart(&format!("{figure:.decimals$}"))
}

/// Formats a tick without trailing zeros.
pub fn tick(figure: f64) -> String {
    let text = format!("{figure:.6}");
    apart(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Separates groups of three digits before the decimal point with commas.
fn apart(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut apart = String::new();
    for (index, digit) in text.chars().enumerate() {
        let is_group = index < whole && index > 0 && (whole - index).is_multiple_of(3);
        if is_group && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_scale_begins_at_zero_and_holds_the_most() {
        let scale = Scale::linear(21.3, (100.0, 600.0));
        assert_eq!(scale.ticks(), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!((scale.at(0.0), scale.at(12.5), scale.at(25.0)), (100.0, 350.0, 600.0));
    }

    #[test]
    fn a_log_scale_has_equal_ways_for_equal_factors() {
        let scale = Scale::log(0.3, 700.0, (400.0, 0.0));
        let way = |a, b| scale.at(a) - scale.at(b);
        assert!((way(1.0, 10.0) - way(10.0, 100.0)).abs() < 1e-9);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(Scale::log(12.0, 80.0, (0.0, 1.0)).ticks().len(), 4);
    }

    #[test]
    fn figures_are_tidy() {
        for (figure, text) in
            [(0.001, "<0.01"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567")]
        {
            assert_eq!(tidy(figure), text);
        }
        assert_eq!([tick(0.0), tick(0.5), tick(20_000.0)], ["0", "0.5", "20,000"]);
    }
}
