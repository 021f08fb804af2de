//! The figures as tables, on standard output and on the page.

use super::Options;
use super::collections::{ANSWERS, REDACTED};
use super::findings::Findings;
use super::stages::{RANKINGS, ROWS};
use crate::house::Consortium;
use crate::story::told::result;
use consilium_protocol::search::Ranking;

/// Headings, and rows whose first cell names them.
pub(super) struct Table {
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Prints every figure.
pub(super) fn print(findings: &Findings) {
    let (mismatches, compared) = findings.mismatches();
    result("");
    result(&format!(
        "Nine silos: {} documents in {} passages, {} known items",
        findings.total(ANSWERS).documents,
        findings.total(ANSWERS).passages,
        findings.known_items,
    ));
    result("");
    result("A question should find its own answer; answers are indexed without their questions.");
    print_table(&quality(findings));
    result("");
    result(&format!(
        "Federated against one place: {mismatches} of {compared} answers differ (first ten, id for id; filters and the \
         outage counted)."
    ));
    result("");
    result("Filters by semantic type:");
    print_table(&filters(findings));
    result("");
    result(
        "One search after another, in milliseconds; alone is the search inside the largest node:",
    );
    print_table(&latency(findings));
    result("");
    result("What each privacy stage costs; a topic stands for a patient:");
    print_table(&stages(findings));
    result("");
    result(&outage(findings));
    result("");
    for (name, verified) in &findings.journals {
        let entries = verified
            .get("entries")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default();
        result(&format!(
            "audit verify {name}: the journal is what was written, {entries} entries"
        ));
    }
}

/// Tells where what stays is.
pub(super) fn print_where_things_are(
    findings: &Findings,
    options: &Options,
    consortium: &Consortium,
) {
    result("");
    result(&format!("report: {}", options.report.display()));
    if let Some(path) = &options.json {
        result(&format!("figures: {}", path.display()));
    }
    if let Some(path) = &options.run {
        result(&format!(
            "ranked documents of {} questions: {}",
            findings.run.len(),
            path.display()
        ));
    }
    if options.keep.is_some() {
        result(&format!(
            "everything else: {}",
            consortium.folder("").display()
        ));
    }
}

/// What each site took in.
pub(super) fn sites(findings: &Findings) -> Table {
    let rows = findings
        .ingested
        .iter()
        .filter(|(site, _)| *site != super::CENTRE)
        .map(|(site, collections)| {
            let answers = collections.iter().find(|(name, _)| *name == ANSWERS);
            let ingested = answers
                .map(|(_, ingested)| ingested.clone())
                .unwrap_or_default();
            let took_ms: u64 = collections
                .iter()
                .map(|(_, ingested)| ingested.took_ms)
                .sum();
            vec![
                (*site).to_owned(),
                ingested.documents.to_string(),
                ingested.passages.to_string(),
                ingested.skipped.to_string(),
                seconds(took_ms),
            ]
        });
    Table {
        headings: vec![
            "site",
            "documents",
            "passages",
            "records skipped",
            "ingest of all its collections, s",
        ],
        rows: rows.collect(),
    }
}

/// How well known items are found.
pub(super) fn quality(findings: &Findings) -> Table {
    let rows = findings.found.iter().map(|found| {
        vec![
            found.way.name.to_owned(),
            share(found.federated.recall_1()),
            share(found.federated.recall_10()),
            share(found.federated.ndcg_10()),
            share(found.central.ndcg_10()),
            found.mismatches.to_string(),
            found.incomplete.to_string(),
        ]
    });
    Table {
        headings: vec![
            "by",
            "recall@1",
            "recall@10",
            "nDCG@10",
            "central nDCG@10",
            "answers unlike central",
            "incomplete",
        ],
        rows: rows.collect(),
    }
}

/// Filters with their selectivity.
pub(super) fn filters(findings: &Findings) -> Table {
    let rows = findings.filtered.iter().map(|filtered| {
        vec![
            format!("{} {}", filtered.code, filtered.name),
            filtered.documents.to_string(),
            format!("{:.2} %", 100.0 * filtered.share),
            filtered.hits.to_string(),
            filtered.wrong.to_string(),
            filtered.short.to_string(),
            filtered.mismatches.to_string(),
            format!("{:.0}", filtered.took.percentile_ms(50)),
        ]
    });
    Table {
        headings: vec![
            "semantic type",
            "documents",
            "of all",
            "hits",
            "hits without it",
            "answers cut short",
            "unlike central",
            "p50, ms, three at once",
        ],
        rows: rows.collect(),
    }
}

/// Times of one search after another.
pub(super) fn latency(findings: &Findings) -> Table {
    let milliseconds = |time: f64| format!("{time:.1}");
    let rows = findings.latency.iter().map(|latency| {
        vec![
            latency.name.to_owned(),
            milliseconds(latency.whole.percentile_ms(50)),
            milliseconds(latency.whole.percentile_ms(99)),
            milliseconds(latency.of_one.percentile_ms(50)),
            milliseconds(latency.of_one.percentile_ms(99)),
            milliseconds(latency.alone.percentile_ms(50)),
            milliseconds(latency.alone.percentile_ms(99)),
        ]
    });
    Table {
        headings: vec![
            "by",
            "whole p50",
            "whole p99",
            "one site p50",
            "one site p99",
            "alone p50",
            "alone p99",
        ],
        rows: rows.collect(),
    }
}

/// What each stage costs.
pub(super) fn stages(findings: &Findings) -> Table {
    let mut rows = Vec::new();
    for (ranking, costs) in RANKINGS.iter().zip(&findings.costs) {
        let without = costs.first().copied().unwrap_or_default();
        for ((name, _), cost) in ROWS.iter().zip(costs) {
            rows.push(vec![
                format!("{}, {name}", ranking_name(*ranking)),
                share(cost.answer.ndcg_10()),
                change(cost.answer.ndcg_10(), without.answer.ndcg_10()),
                share(cost.patient.ndcg_10()),
                change(cost.patient.ndcg_10(), without.patient.ndcg_10()),
                cost.withheld.to_string(),
                cost.patient_withheld.to_string(),
            ]);
        }
    }
    Table {
        headings: vec![
            "stages",
            "nDCG@10, own answer",
            "change",
            "nDCG@10, own patient",
            "change",
            "own answer withheld",
            "own patient",
        ],
        rows,
    }
}

/// The outage in a sentence.
pub(super) fn outage(findings: &Findings) -> String {
    let outage = &findings.outage;
    format!(
        "`{}` was killed after {} answers of all nine. The next {} answers are of eight and say so (first: \
         \"{}\", last: \
         \"{}\"); {} of them differ from what the other eight find in one place.",
        outage.site,
        outage.before,
        outage.after,
        outage.first_words,
        outage.last_words,
        outage.mismatches
    )
}

/// What redaction took out, in a sentence.
pub(super) fn redaction(findings: &Findings) -> String {
    let redacted = findings.central(REDACTED);
    format!(
        "Redaction took something out at {} places of {} documents, although none of these texts is about \
         anybody: names of \
         diseases are names of people too.",
        redacted.redacted, redacted.documents
    )
}

pub(super) fn ranking_name(ranking: Ranking) -> &'static str {
    match ranking {
        Ranking::Vectors => "vectors",
        Ranking::Words => "words",
        Ranking::Both => "both",
    }
}

fn share(figure: f64) -> String {
    format!("{figure:.4}")
}

fn change(figure: f64, without: f64) -> String {
    match without > 0.0 {
        true => format!("{:+.1} %", 100.0 * (figure - without) / without),
        false => String::new(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1000.0)
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
fn print_table(table: &Table) {
    let headings: Vec<String> = table
        .headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(&table.rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    for line in &lines {
        let cells = line.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        result(&format!("  {}", cells.collect::<Vec<_>>().join("  ")));
    }
}
