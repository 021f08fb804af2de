//! The report: what was found, drawn, beside what was published.

use super::figures::{Method, Spread, short};
use super::findings::Findings;
use super::hospitals::{HOSPITALS, SOURCE};
use super::recipe::{FIRST_SEED, FOLDS};
use super::tables;
use crate::report::{Chart, ChartError, Curve, Hue, Mark, Page, Points, curves, points_by_group};
use crate::story::StoryError;

/// FLamby's best federated row, which the charts show as the published figure.
const PUBLISHED_SHOWN: usize = 3;

/// FedAvg, FedAdam, FedYogi and the chosen model, the same in every chart.
const LOOKS: [(Hue, Mark); 4] = [
    (Hue::Ink, Mark::Ring),
    (Hue::Blue, Mark::Triangle),
    (Hue::Purple, Mark::Cross),
    (Hue::Green, Mark::Disc),
];

/// Candidates that the page lists; the JSON has all.
const CANDIDATES_SHOWN: usize = 10;

/// The report as one HTML file.
///
/// # Errors
/// A chart that could not be drawn.
pub(super) fn page(findings: &Findings) -> Result<String, StoryError> {
    let mut page = Page::new("Heart disease: four hospitals, one model, nobody's records");
    let best = findings
        .candidates
        .first()
        .map_or_else(String::new, |best| best.choice.words());
    page.lead(&format!(
        "A real coordinator and four real nodes, each a process with its own key, policy and data, trained logistic \
         regressions over QUIC on UCI Heart Disease. Cross-validation chose {best}. On test \
         patients it reaches an accuracy \
         of {} as the mean of the hospitals, and {} counted by patient; always giving the more frequent label reaches \
         {} and {}.",
        findings.personal.mean().words(),
        findings.personal.weighted(&findings.test_rows()).words(),
        findings.majority.mean().words(),
        findings.majority.weighted(&findings.test_rows()).words(),
    ));
    loss(&mut page, findings).map_err(StoryError::unexpected)?;
    per_hospital(&mut page, findings).map_err(StoryError::unexpected)?;
    pooled_test(&mut page, findings);
    choice(&mut page, findings);
    policies(&mut page, findings);
    journals(&mut page, findings);
    how_it_was_made(&mut page, findings);
    Ok(page.finish(&format!(
        "Made by consilium-scenarios {} in {:.0} s, {}.",
        env!("CARGO_PKG_VERSION"),
        findings.took_ms as f64 / 1000.0,
        seeds(findings),
    )))
}

fn seeds(findings: &Findings) -> String {
    match findings.seeds {
        1 => format!("with seed {FIRST_SEED} (the published figures are means over five seeds)"),
        n => format!(
            "with seeds {FIRST_SEED} to {}",
            FIRST_SEED + u64::from(n) - 1
        ),
    }
}

fn loss(page: &mut Page, findings: &Findings) -> Result<(), ChartError> {
    page.section("Training loss");
    let series: Vec<Curve<'_>> = findings
        .losses
        .iter()
        .zip(LOOKS)
        .map(|((name, values), (hue, mark))| Curve {
            name,
            hue,
            mark,
            values,
        })
        .collect();
    let ends: Vec<String> = findings
        .losses
        .iter()
        .filter_map(|(name, values)| {
            Some(format!(
                "{name} from {:.3} to {:.3}",
                values.first()?,
                values.last()?
            ))
        })
        .collect();
    let chart = Chart {
        title: "Training loss by round",
        description: &format!("Curves that fall: {}.", ends.join(", ")),
        x: "round (100 local steps at each hospital)",
        y: "training loss (nats)",
    };
    page.figure(
        &curves(&chart, &series)?,
        "Mean over the hospitals' training records, as their policies let it out. FedAvg, FedAdam and FedYogi are \
         FLamby's recipe.",
    );
    Ok(())
}

