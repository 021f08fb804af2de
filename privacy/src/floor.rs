//! Cohort floors: small groups of patients are hidden, and so is whatever would give them away.
//!
//! This is for exact answers, which a policy may permit above a floor; noise needs none of it. A cell below the floor
//! is hidden. If a total is shown beside it, then more must be hidden, or subtraction finds the cell again:
//! *complementary suppression*. What is promised of every hidden cell: among all tables that agree with what is
//! shown, it takes at least two values, and if it is below the floor, one at or above the floor. Nobody can therefore
//! tell from one answer that a hidden group is small. What two answers tell together is for the budget and the repeat
//! rules, not for this module.

/// The least number of patients that an exact answer may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor(u32);

/// Rows or columns of a table, without their totals. Covering takes the third power of it and more.
pub const SIDE_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FloorError {
    #[error("a floor of no patients hides nothing; give at least 1")]
    NoFloor,
    #[error(
        "a table of {rows} by {columns} is none; give 1 to {SIDE_MAX} of each, every row of the same length"
    )]
    Shape { rows: usize, columns: usize },
    #[error("the table's total is past counting")]
    TooMany,
}

/// A list of groups of which each patient is in one, and their total; what is hidden is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownList {
    pub cells: Vec<Option<u64>>,
    pub total: Option<u64>,
}

/// A table of groups of which each patient is in one, and its totals; what is hidden is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTable {
    pub cells: Vec<Vec<Option<u64>>>,
    pub row_totals: Vec<Option<u64>>,
    pub column_totals: Vec<Option<u64>>,
    pub total: Option<u64>,
}

impl Floor {
    pub fn new(patients: u32) -> Result<Self, FloorError> {
        if patients == 0 {
            return Err(FloorError::NoFloor);
        }
        Ok(Self(patients))
    }

    /// Whether a group of so many patients may be told of. No patients at all are too few as well: that nobody is in
    /// a group tells of everybody.
    pub fn admits(self, patients: u64) -> bool {
        patients >= u64::from(self.0)
    }

    /// Hides the cells below the floor, and the smallest others that are needed so that the total does not give them
    /// away. Each patient is in exactly one of `cells`.
    pub fn list(self, cells: &[u64]) -> Result<ShownList, FloorError> {
        let total = sum(cells.iter().copied())?;
        if !self.admits(total) {
            return Ok(ShownList {
                cells: vec![None; cells.len()],
                total: None,
            });
        }
        let mut smallest_first: Vec<usize> = (0..cells.len()).collect();
        let value = |place: usize| cells.get(place).copied().unwrap_or(0);
        smallest_first.sort_by_key(|place| (value(*place), *place));
        let mut shown: Vec<Option<u64>> = cells.iter().copied().map(Some).collect();
        let (mut hidden, mut hidden_patients) = (0, 0);
        for place in smallest_first {
            let covered = hidden == 0 || (hidden > 1 && self.admits(hidden_patients));
            if self.admits(value(place)) && covered {
                break;
            }
            if let Some(cell) = shown.get_mut(place) {
                *cell = None;
            }
            hidden += 1;
            hidden_patients += value(place);
        }
        Ok(ShownList {
            cells: shown,
            total: Some(total),
        })
    }

    /// Hides the cells and totals below the floor, and others so that neither row totals, column totals nor the grand
    /// total give them away; a total only where no cells would do. Each patient is in exactly one cell of `rows`.
    pub fn table(self, rows: &[Vec<u64>]) -> Result<ShownTable, FloorError> {
        let mut grid = Grid::with_totals(rows)?;
        grid.hide_below(self);
        let exposed: Vec<(usize, usize)> = grid.places().filter(|at| grid.is_hidden(*at)).collect();
        for at in exposed {
            grid.cover(at, self);
        }
        Ok(grid.shown())
    }
}

/// `count` to the nearest multiple of `base`, halves up; a base of 0 or 1 changes nothing.
pub fn round_to(count: u64, base: u32) -> u64 {
    let base = u64::from(base.max(1));
    let down = count - count % base;
    if count % base >= base.div_ceil(2) {
        down.saturating_add(base)
    } else {
        down
    }
}

