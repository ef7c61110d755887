//! A picture of how long writes took over time: the peer's and ours, on one scale.

use std::fmt::Write as _;

use super::trace::{MARGIN, Span, Trace};

/// What is shown before and after the span.
const MARGIN_SECONDS: f64 = MARGIN.as_secs() as f64;
/// One point for so long.
const STEP_SECONDS: f64 = 0.05;
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const BELOW: f64 = 40.0;
/// The scale goes by powers of ten from 10 us to 10 s, in milliseconds.
const DECADES: (i32, i32) = (-2, 4);

/// One side's writes around a span.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Seconds since the span began, and the longest write that was under way then, in ms.
    points: Vec<(f64, f64)>,
    seconds: f64,
}

impl Line {
    /// The longest writes in a trace, around a span.
    pub fn of(trace: &Trace, span: Span) -> Self {
        let seconds = span.seconds();
        let steps = ((seconds + 2.0 * MARGIN_SECONDS) / STEP_SECONDS).ceil() as usize;
        let mut longest = vec![0.0_f64; steps + 1];
        for (from, to) in trace.writes(span.from) {
            let step = |at: f64| ((at + MARGIN_SECONDS) / STEP_SECONDS).floor();
            let (first, last) = (step(from).max(0.0), step(to));
            if last < 0.0 || first > steps as f64 {
                continue;
            }
            for at in &mut longest[first as usize..=(last as usize).min(steps)] {
                *at = at.max((to - from) * 1000.0);
            }
        }
        let time = |step: usize| step as f64 * STEP_SECONDS - MARGIN_SECONDS;
        let points = longest.into_iter().enumerate().map(|(step, ms)| (time(step), ms));
        Self { points: points.filter(|(_, ms)| *ms > 0.0).collect(), seconds }
    }
}

/// Both lines as an SVG picture; where each span begins is 0, where it ends is marked.
pub fn picture(peer_name: &str, title: &str, peer: &Line, ours: &Line) -> String {
    let seconds = peer.seconds.max(ours.seconds) + MARGIN_SECONDS;
    let x =
        |at: f64| LEFT + (at + MARGIN_SECONDS) / (seconds + MARGIN_SECONDS) * (WIDTH - LEFT - 30.0);
    let y = |ms: f64| {
        let (low, high) = (f64::from(DECADES.0), f64::from(DECADES.1));
        let part = (ms.log10().clamp(low, high) - low) / (high - low);
        30.0 + (1.0 - part) * (HEIGHT - BELOW - 30.0)
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">{title}: longest write under way, ms</text>\n"
    );
    // Writing to a string cannot fail.
    for decade in DECADES.0..=DECADES.1 {
        let at = y(10_f64.powi(decade));
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 30.0,
            LEFT - 6.0,
            at + 4.0,
            10_f64.powi(decade)
        );
    }
    let base = HEIGHT - BELOW;
    for tenth in 0..=10 {
        let at = seconds * f64::from(tenth) / 10.0;
        let label = base + 18.0;
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{label}\" text-anchor=\"middle\">{at:.1} s</text>",
            x(at)
        );
    }
    let _ = writeln!(text, "<path d=\"M{:.1} 30V{base}\" stroke=\"black\"/>", x(0.0));
    for (name, line, color, label) in
        [(peer_name, peer, "#c33", WIDTH - 160.0), ("Cairn", ours, "#06c", WIDTH - 80.0)]
    {
        let points: Vec<String> =
            line.points.iter().map(|(at, ms)| format!("{:.1},{:.1}", x(*at), y(*ms))).collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\"/>\n\
             <path d=\"M{:.1} 30V{base}\" stroke=\"{color}\" stroke-dasharray=\"4\"/>\n\
             <text x=\"{label}\" y=\"18\" fill=\"{color}\">{name}</text>",
            points.join(" "),
            x(line.seconds)
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Sample;
    use std::time::{Duration, Instant};

    #[test]
    fn a_long_write_is_seen_all_the_time_it_takes() {
        let began = Instant::now();
        let samples = vec![
            Sample { at_us: 4_000_000, took_us: 500 },
            Sample { at_us: 6_010_000, took_us: 430_000 },
            Sample { at_us: 90_000_000, took_us: 500 },
        ];
        let trace = Trace::new(began, samples);
        let at = |seconds| began + Duration::from_secs(seconds);
        let line = Line::of(&trace, Span { from: at(4), to: at(8) });
        let long: Vec<f64> =
            line.points.iter().filter(|(_, ms)| *ms > 300.0).map(|(at, _)| *at).collect();
        assert!((9..=11).contains(&long.len()), "{long:?}");
        assert!(long[0] > 1.5 && *long.last().unwrap() < 2.1, "{long:?}");
        assert!(line.points.len() > long.len() && line.points.len() < long.len() + 3);
        let text = picture("Valkey", "a snapshot", &Line::default(), &line);
        assert!(text.starts_with("<svg") && text.contains("Cairn</text>"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }
}
