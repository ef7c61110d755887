//! A picture of a course: panels one below the other, on one axis of time.

use std::fmt::Write as _;

/// A line of a picture: seconds, and what was so then.
pub type Points = Vec<(f64, f64)>;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const HEAD: f64 = 34.0;
const FOOT: f64 = 30.0;
/// Of a panel, and of the room above it for its title.
const PANEL: f64 = 130.0;
const TITLE: f64 = 26.0;
/// Ours, the peer's, and a second one of ours.
pub const OURS: &str = "#06c";
pub const PEER: &str = "#c33";
pub const SECOND: &str = "#393";

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0 to the largest.
    Linear,
    /// By powers of ten.
    Decades,
}

/// A line of a panel.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its color.
    pub color: &'static str,
    /// Its points.
    pub points: Points,
}

impl Line {
    /// A line.
    pub fn new(name: &str, color: &'static str, points: Points) -> Self {
        Self { name: name.to_owned(), color, points }
    }
}

/// One panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it shows, with its unit.
    pub title: String,
    /// How values become heights.
    pub scale: Scale,
    /// What is drawn.
    pub lines: Vec<Line>,
}

impl Panel {
    /// A panel.
    pub fn new(title: &str, scale: Scale, lines: Vec<Line>) -> Self {
        Self { title: title.to_owned(), scale, lines }
    }

    /// The lowest and the highest value shown, as they are drawn.
    fn bounds(&self) -> (f64, f64) {
        let values = self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
        match self.scale {
            Scale::Linear => (0.0, round(values.fold(0.0, f64::max))),
            Scale::Decades => {
                let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
                let low = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
                let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
                if low.is_finite() { (low, high.max(low + 1.0)) } else { (0.0, 1.0) }
            }
        }
    }

    /// Where lines are drawn across, and what stands beside them.
    fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = self.bounds();
        match self.scale {
            Scale::Linear => {
                let parts = if high <= 5.0 { high } else { 4.0 };
                let each = (0..=parts as u32).map(|part| high * f64::from(part) / parts);
                each.map(|value| (value, format!("{value}"))).collect()
            }
            Scale::Decades => {
                let each = (low as i32..=high as i32).map(|at| (f64::from(at), 10_f64.powi(at)));
                each.map(|(at, value)| (at, format!("{value}"))).collect()
            }
        }
    }

    /// How high a value lies, from 0 to 1.
    fn height(&self, value: f64) -> f64 {
        let (low, high) = self.bounds();
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Decades if value <= 0.0 => low,
            Scale::Decades => value.log10(),
        };
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The next number that four parts divide well.
fn round(value: f64) -> f64 {
    if value <= 4.0 {
        return value.ceil().max(1.0);
    }
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0];
    let fits = steps.iter().map(|step| step * unit).find(|bound| *bound >= value);
    fits.unwrap_or(value)
}

/// Something that happened at a moment.
#[derive(Debug, Clone)]
pub struct Mark {
    /// When.
    pub at: f64,
    /// What.
    pub what: String,
    /// Its color.
    pub color: &'static str,
}

impl Mark {
    /// A mark.
    pub fn new(at: f64, what: &str, color: &'static str) -> Self {
        Self { at, what: what.to_owned(), color }
    }
}

/// The picture, as SVG, of what was from `from` to `to`, in seconds.
pub fn picture(title: &str, (from, to): (f64, f64), panels: &[Panel], marks: &[Mark]) -> String {
    let height = HEAD + FOOT + panels.len() as f64 * (PANEL + TITLE);
    let x = |at: f64| LEFT + (at - from) / (to - from).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let top = HEAD + number as f64 * (PANEL + TITLE) + TITLE;
        draw(&mut text, panel, top, (from, to), x);
    }
    let base = height - FOOT;
    for tenth in 0..=10 {
        let at = from + (to - from) * f64::from(tenth) / 10.0;
        let label = base + 18.0;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{label:.1}\" text-anchor=\"middle\">{at:.1} s</text>",
            x(at)
        );
    }
    for (number, mark) in marks.iter().enumerate() {
        let (at, color) = (x(mark.at), mark.color);
        let label = HEAD + TITLE + 12.0 + 14.0 * (number % 4) as f64;
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {:.1}V{base:.1}\" stroke=\"{color}\" stroke-dasharray=\"4\"/>\
             <text x=\"{:.1}\" y=\"{label:.1}\" fill=\"{color}\">{}</text>",
            HEAD + TITLE,
            at + 3.0,
            mark.what
        );
    }
    text + "</svg>\n"
}

fn draw(
    text: &mut String,
    panel: &Panel,
    top: f64,
    (from, to): (f64, f64),
    x: impl Fn(f64) -> f64,
) {
    let y = |value: f64| top + (1.0 - panel.height(value)) * PANEL;
    let title = top - 8.0;
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{title:.1}\">{}</text>", panel.title);
    for (value, label) in panel.ticks() {
        let at = match panel.scale {
            Scale::Linear => y(value),
            Scale::Decades => y(10_f64.powf(value)),
        };
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (number, line) in panel.lines.iter().enumerate() {
        let within = line.points.iter().filter(|(at, _)| (from..=to).contains(at));
        let points: Vec<String> =
            within.map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let label = WIDTH - RIGHT - 150.0 * (panel.lines.len() - 1 - number) as f64;
        let (color, name) = (line.color, &line.name);
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\"/>\
             <text x=\"{label:.1}\" y=\"{title:.1}\" fill=\"{color}\" text-anchor=\"end\">\
             {name}</text>",
            points.join(" ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_all_its_panels_lines_and_marks() {
        let points = vec![(0.0, 0.5), (1.0, 2000.0), (9.0, 7.0)];
        let lines = vec![Line::new("ours", OURS, points), Line::new("peer", PEER, Vec::new())];
        let panels = [
            Panel::new("operations per second", Scale::Linear, lines.clone()),
            Panel::new("latency, ms", Scale::Decades, lines),
            Panel::new("copies", Scale::Linear, Vec::new()),
        ];
        let text = picture("a move", (-1.0, 5.0), &panels, &[Mark::new(2.0, "killed", "black")]);
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        for word in ["operations per second", "latency, ms", "copies", "killed", ">peer<"] {
            assert!(text.contains(word), "{word}");
        }
        let first = text.lines().find(|line| line.starts_with("<polyline")).unwrap();
        assert_eq!(first.matches(',').count(), 2, "what is outside is not drawn: {first}");
    }

    #[test]
    fn bounds_are_round_numbers_above_all_values() {
        for (value, expected) in [(0.0, 1.0), (3.0, 3.0), (1999.0, 2000.0), (16_384.0, 20_000.0)] {
            assert_eq!(round(value), expected);
        }
        let panel = Panel::new(
            "",
            Scale::Decades,
            vec![Line::new("", OURS, vec![(0.0, 0.3), (1.0, 40.0)])],
        );
        assert_eq!(panel.bounds(), (-1.0, 2.0));
        assert_eq!(panel.height(0.1), 0.0);
        assert!((panel.height(10.0) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(panel.ticks()[0].1, "0.1");
    }
}