fn per_hospital(page: &mut Page, findings: &Findings) -> Result<(), ChartError> {
    page.section("Accuracy at each hospital");
    let titles: Vec<&str> = HOSPITALS.iter().map(|hospital| hospital.title).collect();
    let published: Vec<Option<(f64, f64)>> = HOSPITALS
        .iter()
        .map(|hospital| Some((*hospital.published.get(PUBLISHED_SHOWN)?, 0.0)))
        .collect();
    let published = Points {
        name: "published FedYogi",
        hue: Hue::Orange,
        mark: Mark::Cross,
        values: published,
    };
    let mut series = shown(findings, Method::accuracy);
    series.insert(3, published);
    let chart = Chart {
        title: "Accuracy on each hospital's test rows",
        description: "Points for each hospital: majority vote, own model, pooled training, published, FedYogi and the chosen model. The table below has the figures.",
        x: "hospital",
        y: "accuracy (share of test rows)",
    };
    page.figure(
        &points_by_group(&chart, &titles, &series)?,
        "On each hospital's own test rows, measured there. A line through a point is one standard deviation over the seeds. \
         One test patient is 0.0625 in Switzerland and 0.022 at Long Beach: smaller differences mean nothing.",
    );
    accuracy_table(page, findings);
    page.section("Area under the ROC curve at each hospital");
    let chart = Chart {
        title: "AUC on each hospital's test rows",
        description: "Points for each hospital: majority vote at 0.5, own model, pooled training, FedYogi and the chosen model. The table below has the figures.",
        x: "hospital",
        y: "area under the ROC curve",
    };
    page.figure(
        &points_by_group(&chart, &titles, &shown(findings, Method::auc))?,
        "None is published. The majority vote ranks nobody: 0.5. Switzerland has one healthy patient among its 16 test \
         rows and none among its 30 training rows, so its AUC hangs on one patient.",
    );
    let tables::Table { headings, rows } = tables::auc(findings);
    page.table("Area under the ROC curve", &headings, &rows, |name| {
        name == findings.personal.name
    });
    Ok(())
}

/// The methods that the charts show; of FLamby's three, the one published as best.
fn shown(findings: &Findings, figure: impl Fn(&Method, usize) -> Spread) -> Vec<Points<'_>> {
    let mut methods = vec![
        (&findings.majority, (Hue::Ink, Mark::Bar)),
        (&findings.own, (Hue::Sky, Mark::Triangle)),
        (&findings.pooled, (Hue::Vermilion, Mark::Ring)),
    ];
    methods.extend(
        findings
            .federated
            .iter()
            .chain([&findings.personal])
            .zip(LOOKS)
            .skip(2),
    );
    let mut drawn = Vec::new();
    for (method, (hue, mark)) in methods {
        let spreads = (0..HOSPITALS.len()).map(|at| figure(method, at));
        let values = spreads
            .map(|spread| Some((spread.mean(), spread.sd())))
            .collect();
        drawn.push(Points {
            name: &method.name,
            hue,
            mark,
            values,
        });
    }
    drawn
}

fn accuracy_table(page: &mut Page, findings: &Findings) {
    let tables::Table { headings, rows } = tables::accuracy(findings);
    let caption =
        "Accuracy, beside FLamby's published figures (its weighted means are computed here)";
    page.table(caption, &headings, &rows, |name| {
        name == findings.personal.name
    });
    let exceeds = |at: &usize| {
        findings.personal.accuracy(*at).mean() > findings.majority.accuracy(*at).mean()
    };
    let (above, not_above): (Vec<usize>, Vec<usize>) = (0..HOSPITALS.len()).partition(exceeds);
    let named = |hospitals: &[usize]| {
        let titles: Vec<&str> = hospitals
            .iter()
            .filter_map(|at| HOSPITALS.get(*at))
            .map(|it| it.title)
            .collect();
        if titles.is_empty() {
            "none".to_owned()
        } else {
            titles.join(", ")
        }
    };
    page.paragraph(&format!(
        "Read the chosen model's figures beside the majority vote. Hospitals where it exceeds that vote: {}. Hospitals \
         where it does not: {}. There the gain over a shared intercept is that a hospital keeps its own base rate.",
        named(&above),
        named(&not_above),
    ));
}

fn pooled_test(page: &mut Page, findings: &Findings) {
    page.section("FLamby's \"Pooled Test\"");
    page.paragraph(
        "All 254 test rows, standardised by everybody's training rows. The story holds all four files and computes it \
         from the downloaded models; no real coordinator could. It is not comparable with the table \
         above, in which each \
         hospital standardises by its own training rows.",
    );
    let tables::Table { headings, rows } = tables::pooled_test(findings);
    page.table("Accuracy on \"Pooled Test\"", &headings, &rows, |_| false);
}

