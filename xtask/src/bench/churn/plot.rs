//! Pictures of a run: what the processes held, and the longest request of each second.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 30.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 40.0;

/// How figures are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From 0 up.
    Even,
    /// By powers of ten, from the first to the second.
    Tens(i32, i32),
}

/// Figures over time.
#[derive(Debug, Clone)]
pub struct Line {
    pub name: &'static str,
    pub color: &'static str,
    /// Minutes of churn, and the figure then.
    pub points: Vec<(f64, f64)>,
}

/// All lines in one picture.
pub fn chart(title: &str, scale: Scale, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let minutes = all().map(|point| point.0).fold(0.1, f64::max);
    let most = all().map(|point| point.1).fold(1.0, f64::max) * 1.1;
    let base = HEIGHT - BELOW;
    let x = |at: f64| LEFT + at / minutes * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| {
        let part = match scale {
            Scale::Even => value / most,
            Scale::Tens(low, high) => {
                let (low, high) = (f64::from(low), f64::from(high));
                (value.max(f64::MIN_POSITIVE).log10().clamp(low, high) - low) / (high - low)
            }
        };
        base - part * (base - ABOVE)
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"16\">{title}</text>\n"
    );
    let marks: Vec<f64> = match scale {
        Scale::Even => (0..=4).map(|part| (most * f64::from(part) / 4.0).round()).collect(),
        Scale::Tens(low, high) => (low..=high).map(|power| 10_f64.powi(power)).collect(),
    };
    // Writing to a string cannot fail.
    for mark in marks {
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {:.1}H{}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
            y(mark),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(mark) + 4.0
        );
    }
    for tenth in 0..=10 {
        let at = minutes * f64::from(tenth) / 10.0;
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{at:.1} min</text>",
            x(at),
            base + 18.0
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
            .collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"/>\n\
             <text x=\"{}\" y=\"32\" fill=\"{}\">{}</text>",
            points.join(" "),
            line.color,
            LEFT + 130.0 * number as f64,
            line.color,
            line.name
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_all_lines_and_only_numbers() {
        let line = |name, points| Line { name, color: "#06c", points };
        let lines = [line("one", vec![(0.0, 0.0), (1.0, 50.0)]), line("two", vec![(2.0, 1e9)])];
        for scale in [Scale::Even, Scale::Tens(-1, 4)] {
            let text = chart("a title", scale, &lines);
            assert!(text.starts_with("<svg") && text.contains("a title"));
            assert!(text.contains(">one</text>") && text.contains(">two</text>"));
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
        assert!(chart("nothing", Scale::Even, &[]).contains("nothing"));
    }
}