/// A table with its totals as a last row and column. Rows and columns are the nodes of a graph, entries its edges:
/// whoever raises an entry and keeps all sums walks a cycle, raising and lowering other hidden entries in turn.
struct Grid {
    /// Values by row; the last row and the last column are totals.
    values: Vec<Vec<u64>>,
    hidden: Vec<Vec<bool>>,
}

/// The price of hiding the entries on a way between two lines, and the entries.
type Way = (u128, Vec<(usize, usize)>);

/// What an entry does on a cycle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    Up,
    Down,
}

/// A row or a column of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Row(usize),
    Column(usize),
}

impl Grid {
    fn with_totals(rows: &[Vec<u64>]) -> Result<Self, FloorError> {
        let columns = rows.first().map_or(0, Vec::len);
        let in_shape = (1..=SIDE_MAX).contains(&rows.len())
            && (1..=SIDE_MAX).contains(&columns)
            && rows.iter().all(|row| row.len() == columns);
        if !in_shape {
            let rows = rows.len();
            return Err(FloorError::Shape { rows, columns });
        }
        let mut values = rows.to_vec();
        let column_totals: Result<Vec<u64>, FloorError> = (0..columns)
            .map(|column| sum(rows.iter().filter_map(|row| row.get(column).copied())))
            .collect();
        values.push(column_totals?);
        for row in &mut values {
            let total = sum(row.iter().copied())?;
            row.push(total);
        }
        let hidden = vec![vec![false; columns + 1]; values.len()];
        Ok(Self { values, hidden })
    }

    fn hide_below(&mut self, floor: Floor) {
        for (values, hidden) in self.values.iter().zip(&mut self.hidden) {
            for (value, hidden) in values.iter().zip(hidden) {
                *hidden = !floor.admits(*value);
            }
        }
    }

