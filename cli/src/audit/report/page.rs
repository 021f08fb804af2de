//! The page. Everything that comes from the journal is escaped.

use std::fmt::Write;

use super::{Count, Outcome, Report, Source, drawing, epsilon};
use crate::moment;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5c5c5c; --line: #d6d6d6; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #a8a8a8; --line: #444; --paper: #161616; } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; } figure, tr { break-inside: avoid; } }
body { margin: 2.5rem auto; padding: 0 1.25rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { max-width: 48rem; } .soft { color: var(--soft); }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; color: var(--ink); }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid var(--soft); } .wide { overflow-x: auto; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .85em; overflow-wrap: anywhere; }
";

/// Text as it may stand in a page.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// The whole report.
pub(super) fn html(report: &Report, source: &Source, delta: f64) -> String {
    let mut body = String::new();
    let span = match report.first_ms {
        Some(first) => format!(
            "From {} to {}.",
            moment::utc(first),
            moment::utc(report.last_ms)
        ),
        None => "Nobody has asked for anything yet.".to_owned(),
    };
    let _ = write!(
        body,
        "<h1>What left, and what did not</h1><p>{}</p><p class=\"soft\">Journal <code>{}</code>: {} entries, each \
         checked. {} Head <code>{}</code>.</p>",
        escaped(&span),
        escaped(&source.journal.display().to_string()),
        source.verified.entries,
        escaped(&source.witnessed),
        source.verified.head,
    );
    drawings(&mut body, report, delta);
    groups(&mut body, report, delta);
    left(&mut body, report, delta);
    refused(&mut body, report);
    bundles(&mut body, report);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>What left, and what did not</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>\n"
    )
}

fn drawings(body: &mut String, report: &Report, delta: f64) {
    let kinds: Vec<&str> = Outcome::ALL.into_iter().map(Outcome::as_str).collect();
    let mut by_project: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    for (group, totals) in &report.groups {
        let counts = by_project
            .entry(group.project.clone())
            .or_insert_with(|| vec![0; kinds.len()]);
        for (count, outcome) in counts.iter_mut().zip(Outcome::ALL) {
            *count += totals.outcomes.get(&outcome).copied().unwrap_or(0);
        }
    }
    let rows: Vec<(String, Vec<u64>)> = by_project.into_iter().collect();
    if !rows.is_empty() {
        figure(
            body,
            &drawing::bars("Asks by project and outcome", &kinds, &rows),
            "Asks of each project, by what became of them.",
        );
    }
    let lines: Vec<(String, Vec<(u64, f64)>)> = report
        .spent
        .iter()
        .map(|(dataset, line)| (dataset.clone(), line.drawn(delta)))
        .collect();
    if lines.is_empty() {
        body.push_str("<p>Nothing that left had a privacy cost.</p>");
        return;
    }
    let svg = drawing::steps("Privacy budget spent over time", "ε spent", &lines);
    let caption = format!(
        "What all projects together have spent on each data set, as ε at δ = {delta}. It is spent when it is reserved, \
         before any work, and never comes back."
    );
    figure(body, &svg, &caption);
}

fn groups(body: &mut String, report: &Report, delta: f64) {
    heading(body, "Projects and purposes");
    let epsilon_head = format!("ε at δ = {delta}");
    let mut head: Vec<&str> = vec!["project", "purpose", "data set", "researchers"];
    head.extend(Outcome::ALL.map(Outcome::as_str));
    head.push(&epsilon_head);
    let rows = report.groups.iter().map(|(group, totals)| {
        let researchers: Vec<&str> = totals.researchers.iter().map(String::as_str).collect();
        let mut cells = vec![
            group.project.clone(),
            group.purpose.clone(),
            group.dataset.clone(),
            researchers.join(", "),
        ];
        for outcome in Outcome::ALL {
            let times = totals.outcomes.get(&outcome).copied().unwrap_or(0);
            cells.push(times.to_string());
        }
        cells.push(epsilon(&totals.account, delta));
        cells
    });
    table(body, &head, rows);
}

fn left(body: &mut String, report: &Report, delta: f64) {
    heading(body, "What left, to whom, under which bundle");
    let head = [
        "project",
        "purpose",
        "data set",
        "to",
        "what",
        "bundle",
        "times",
        "first",
        "last",
        "ε of these",
    ];
    let rows = report.left.iter().map(|(left, count)| {
        let mut cells = vec![
            left.group.project.clone(),
            left.group.purpose.clone(),
            left.group.dataset.clone(),
            left.researcher.clone(),
            left.what.clone(),
            left.bundle.clone(),
        ];
        cells.extend(counted(count));
        cells.push(epsilon(&count.account, delta));
        cells
    });
    table(body, &head, rows);
}

fn refused(body: &mut String, report: &Report) {
    heading(body, "What was refused, and why");
    let head = [
        "project", "purpose", "data set", "to", "what", "reason", "times", "first", "last",
    ];
    let rows = report.refused.iter().map(|(refused, count)| {
        let mut cells = vec![
            refused.group.project.clone(),
            refused.group.purpose.clone(),
            refused.group.dataset.clone(),
            refused.researcher.clone(),
            refused.what.clone(),
            format!("{}: {}", refused.code, count.reason),
        ];
        cells.extend(counted(count));
        cells
    });
    table(body, &head, rows);
}

fn bundles(body: &mut String, report: &Report) {
    heading(body, "Bundles in force");
    let head = ["from", "name", "version", "digest", "signed by"];
    let rows = report.bundles.iter().map(|(at_ms, bundle)| {
        vec![
            moment::utc(*at_ms),
            bundle.name.clone(),
            bundle.version.to_string(),
            bundle.digest.to_string(),
            match bundle.officers.is_empty() {
                true => "nobody".to_owned(),
                false => bundle.officers.join(", "),
            },
        ]
    });
    table(body, &head, rows);
}

fn counted(count: &Count) -> [String; 3] {
    [
        count.times.to_string(),
        moment::utc(count.first_ms),
        moment::utc(count.last_ms),
    ]
}

fn heading(body: &mut String, text: &str) {
    let _ = write!(body, "<h2>{}</h2>", escaped(text));
}

fn figure(body: &mut String, svg: &str, caption: &str) {
    let _ = write!(
        body,
        "<figure>{svg}<figcaption class=\"soft\">{}</figcaption></figure>",
        escaped(caption)
    );
}

fn table(body: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        cells
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)))
            .collect()
    };
    let rows: String = rows
        .map(|row| {
            format!(
                "<tr>{}</tr>",
                cells("td", &mut row.iter().map(String::as_str))
            )
        })
        .collect();
    if rows.is_empty() {
        body.push_str("<p>Nothing.</p>");
        return;
    }
    let _ = write!(
        body,
        "<div class=\"wide\"><table><thead><tr>{}</tr></thead><tbody>{rows}</tbody></table></div>",
        cells("th", &mut head.iter().copied())
    );
}
