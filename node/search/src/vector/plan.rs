//! Whether a segment's graph is walked or its rows are scanned. A decision, and nothing else.
//!
//! A scan looks at every allowed row, one after another; a walk looks at few, each a leap in memory, and the more of
//! them are forbidden the farther it must go. The constants were fitted with `benches/vectors.rs`; they move the time
//! of a search and never its correctness: a walk that finds too few, or goes on for longer than the scan would take,
//! is followed by the scan.

use super::walk::Step;

/// What a row that a walk scores costs, in rows that a scan scores.
const LEAP: f64 = 2.0;

/// Rows that an unfiltered walk scores for each candidate it keeps, beyond the descent.
const SCORED_FOR_EACH: f64 = 14.0;

/// Rows that a walk scores on its way, whatever its breadth.
const SCORED_ON_THE_WAY: f64 = 250.0;

/// What a walk past the forbidden costs, in walks without a filter: it looks up whether each of some 1,400 neighbours'
/// neighbours is allowed, for each row it comes to.
const PAST: f64 = 6.0;

/// Below this share two steps no longer connect well what is allowed: of 100,000 rows a walk found 0.98 of the true
/// neighbours at 10 %, and 0.89 at 5 %.
const WALK_FROM: f64 = 0.1;

/// What is known of a segment and a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) rows: usize,
    pub(super) allowed: usize,
    pub(super) is_filtered: bool,
    /// Candidates that a walk is to keep.
    pub(super) breadth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plan {
    Scan,
    Walk,
    /// A walk that is given up after `most` scores.
    WalkAdmitted {
        step: Step,
        most: usize,
    },
}

pub(super) fn plan(situation: Situation) -> Plan {
    let Situation {
        rows,
        allowed,
        is_filtered,
        breadth,
    } = situation;
    let unfiltered = LEAP * (SCORED_ON_THE_WAY + SCORED_FOR_EACH * breadth as f64);
    let share = allowed as f64 / rows.max(1) as f64;
    let (over, past) = (unfiltered / share, unfiltered * PAST);
    let (step, cost) = match is_filtered {
        false => (None, unfiltered),
        true if over <= past => (Some(Step::Over), over),
        true => (Some(Step::Past), past),
    };
    if breadth >= allowed || share < WALK_FROM || cost > allowed as f64 {
        return Plan::Scan;
    }
    let leaps = allowed as f64 / LEAP;
    match step {
        None => Plan::Walk,
        Some(step @ Step::Over) => Plan::WalkAdmitted {
            step,
            most: leaps as usize,
        },
        Some(step @ Step::Past) => Plan::WalkAdmitted {
            step,
            most: (leaps / PAST) as usize,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: usize, allowed: usize) -> Plan {
        plan(Situation {
            rows,
            allowed,
            is_filtered: rows != allowed,
            breadth: 64,
        })
    }

    #[test]
    fn few_rows_are_scanned_and_many_are_walked() {
        assert_eq!(of(500, 500), Plan::Scan);
        assert_eq!(of(100_000, 100_000), Plan::Walk);
        assert_eq!(of(1_000_000, 900), Plan::Scan);
        assert_eq!(of(1_000_000, 50_000), Plan::Scan);
        assert!(matches!(
            of(1_000_000, 100_000),
            Plan::WalkAdmitted {
                step: Step::Past,
                ..
            }
        ));
        assert!(matches!(
            of(1_000_000, 800_000),
            Plan::WalkAdmitted {
                step: Step::Over,
                ..
            }
        ));
    }

    #[test]
    fn a_filtered_walk_never_goes_on_for_longer_than_the_scan() {
        let Plan::WalkAdmitted { most, .. } = of(1_000_000, 300_000) else {
            panic!("a walk");
        };
        assert!(most as f64 * LEAP <= 300_000.0);
    }
}
