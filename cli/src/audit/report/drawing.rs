//! The two drawings of a report, as SVG inside the page: no script, no font, no other file.

use std::fmt::Write;

use super::page::escaped;

const WIDTH: f64 = 720.0;
const BAR_HEIGHT: f64 = 22.0;
const LABEL_WIDTH: f64 = 190.0;
const PLOT_HEIGHT: f64 = 220.0;
const MARGIN: f64 = 46.0;
/// Told apart also where colours are not seen, and in print (Okabe and Ito, "Color universal design", 2008).
const COLOURS: [&str; 6] = [
    "#0072b2", "#56b4e9", "#d55e00", "#cc79a7", "#999999", "#009e73",
];

/// A bar for each name, divided by kind.
pub(super) fn bars(title: &str, kinds: &[&str], rows: &[(String, Vec<u64>)]) -> String {
    let most = rows.iter().map(|(_, counts)| counts.iter().sum::<u64>());
    let most = most.max().unwrap_or(0).max(1) as f64;
    let height = 30.0 + rows.len() as f64 * (BAR_HEIGHT + 8.0) + 26.0;
    let mut svg = begin(title, height);
    for (row, (name, counts)) in rows.iter().enumerate() {
        let y = 10.0 + row as f64 * (BAR_HEIGHT + 8.0);
        let _ = write!(
            svg,
            r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{}</text>"#,
            LABEL_WIDTH - 8.0,
            y + 15.0,
            escaped(name)
        );
        let mut x = LABEL_WIDTH;
        let scale = (WIDTH - LABEL_WIDTH - 60.0) / most;
        for (kind, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let width = *count as f64 * scale;
            let _ = write!(
                svg,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{BAR_HEIGHT}" fill="{}"><title>{}: {count}</title></rect>"#,
                colour(kind),
                escaped(kinds.get(kind).copied().unwrap_or_default())
            );
            x += width;
        }
        let total: u64 = counts.iter().sum();
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}">{total}</text>"#,
            x + 6.0,
            y + 15.0
        );
    }
    legend(&mut svg, kinds, height - 12.0);
    svg.push_str("</svg>");
    svg
}

/// A stepped line for each name: what was spent stays spent. `points` are milliseconds and values, in order of time.
pub(super) fn steps(title: &str, unit: &str, lines: &[(String, Vec<(u64, f64)>)]) -> String {
    let all = || lines.iter().flat_map(|(_, points)| points.iter());
    let finite = || all().map(|(_, value)| *value).filter(|v| v.is_finite());
    let top = finite().fold(0.0, f64::max).max(1e-9);
    let first = all().map(|(at, _)| *at).min().unwrap_or(0);
    let last = all().map(|(at, _)| *at).max().unwrap_or(0).max(first + 1);
    let height = PLOT_HEIGHT + 2.0 * MARGIN;
    let x = |at: u64| MARGIN + (at - first) as f64 / (last - first) as f64 * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| MARGIN + (1.0 - value.min(top) / top) * PLOT_HEIGHT;
    let mut svg = begin(title, height);
    for share in [0.0, 0.5, 1.0] {
        let (value, at) = (top * share, y(top * share));
        let right = WIDTH - MARGIN;
        let _ = write!(
            svg,
            r#"<line x1="{MARGIN}" x2="{right:.0}" y1="{at:.1}" y2="{at:.1}" stroke="currentColor" stroke-opacity=".2"/>"#
        );
        let _ = write!(
            svg,
            r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{value:.2}</text>"#,
            MARGIN - 6.0,
            at + 4.0
        );
    }
    let _ = write!(
        svg,
        r#"<text x="{MARGIN}" y="{:.0}">{}</text>"#,
        MARGIN - 18.0,
        escaped(unit)
    );
    for (at, anchor) in [(first, "start"), (last, "end")] {
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            x(at),
            MARGIN + PLOT_HEIGHT + 18.0,
            escaped(&crate::moment::utc(at))
        );
    }
    for (line, (name, points)) in lines.iter().enumerate() {
        let mut path = format!("M{MARGIN:.1} {:.1}", y(0.0));
        for (at, value) in points {
            let _ = write!(path, "H{:.1}V{:.1}", x(*at), y(*value));
        }
        let _ = write!(
            svg,
            r#"<path d="{path}H{:.1}" fill="none" stroke="{}" stroke-width="2"><title>{}</title></path>"#,
            WIDTH - MARGIN,
            colour(line),
            escaped(name)
        );
    }
    let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
    legend(&mut svg, &names, height - 8.0);
    svg.push_str("</svg>");
    svg
}

fn begin(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}" font-size="13" fill="currentColor"><title>{title}</title>"#
    )
}

fn legend(svg: &mut String, names: &[&str], y: f64) {
    let mut x = LABEL_WIDTH.min(MARGIN);
    for (place, name) in names.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<rect x="{x:.1}" y="{:.1}" width="11" height="11" fill="{}"/><text x="{:.1}" y="{y:.1}">{}</text>"#,
            y - 10.0,
            colour(place),
            x + 16.0,
            escaped(name)
        );
        x += 34.0 + 7.5 * name.chars().count() as f64;
    }
}

fn colour(place: usize) -> &'static str {
    COLOURS
        .get(place % COLOURS.len())
        .copied()
        .unwrap_or("#000000")
}