fn choice(page: &mut Page, findings: &Findings) {
    page.section("How the chosen model was chosen");
    page.paragraph(&format!(
        "By {FOLDS}-fold cross-validation on training rows, run through the consortium itself: {} candidates, {} runs. \
         The criterion was fixed before any test row was looked at: the lowest mean over the hospitals of the log loss \
         on held-out training rows, a proper score that moves with every row. Accuracy is shown and did not decide.",
        findings.candidates.len(),
        findings.candidates.len() * FOLDS as usize,
    ));
    let rows: Vec<Vec<String>> = findings
        .candidates
        .iter()
        .take(CANDIDATES_SHOWN)
        .map(|it| {
            vec![
                it.choice.words(),
                format!("{:.4}", it.log_loss),
                short(it.accuracy),
            ]
        })
        .collect();
    let best = findings.candidates.first().map(|best| best.choice.words());
    let caption = format!("The best {} of {}", rows.len(), findings.candidates.len());
    page.table(
        &caption,
        &["candidate", "held-out log loss (nats)", "held-out accuracy"],
        &rows,
        |name| best.as_deref() == Some(name),
    );
}

fn policies(page: &mut Page, findings: &Findings) {
    page.section("Who admitted it, under which policy");
    let row = |policy: &super::findings::PolicyAtSite| {
        vec![
            policy.site.to_owned(),
            policy.admission.records.to_string(),
            format!("{}", policy.limit),
            policy.version.to_string(),
            digest_head(&policy.admission.bundle.to_string()),
            digest_head(&policy.admission.dataset_version.to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = findings.policies.iter().map(row).collect();
    let headings = [
        "site",
        "training records",
        "parameters a record, at most",
        "policy version",
        "policy SHA-256",
        "data set version",
    ];
    page.table(
        "What each site said when it admitted the chosen run (digests in full: model-card.json)",
        &headings,
        &rows,
        |_| false,
    );
    if let Some(refused) = &findings.refused {
        page.paragraph(
            "Switzerland refused at first: 14 parameters on 30 records are 0.47 for each, and the policy that all began \
             with allows DataSHIELD's 0.33. The run needed all four sites and failed with this reason:",
        );
        page.preformatted(&refused.cause);
        page.paragraph("Then Switzerland's compliance officer changed the site's policy to this; the next run was admitted without a restart:");
        page.preformatted(&refused.changed_policy);
    }
}

/// Enough of a digest to compare by eye.
fn digest_head(digest: &str) -> String {
    digest
        .get(..16)
        .map_or_else(|| digest.to_owned(), |head| format!("{head}…"))
}

fn journals(page: &mut Page, findings: &Findings) {
    page.section("Journals, verified");
    let text = |value: &serde_json::Value, field: &str| match value.get(field) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let row = |(name, verified): &(String, serde_json::Value)| {
        vec![
            name.clone(),
            text(verified, "entries"),
            text(verified, "head"),
        ]
    };
    let rows: Vec<Vec<String>> = findings.journals.iter().map(row).collect();
    let caption =
        "consilium audit verify, after every process had ended: each journal is what was written";
    page.table(
        caption,
        &["journal", "entries", "head (entries:hash)"],
        &rows,
        |_| false,
    );
}

fn how_it_was_made(page: &mut Page, findings: &Findings) {
    page.section("How this was made");
    let rows: Vec<String> = HOSPITALS
        .iter()
        .zip(&findings.rows)
        .map(|(hospital, (training, test))| format!("{} {training} and {test}", hospital.title))
        .collect();
    page.paragraph(&format!(
        "The recipe is FLamby's Fed-Heart-Disease (Ogier du Terrail and others, NeurIPS 2022): columns slope, ca and thal \
         dropped, incomplete rows left out, chest pain and resting ECG one-hot, 13 inputs; each \
         hospital standardises by \
         its own training rows; 15 rounds of 100 steps of batches of 4, weighted by records. \
         Training and test rows: {}. \
         Pooled training and own models are Adam, learning rate 0.001, 50 epochs of batches of 4.",
        rows.join(", "),
    ));
    page.paragraph(
        "The data are UCI Heart Disease (CC BY 4.0). Its donors ask that publications name the four principal \
         investigators: Andras Janosi, M.D. (Hungarian Institute of Cardiology, Budapest); William Steinbrunn, M.D. \
         (University Hospital, Zurich); Matthias Pfisterer, M.D. (University Hospital, Basel); \
         Robert Detrano, M.D., Ph.D. \
         (V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation). From scenarios/data/uci-heart-disease:",
    );
    page.preformatted(SOURCE);
}
