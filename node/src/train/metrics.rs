//! How good a model is, from its logits.

use consilium_protocol::message::Metrics;

/// Mean loss, accuracy at probability 0.5, and area under the ROC curve.
pub(super) fn of(logits: &[f32], labels: &[f32]) -> Metrics {
    let rows = labels.len().max(1) as f64;
    let pairs = || logits.iter().copied().zip(labels.iter().copied());
    let loss: f64 = pairs()
        .map(|(logit, label)| loss(logit.into(), label.into()))
        .sum();
    let right = pairs()
        .filter(|(logit, label)| (*logit > 0.0) == (*label > 0.5))
        .count();
    Metrics {
        records: labels.len() as u64,
        loss: loss / rows,
        accuracy: right as f64 / rows,
        auc: auc(logits, labels),
    }
}

/// Binary cross entropy of a logit, in nats: max(z, 0) − z y + ln(1 + e^−|z|),
/// which never overflows.
pub(super) fn loss(logit: f64, label: f64) -> f64 {
    logit.max(0.0) - logit * label + (-logit.abs()).exp().ln_1p()
}

/// 1 / (1 + e^−z), which never overflows.
pub(super) fn sigmoid(logit: f64) -> f64 {
    let small = (-logit.abs()).exp();
    if logit >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

/// The Mann-Whitney statistic with midranks for ties, which is the area under
/// the ROC curve (Hanley and McNeil 1982); none where one label only is present.
fn auc(logits: &[f32], labels: &[f32]) -> Option<f64> {
    let mut pairs: Vec<(f32, bool)> = logits
        .iter()
        .zip(labels)
        .map(|(logit, label)| (*logit, *label > 0.5))
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = pairs.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = pairs.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut rank_sum = 0.0;
    let mut below = 0.0;
    for ties in pairs.chunk_by(|a, b| a.0 == b.0) {
        let midrank = below + (ties.len() as f64 + 1.0) / 2.0;
        rank_sum += midrank * ties.iter().filter(|(_, positive)| *positive).count() as f64;
        below += ties.len() as f64;
    }
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_against_values_worked_out_by_hand() {
        for (logits, labels, area) in [
            (
                vec![-1.0, 0.0, 1.0, 2.0],
                vec![0.0, 0.0, 1.0, 1.0],
                Some(1.0),
            ),
            (
                vec![2.0, 1.0, 0.0, -1.0],
                vec![0.0, 0.0, 1.0, 1.0],
                Some(0.0),
            ),
            // Three of the four pairs are in order.
            (
                vec![0.1, 0.4, 0.35, 0.8],
                vec![0.0, 0.0, 1.0, 1.0],
                Some(0.75),
            ),
            // All tied: a coin.
            (vec![0.5, 0.5, 0.5], vec![0.0, 1.0, 1.0], Some(0.5)),
            // One pair in order, one tied: (1 + 1/2) / 2.
            (vec![0.2, 0.7, 0.7], vec![0.0, 0.0, 1.0], Some(0.75)),
            // The two zeros are one value.
            (vec![-0.0, 0.0], vec![0.0, 1.0], Some(0.5)),
            (vec![0.2, 0.7], vec![1.0, 1.0], None),
        ] {
            assert_eq!(auc(&logits, &labels), area, "{logits:?}");
        }
    }

    #[test]
    fn loss_and_accuracy_of_known_logits() {
        let metrics = of(&[0.0, 2.0, -3.0, 1.0], &[1.0, 1.0, 0.0, 0.0]);
        let expected = (2_f64.ln()
            + (1.0 + (-2_f64).exp()).ln()
            + (1.0 + (-3_f64).exp()).ln()
            + (1.0 + 1_f64.exp()).ln())
            / 4.0;
        assert!((metrics.loss - expected).abs() < 1e-12);
        // A logit of 0 is a probability of 0.5, which is not above 0.5.
        assert_eq!((metrics.records, metrics.accuracy), (4, 0.5));
        assert_eq!(loss(1000.0, 0.0), 1000.0);
        assert_eq!(loss(-1000.0, 0.0), 0.0);
        assert_eq!(
            (sigmoid(1000.0), sigmoid(-1000.0), sigmoid(0.0)),
            (1.0, 0.0, 0.5)
        );
    }
}