    fn columns(&self) -> usize {
        self.values.first().map_or(0, Vec::len)
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, columns) = (self.values.len(), self.columns());
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }

    fn value(&self, (row, column): (usize, usize)) -> u64 {
        self.values
            .get(row)
            .and_then(|row| row.get(column))
            .copied()
            .unwrap_or(0)
    }

    fn is_hidden(&self, (row, column): (usize, usize)) -> bool {
        self.hidden
            .get(row)
            .and_then(|row| row.get(column))
            .copied()
            .unwrap_or(false)
    }

    fn hide(&mut self, (row, column): (usize, usize)) {
        if let Some(hidden) = self.hidden.get_mut(row).and_then(|row| row.get_mut(column)) {
            *hidden = true;
        }
    }

    /// Whether an entry is a row's or a column's total. The grand total is the total of totals, and moves as a cell
    /// does.
    fn is_margin(&self, (row, column): (usize, usize)) -> bool {
        (row + 1 == self.values.len()) != (column + 1 == self.columns())
    }

    /// Hides what is cheapest so that the hidden entry at `at`, which is below the floor, could as well be at the
    /// floor. There always is a way: raising a cell raises its row's total, its column's total and the grand total
    /// alike.
    fn cover(&mut self, at: (usize, usize), floor: Floor) {
        let shift = u64::from(floor.0).saturating_sub(self.value(at));
        let (row, column) = (Line::Row(at.0), Line::Column(at.1));
        // A cell that rises is walked from its row to its column, so the way back starts at the column; a total
        // opposite.
        let (from, to) = if self.is_margin(at) {
            (row, column)
        } else {
            (column, row)
        };
        for step in self.cheapest_way(from, to, at, shift) {
            self.hide(step);
        }
    }

    /// The entries on the cheapest way between two lines, each able to move by `shift`, without `not`.
    fn cheapest_way(
        &self,
        from: Line,
        to: Line,
        not: (usize, usize),
        shift: u64,
    ) -> Vec<(usize, usize)> {
        let lines = self.values.len() + self.columns();
        let number = |line: Line| match line {
            Line::Row(row) => row,
            Line::Column(column) => self.values.len() + column,
        };
        // Dijkstra over a dense graph of at most 130 lines.
        let mut reached: Vec<Option<Way>> = vec![None; lines];
        let mut done = vec![false; lines];
        if let Some(start) = reached.get_mut(number(from)) {
            *start = Some((0, Vec::new()));
        }
        loop {
            let open = (0..lines).filter(|line| done.get(*line) == Some(&false));
            let nearest = open
                .filter_map(|line| Some((reached.get(line)?.as_ref()?.0, line)))
                .min();
            let Some((cost, here)) = nearest else {
                return Vec::new();
            };
            let way = reached.get(here).cloned().flatten().unwrap_or_default().1;
            if here == number(to) {
                return way;
            }
            if let Some(done) = done.get_mut(here) {
                *done = true;
            }
            for (at, next) in self.entries_of(here) {
                if at == not || !self.can_move(at, here < self.values.len(), shift) {
                    continue;
                }
                let through = cost + self.price_of_hiding(at);
                let next = number(next);
                let Some(known) = reached.get_mut(next) else {
                    continue;
                };
                if known.as_ref().is_none_or(|(known, _)| through < *known) {
                    let mut longer = way.clone();
                    longer.push(at);
                    *known = Some((through, longer));
                }
            }
        }
    }

    /// The entries of the line with this number, and the line that each leads to.
    fn entries_of(&self, line: usize) -> Vec<((usize, usize), Line)> {
        let rows = self.values.len();
        if line < rows {
            let columns = 0..self.columns();
            columns
                .map(|column| ((line, column), Line::Column(column)))
                .collect()
        } else {
            (0..rows)
                .map(|row| ((row, line - rows), Line::Row(row)))
                .collect()
        }
    }

    /// Whether an entry that is walked from its row (or else from its column) can move by `shift` and stay a count.
    fn can_move(&self, at: (usize, usize), from_row: bool, shift: u64) -> bool {
        let moves = if from_row != self.is_margin(at) {
            Moves::Up
        } else {
            Moves::Down
        };
        moves == Moves::Up || self.value(at) >= shift
    }

    /// Hidden entries are free, small cells are better than large ones, and any number of cells is better than one
    /// total.
    fn price_of_hiding(&self, at: (usize, usize)) -> u128 {
        let is_total = at.0 + 1 == self.values.len() || at.1 + 1 == self.columns();
        match (self.is_hidden(at), is_total) {
            (true, _) => 0,
            (false, false) => 1 + u128::from(self.value(at)),
            (false, true) => (1 << 80) + u128::from(self.value(at)),
        }
    }

    fn shown(self) -> ShownTable {
        let mut rows = self
            .values
            .iter()
            .zip(&self.hidden)
            .map(|(values, hidden)| {
                let entries = values.iter().zip(hidden);
                entries
                    .map(|(value, hidden)| (!hidden).then_some(*value))
                    .collect::<Vec<_>>()
            });
        let mut rows: Vec<Vec<Option<u64>>> = rows.by_ref().collect();
        let mut column_totals = rows.pop().unwrap_or_default();
        let total = column_totals.pop().flatten();
        let row_totals = rows.iter_mut().map(|row| row.pop().flatten()).collect();
        ShownTable {
            cells: rows,
            row_totals,
            column_totals,
            total,
        }
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> Result<u64, FloorError> {
    let mut counts = counts;
    counts
        .try_fold(0, u64::checked_add)
        .ok_or(FloorError::TooMany)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn floor(patients: u32) -> Floor {
        Floor::new(patients).unwrap()
    }

    /// All tables of whole numbers up to `most` a cell that agree with what is shown: what an attacker can believe. A
    /// table of one column stands for a list.
    fn possible_tables(shown: &ShownTable, most: u64) -> Vec<Vec<Vec<u64>>> {
        let columns = shown.column_totals.len();
        let rows_of = |cells: &[Option<u64>], total: Option<u64>| {
            let mut rows: Vec<Vec<u64>> = vec![Vec::new()];
            for cell in cells {
                let candidates = cell.map_or(0..=most, |value| value..=value);
                rows = rows
                    .iter()
                    .flat_map(|row| {
                        candidates.clone().map(move |value| {
                            let mut longer = row.clone();
                            longer.push(value);
                            longer
                        })
                    })
                    .filter(|row| total.is_none_or(|total| row.iter().sum::<u64>() <= total))
                    .collect();
            }
            rows.retain(|row| total.is_none_or(|total| row.iter().sum::<u64>() == total));
            rows
        };
        let mut tables: Vec<Vec<Vec<u64>>> = vec![Vec::new()];
        for (cells, total) in shown.cells.iter().zip(&shown.row_totals) {
            let rows = rows_of(cells, *total);
            tables = tables
                .iter()
                .flat_map(|table| {
                    rows.iter()
                        .map(move |row| [table.clone(), vec![row.clone()]].concat())
                })
                .filter(|table| {
                    (0..columns).all(|column| {
                        let so_far: u64 = table.iter().map(|row| row[column]).sum();
                        shown.column_totals[column].is_none_or(|total| so_far <= total)
                    })
                })
                .collect();
        }
        tables.retain(|table| {
            let columns_agree = (0..columns).all(|column| {
                let total: u64 = table.iter().map(|row| row[column]).sum();
                shown.column_totals[column].is_none_or(|shown| shown == total)
            });
            let total: u64 = table.iter().flatten().sum();
            columns_agree && shown.total.is_none_or(|shown| shown == total)
        });
        tables
    }

    /// What is promised of hidden cells and totals, against an attacker who tries every table.
    fn assert_nothing_follows(truth: &[Vec<u64>], shown: &ShownTable, least: u32) {
        let least = u64::from(least);
        let most = truth.iter().flatten().max().unwrap() + least;
        let tables = possible_tables(shown, most);
        assert!(tables.contains(&truth.to_vec()), "the truth is possible");
        let check = |what: &str, shown: Option<u64>, of: &dyn Fn(&[Vec<u64>]) -> u64| {
            let true_value = of(truth);
            if let Some(shown) = shown {
                assert!(shown == true_value && shown >= least, "{what}");
                return;
            }
            let believed: std::collections::BTreeSet<u64> =
                tables.iter().map(|table| of(table)).collect();
            assert!(believed.len() >= 2, "{what} of {true_value} is pinned");
            if true_value < least {
                let reaches = believed.last().is_some_and(|largest| *largest >= least);
                assert!(reaches, "{what} of {true_value} is known to be small");
            }
        };
        for (i, row) in shown.cells.iter().enumerate() {
            for (j, cell) in row.iter().enumerate() {
                check("a cell", *cell, &|table| table[i][j]);
            }
            check("a row total", shown.row_totals[i], &|table| {
                table[i].iter().sum()
            });
        }
        for (j, total) in shown.column_totals.iter().enumerate() {
            check("a column total", *total, &|table| {
                table.iter().map(|row| row[j]).sum()
            });
        }
        check("the total", shown.total, &|table| {
            table.iter().flatten().sum()
        });
    }

    #[test]
    fn a_lone_small_cell_takes_the_next_smallest_with_it() {
        let shown = floor(5).list(&[40, 2, 17, 9]).unwrap();
        assert_eq!(shown.cells, [Some(40), None, Some(17), None]);
        assert_eq!(shown.total, Some(68));
    }

    #[test]
    fn two_small_cells_hide_each_other_only_if_together_they_reach_the_floor() {
        let enough = floor(5).list(&[3, 30, 4]).unwrap();
        assert_eq!(enough.cells, [None, Some(30), None]);
        // 0 and 1: whoever subtracts learns that nobody is in either but one.
        let too_few = floor(5).list(&[0, 30, 1]).unwrap();
        assert_eq!(too_few.cells, [None, None, None]);
        assert_eq!(too_few.total, Some(31));
    }

    #[test]
    fn a_list_of_too_few_patients_says_nothing() {
        let shown = floor(11).list(&[3, 7]).unwrap();
        assert_eq!((shown.cells, shown.total), (vec![None, None], None));
        assert_eq!(floor(5).list(&[8]).unwrap().cells, [Some(8)]);
        assert_eq!(floor(5).list(&[]).unwrap().total, None);
    }

    #[test]
    fn one_small_cell_of_a_table_takes_a_rectangle_with_it() {
        let rows = [vec![20, 3, 40], vec![15, 12, 50], vec![60, 70, 80]];
        let shown = floor(5).table(&rows).unwrap();
        let hidden = |row: usize| {
            shown.cells[row]
                .iter()
                .filter(|cell| cell.is_none())
                .count()
        };
        assert_eq!([hidden(0), hidden(1), hidden(2)], [2, 2, 0]);
        assert_eq!(
            shown.cells[1],
            [None, None, Some(50)],
            "the smallest that do"
        );
        assert!(
            shown
                .row_totals
                .iter()
                .chain(&shown.column_totals)
                .all(Option::is_some)
        );
        assert_eq!(shown.total, Some(350));
    }

    #[test]
    fn a_table_without_small_cells_is_shown_whole() {
        let rows = vec![vec![20, 30], vec![5, 11]];
        let shown = floor(5).table(&rows).unwrap();
        assert_eq!(shown.cells, [[Some(20), Some(30)], [Some(5), Some(11)]]);
        assert_eq!(shown.row_totals, [Some(50), Some(16)]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for rows in [
            vec![],
            vec![vec![]],
            vec![vec![1, 2], vec![3]],
            vec![vec![1]; 65],
        ] {
            let refused = floor(5).table(&rows);
            assert!(matches!(refused, Err(FloorError::Shape { .. })), "{rows:?}");
        }
        let too_many = vec![vec![u64::MAX, 1]];
        assert_eq!(floor(5).table(&too_many), Err(FloorError::TooMany));
        assert_eq!(Floor::new(0), Err(FloorError::NoFloor));
    }

    #[test]
    fn counts_are_rounded_to_the_nearest_multiple() {
        let rounded: Vec<u64> = [0, 2, 3, 7, 8, 12, 13]
            .map(|count| round_to(count, 5))
            .into();
        assert_eq!(rounded, [0, 0, 5, 5, 10, 10, 15]);
        assert_eq!(round_to(15, 10), 20);
        assert_eq!((round_to(7, 1), round_to(7, 0)), (7, 7));
    }

    #[test]
    fn the_widest_table_is_covered_soon() {
        let side = 64_u64;
        let cell = |row: u64, column: u64| (row * 37 + column * 101) % 97;
        let rows: Vec<Vec<u64>> = (0..side)
            .map(|row| (0..side).map(|column| cell(row, column)).collect())
            .collect();
        let shown = floor(11).table(&rows).unwrap();
        assert!(shown.total.is_some());
        assert!(shown.row_totals.iter().all(Option::is_some));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn nothing_hidden_follows_from_a_list_and_its_total(
            cells in prop::collection::vec(0..12_u64, 1..6),
            least in 1..8_u32,
        ) {
            let ShownList { cells: shown, total } = floor(least).list(&cells).unwrap();
            let truth: Vec<Vec<u64>> = vec![cells];
            let column_totals = shown.clone();
            let shown = ShownTable { cells: vec![shown], row_totals: vec![total], column_totals, total };
            assert_nothing_follows(&truth, &shown, least);
        }

        #[test]
        fn nothing_hidden_follows_from_a_table_and_its_totals(
            (rows, least) in (1..4_usize, 1..4_usize, 1..4_u32).prop_flat_map(|(rows, columns, least)| {
                // Small tables try larger counts; an attacker who tries all must come to an end.
                let (most, least) = if rows * columns > 6 { (2_u64, least.min(2)) } else { (4, least) };
                let row = prop::collection::vec(0..=most, columns);
                (prop::collection::vec(row, rows), Just(least))
            })
        ) {
            let shown = floor(least).table(&rows).unwrap();
            assert_nothing_follows(&rows, &shown, least);
        }
    }
}
