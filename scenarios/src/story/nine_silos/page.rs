//! The report: what was found, drawn.

use super::collections::{ANSWERS, PEOPLE};
use super::findings::Findings;
use super::parity::Found;
use super::silos::SOURCE;
use super::stages::{RANKINGS, ROWS};
use super::tables;
use crate::report::{Bars, Chart, ChartError, Hue, Page, bars_by_group};
use crate::story::StoryError;

/// The report as one HTML file.
///
/// # Errors
/// A chart that could not be drawn.
pub(super) fn page(findings: &Findings) -> Result<String, StoryError> {
    let mut page = Page::new("Nine silos: one question, nine sites, the answer of one place");
    let (mismatches, compared) = findings.mismatches();
    page.lead(&format!(
        "A coordinator and nine nodes, each a process of its own, hold MedQuAD: {} answers of nine web sites of the \
         National Institutes of Health. {} known items were asked over QUIC, and every answer was compared with \
         that of one \
         collection that holds all rows: {mismatches} of {compared} differ.",
        findings.total(ANSWERS).documents,
        findings.known_items,
    ));
    quality(&mut page, findings).map_err(StoryError::unexpected)?;
    filters(&mut page, findings);
    latency(&mut page, findings).map_err(StoryError::unexpected)?;
    stages(&mut page, findings).map_err(StoryError::unexpected)?;
    page.section("A site goes down");
    page.paragraph(&tables::outage(findings));
    sites(&mut page, findings);
    Ok(page.finish(&format!(
        "Made by consilium-scenarios {} in {:.0} s.",
        env!("CARGO_PKG_VERSION"),
        findings.took_ms as f64 / 1000.0,
    )))
}

fn table(page: &mut Page, caption: &str, table: &tables::Table) {
    page.table(caption, &table.headings, &table.rows, |_| false);
}

fn quality(page: &mut Page, findings: &Findings) -> Result<(), ChartError> {
    page.section("How well a question finds its own answer");
    let groups: Vec<&str> = findings.found.iter().map(|found| found.way.short).collect();
    let series = |name, hue, figure: fn(&Found) -> f64| Bars {
        name,
        hue,
        values: findings
            .found
            .iter()
            .map(|found| Some(figure(found)))
            .collect(),
    };
    let chart = Chart {
        title: "Known items found by all nine sites together",
        description: "Bars for each way of searching: recall at 1, recall at 10 and nDCG at 10. The table below \
            has the figures.",
        x: "by",
        y: "share of known items; nDCG",
    };
    let bars = [
        series("recall@1", Hue::Sky, |found| found.federated.recall_1()),
        series("recall@10", Hue::Blue, |found| found.federated.recall_10()),
        series("nDCG@10", Hue::Green, |found| found.federated.ndcg_10()),
    ];
    page.figure(
        &bars_by_group(&chart, &groups, &bars, 3)?,
        "Vectors are the built-in encoder's. Answers are indexed alone, for with its question in the index every \
         answer finds itself. Many questions of MedQuAD are alike, and some answers are the same word for word: \
         nothing finds all of them first.",
    );
    table(
        page,
        "Known items, and whether nine sites find what one place does",
        &tables::quality(findings),
    );
    Ok(())
}

fn filters(page: &mut Page, findings: &Findings) {
    page.section("Filters by semantic type");
    page.paragraph(
        "A filter is applied inside the search at each site. Every hit was looked up: it must have the type, and \
         there must be \
         ten where ten documents have it.",
    );
    table(
        page,
        "Filters, from frequent to rare",
        &tables::filters(findings),
    );
}

fn latency(page: &mut Page, findings: &Findings) -> Result<(), ChartError> {
    page.section("How long a search takes");
    let groups: Vec<&str> = findings
        .latency
        .iter()
        .map(|latency| latency.name)
        .collect();
    let series = |name, hue, figure: &dyn Fn(&super::latency::Latency) -> f64| Bars {
        name,
        hue,
        values: findings
            .latency
            .iter()
            .map(|latency| Some(figure(latency)))
            .collect(),
    };
    let bars = [
        series("whole, p50", Hue::Sky, &|latency| {
            latency.whole.percentile_ms(50)
        }),
        series("whole, p99", Hue::Blue, &|latency| {
            latency.whole.percentile_ms(99)
        }),
        series("one site, p50", Hue::Green, &|latency| {
            latency.of_one.percentile_ms(50)
        }),
        series("alone, p50", Hue::Orange, &|latency| {
            latency.alone.percentile_ms(50)
        }),
        series("alone, p99", Hue::Vermilion, &|latency| {
            latency.alone.percentile_ms(99)
        }),
    ];
    let chart = Chart {
        title: "Milliseconds of a search, one after another",
        description: "Bars for each order: the whole search over nine sites, over the largest one, and alone inside \
            that, at the median and the 99th percentile.",
        x: "by",
        y: "milliseconds",
    };
    page.figure(
        &bars_by_group(&chart, &groups, &bars, 1)?,
        "The whole is what the asker waits: QUIC, the coordinator, nine nodes with policy and journal on one \
         machine, and the \
         way back with the passages' texts. One site is the same question to the largest node only. Alone is the search inside the largest node.",
    );
    Ok(())
}

fn stages(page: &mut Page, findings: &Findings) -> Result<(), ChartError> {
    page.section("What each privacy stage costs");
    let groups = [
        "none",
        "one a patient",
        "sixteenths",
        "too close",
        "redacted",
        "level 2",
    ];
    let series = RANKINGS
        .iter()
        .zip(&findings.costs)
        .zip([Hue::Blue, Hue::Green]);
    let bars: Vec<Bars<'_>> = series
        .map(|((ranking, costs), hue)| Bars {
            name: tables::ranking_name(*ranking),
            hue,
            values: costs
                .iter()
                .take(ROWS.len())
                .map(|cost| Some(cost.answer.ndcg_10()))
                .collect(),
        })
        .collect();
    let chart = Chart {
        title: "nDCG@10 of known items with each privacy stage",
        description: "Bars for each stage alone and for all of them together. The table below has the figures.",
        x: "stage",
        y: "nDCG@10",
    };
    page.figure(
        &bars_by_group(&chart, &groups, &bars, 3)?,
        "Each stage alone, then all of them, which is level 2. Measured over one collection of all rows, silo by \
         silo, by the \
         functions that nodes and the asker's machine call: at level 2 no answer says which document was found.",
    );
    table(
        page,
        "Each stage's cost on the same known items. One passage a patient hides a topic's other answers, so the \
         last columns ask \
         whether the patient was found",
        &tables::stages(findings),
    );
    page.paragraph(&tables::redaction(findings));
    Ok(())
}

fn sites(page: &mut Page, findings: &Findings) {
    page.section("The nine sites");
    page.paragraph(&format!(
        "Each site ingested its rows as answers alone, which is what was measured, and as `{PEOPLE}` with each \
         question as its \
         answer's title, which is what people ask. {} rows bear an id that an earlier row of their silo has; they \
         were told \
         apart by a mark, or a node would have taken only the first of each.",
        findings.marked
    ));
    table(page, "What each site took in", &tables::sites(findings));
    page.preformatted(SOURCE);
}
