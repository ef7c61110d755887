//! A page with everything in it: the timeline of faults and pauses, and pauses by kind of fault.

use std::fmt::Write as _;

use super::results::{Happened, Results};

/// Width of the drawings, in units of SVG.
const WIDTH: u64 = 1100;
/// How much of the campaign one row of the timeline shows, in milliseconds.
const ROW_MS: u64 = 600_000;
/// Height of a row of the timeline: pauses above, faults below.
const ROW: u64 = 120;
/// Where faults are drawn within a row; pauses grow from here up.
const GROUND: u64 = 90;
/// Limits of the histogram's bins, in milliseconds.
const BINS: [u64; 9] = [100, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000];

/// The page.
pub fn page(results: &Results, seed: u64, verdict: &str) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Chaos, seed {seed}</title>\n\
         <style>body{{font:14px sans-serif;margin:2em}}td,th{{padding:2px 8px;text-align:right}}\
         td:first-child{{text-align:left}}svg{{background:#fafafa}}\
         text{{font:11px sans-serif}}</style>\n\
         <h1>Chaos, seed {seed}</h1><p><code>{}</code></p>\n",
        escape(verdict)
    );
    page += "<h2>Timeline</h2><p>Ten minutes a row. Grey: how long a fault lasted. Red: how long \
             writes paused, the higher the longer (logarithmic, 10 ms to 100 s). Green line: the \
             cluster was whole again. Point at a mark to read what it is.</p>\n";
    page += &timeline(&results.faults);
    page += "<h2>Pauses of writes by kind of fault</h2>\n";
    page += &table(results);
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// From 0 for 10 ms and less to 80 for 100 s.
fn height(pause_ms: u64) -> u64 {
    let decades = (pause_ms.max(10) as f64 / 10.0).log10();
    // At most 4 decades of 20 units each.
    (decades.min(4.0) * 20.0) as u64
}

fn timeline(faults: &[Happened]) -> String {
    let end_ms = faults.iter().map(|fault| fault.at_ms + fault.whole_ms).max().unwrap_or(0);
    let rows = end_ms / ROW_MS + 1;
    let mut svg = format!("<svg width={WIDTH} height={} role=img>\n", rows * ROW);
    for row in 0..rows {
        let y = row * ROW + GROUND;
        writeln!(
            svg,
            "<line x1=0 x2={WIDTH} y1={y} y2={y} stroke=#888 /><text x=2 y={}>{} min</text>",
            y + 25,
            row * ROW_MS / 60_000
        )
        .expect("a String takes all");
    }
    let scale = |ms: u64| ms * WIDTH / ROW_MS;
    for (at, fault) in faults.iter().enumerate() {
        let (x, y) = (scale(fault.at_ms % ROW_MS), fault.at_ms / ROW_MS * ROW + GROUND);
        let lane = y + 3 + u64::try_from(at % 3).unwrap_or(0) * 4;
        let tall = height(fault.pause_ms);
        let seconds = |ms: u64| format!("{}.{:01} s", ms / 1000, ms % 1000 / 100);
        let title = format!(
            "step {}, at {}: {} ({}); lasted {}, writes paused {} ms, whole after {}",
            fault.step,
            seconds(fault.at_ms),
            fault.what,
            fault.victims.join(", "),
            seconds(fault.time_ms),
            fault.pause_ms,
            seconds(fault.whole_ms)
        );
        let long = scale(fault.time_ms).max(2);
        let whole = x + scale(fault.whole_ms);
        writeln!(
            svg,
            "<g><title>{}</title><rect x={x} y={lane} width={long} height=3 fill=#555 />\
             <rect x={x} y={} width=3 height={tall} fill=#c22 />\
             <line x1={whole} x2={whole} y1={} y2={y} stroke=#2a2 /></g>",
            escape(&title),
            y - tall,
            y - 8
        )
        .expect("a String takes all");
    }
    svg + "</svg>\n"
}

/// Into which bin of the histogram a pause falls.
fn bin(pause_ms: u64) -> usize {
    BINS.iter().position(|limit| pause_ms <= *limit).unwrap_or(BINS.len())
}

fn table(results: &Results) -> String {
    let mut html = "<table><tr><th>kind<th>n<th>p50 ms<th>p99 ms<th>max ms".to_owned();
    for limit in BINS {
        write!(html, "<th>≤ {limit}").expect("a String takes all");
    }
    html += "<th>more</tr>\n";
    for (kind, spread) in results.by_kind() {
        let ms = |us: u64| us / 1000;
        let mut bins = [0_usize; BINS.len() + 1];
        for fault in results.faults.iter().filter(|fault| fault.kind == kind) {
            bins[bin(fault.pause_ms)] += 1;
        }
        let (p50, p99, max) = (ms(spread.p50_us), ms(spread.p99_us), ms(spread.max_us));
        let name = escape(kind);
        write!(html, "<tr><td>{name}<td>{}<td>{p50}<td>{p99}<td>{max}", spread.count)
            .expect("a String takes all");
        for count in bins {
            let shade = 100 - 60 * count / spread.count.max(1);
            match count {
                0 => html += "<td>",
                _ => write!(html, "<td style='background:hsl(10 80% {shade}%)'>{count}")
                    .expect("a String takes all"),
            }
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_pauses_are_taller_and_fall_into_later_bins() {
        assert_eq!([5, 10, 100, 1000, 1_000_000].map(height), [0, 0, 20, 40, 80]);
        assert_eq!([0, 100, 101, 40_000].map(bin), [0, 0, 1, 9]);
    }

    #[test]
    fn every_fault_is_on_the_page_and_nothing_is_taken_for_markup() {
        let path = std::env::temp_dir().join(format!("page-{}.jsonl", std::process::id()));
        let mut results = Results::open(&path, false).unwrap();
        for at_ms in [5, 1_300_000] {
            let (kind, what) = ("stop <master>".to_owned(), format!("fault & {at_ms}"));
            results.add(Happened { kind, what, at_ms, ..Happened::default() }).unwrap();
        }
        let page = page(&results, 9, "chaos: lost=0");
        assert!(page.contains("fault &amp; 5 ") && page.contains("fault &amp; 1300000 "));
        assert!(page.contains("stop &lt;master&gt;") && page.contains("chaos: lost=0"));
        assert!(page.contains("height=360"), "three rows of ten minutes");
        drop(std::fs::remove_file(&path));
    }
}
