//! Which segments are rewritten, and why. Decisions, and nothing else.

/// When segments are joined and cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Rows from which a segment gets a graph. Below, a scan is as quick, and new rows are cheap to take.
    pub graph_rows_min: usize,
    /// Runs without a graph; one more, and they are joined.
    pub runs_max: usize,
    /// Segments with a graph; one more, and small ones are joined. Each repeats the work of a search.
    pub graphs_max: usize,
    /// Segments that a large rewrite is built in, beside each other, each on a thread. With more than one a
    /// collection is ready sooner and each search walks more graphs. Less than `graphs_max`.
    pub beside_max: usize,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            graph_rows_min: 8_192,
            runs_max: 16,
            graphs_max: 4,
            beside_max: 1,
        }
    }
}

/// A segment with more erased rows than one in five is rewritten, if they are this many (both from Qdrant's optimizer).
const ERASED_MIN: usize = 1_000;

/// What is known of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) rows: usize,
    pub(super) erased: usize,
    /// One of its rows was erased so long ago that it must be gone.
    pub(super) is_overdue: bool,
    pub(super) has_graph: bool,
}

/// The next segments to rewrite as one; none when all is well.
pub(super) fn next_job(segments: &[State], settings: CompactionSettings) -> Option<Vec<usize>> {
    let is_due = |state: &State| {
        let many = state.erased >= ERASED_MIN && state.erased * 5 > state.rows;
        state.is_overdue || many || (state.erased > 0 && state.erased == state.rows)
    };
    if let Some(due) = segments.iter().position(is_due) {
        return Some(vec![due]);
    }
    let of_kind = |has_graph: bool| {
        let numbered = segments.iter().enumerate();
        numbered.filter(move |(_, state)| state.has_graph == has_graph)
    };
    let new_rows: usize = of_kind(false)
        .map(|(_, state)| state.rows - state.erased)
        .sum();
    let runs: Vec<usize> = of_kind(false).map(|(at, _)| at).collect();
    if new_rows >= settings.graph_rows_min || runs.len() > settings.runs_max {
        return Some(runs);
    }
    let mut graphs: Vec<(usize, usize)> =
        of_kind(true).map(|(at, state)| (state.rows, at)).collect();
    if graphs.len() <= settings.graphs_max {
        return None;
    }
    // The smallest, and with it all of its size: each row is rewritten about log4(n) times in its life.
    graphs.sort_unstable();
    let smallest = graphs.first().map_or(0, |(rows, _)| *rows);
    let alike = graphs
        .iter()
        .take_while(|(rows, _)| *rows <= smallest.saturating_mul(4))
        .count()
        .max(2);
    graphs.truncate(alike);
    Some(graphs.into_iter().map(|(_, at)| at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: usize) -> State {
        State {
            rows,
            ..State::default()
        }
    }

    fn graph(rows: usize) -> State {
        State {
            rows,
            has_graph: true,
            ..State::default()
        }
    }

    fn job(segments: &[State]) -> Option<Vec<usize>> {
        next_job(segments, CompactionSettings::default())
    }

    #[test]
    fn new_rows_are_joined_when_they_are_many() {
        assert_eq!(job(&[]), None);
        assert_eq!(job(&[graph(50_000), run(4_000)]), None);
        assert_eq!(
            job(&[run(4_000), graph(50_000), run(5_000)]),
            Some(vec![0, 2])
        );
        assert_eq!(job(&[run(1); 17]), Some((0..17).collect()));
    }

    #[test]
    fn small_segments_are_joined_and_large_ones_left() {
        let segments = [
            graph(900_000),
            graph(9_000),
            graph(30_000),
            graph(10_000),
            graph(400_000),
        ];
        assert_eq!(job(&segments), Some(vec![1, 3, 2]));
        assert_eq!(job(&segments[..4]), None);
        let far_apart = [graph(1), graph(10), graph(100), graph(1_000), graph(10_000)];
        assert_eq!(job(&far_apart), Some(vec![0, 1]));
    }

    #[test]
    fn erased_rows_are_cleaned_away() {
        let erased = |rows, erased| State {
            erased,
            ..graph(rows)
        };
        assert_eq!(job(&[erased(100_000, 20_000)]), None);
        assert_eq!(job(&[erased(100_000, 20_001)]), Some(vec![0]));
        assert_eq!(job(&[erased(100, 99)]), None);
        assert_eq!(job(&[erased(100, 100)]), Some(vec![0]));
        let overdue = State {
            is_overdue: true,
            ..erased(100_000, 1)
        };
        assert_eq!(job(&[graph(10), overdue]), Some(vec![1]));
    }
}
