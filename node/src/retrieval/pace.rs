//! How many searches a project may ask at this site: what a person asks in an hour is far below it, what a script
//! needs to take a collection apart far above.
//!
//! By project and not by person: people can be many. Kept in memory; a restart forgets it, and budgets it does not.

use std::collections::{BTreeMap, VecDeque};

use consilium_protocol::{Millis, ProjectName, Refusal, RefusalCode};

/// Searches of a project in a minute.
pub const A_MINUTE_MAX: usize = 60;
/// Searches of a project in a day.
pub const A_DAY_MAX: usize = 2000;
/// Projects whose searches are counted; beyond them the one that asked longest ago is forgotten.
pub const PROJECTS_MAX: usize = 1024;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// When each project asked, within the last day.
#[derive(Debug, Default)]
pub struct Pace(BTreeMap<ProjectName, VecDeque<Millis>>);

impl Pace {
    /// Counts one search of a project at `now`.
    ///
    /// # Errors
    /// The project asked as often as it may; this one is not counted.
    pub fn count(&mut self, project: &ProjectName, now: Millis) -> Result<(), Refusal> {
        if !self.0.contains_key(project) && self.0.len() >= PROJECTS_MAX {
            let longest_ago = self.0.iter().min_by_key(|(_, asked)| asked.back().copied());
            if let Some((idle, _)) = longest_ago.map(|(project, at)| (project.clone(), at.len())) {
                self.0.remove(&idle);
            }
        }
        let asked = self.0.entry(project.clone()).or_default();
        while asked.front().is_some_and(|at| now.since_ms(*at) >= DAY_MS) {
            asked.pop_front();
        }
        let lately = asked
            .iter()
            .rev()
            .take_while(|at| now.since_ms(**at) < MINUTE_MS)
            .count();
        let too_many = match () {
            () if asked.len() >= A_DAY_MAX => Some((A_DAY_MAX, "a day")),
            () if lately >= A_MINUTE_MAX => Some((A_MINUTE_MAX, "a minute")),
            () => None,
        };
        match too_many {
            None => {
                asked.push_back(now);
                Ok(())
            }
            Some((limit, time)) => Err(Refusal::new(
                RefusalCode::Busy,
                format!("the project `{project}` may ask {limit} searches {time} at this site"),
                "ask more slowly",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> ProjectName {
        name.parse().unwrap()
    }

    #[test]
    fn a_project_asks_so_often_in_a_minute_whoever_asks() {
        let mut pace = Pace::default();
        for at in 0..A_MINUTE_MAX as u64 {
            pace.count(&project("p"), Millis(at)).unwrap();
        }
        assert!(pace.count(&project("p"), Millis(59_999)).is_err());
        assert!(pace.count(&project("q"), Millis(59_999)).is_ok());
        assert!(pace.count(&project("p"), Millis(60_000)).is_ok());
    }

    #[test]
    fn a_day_has_a_limit_too_and_passes() {
        let mut pace = Pace::default();
        for at in 0..A_DAY_MAX as u64 {
            pace.count(&project("p"), Millis(at * 2000)).unwrap();
        }
        let last = A_DAY_MAX as u64 * 2000;
        assert!(pace.count(&project("p"), Millis(last)).is_err());
        assert!(pace.count(&project("p"), Millis(DAY_MS + 2000)).is_ok());
    }

    #[test]
    fn projects_without_end_take_no_memory_without_end() {
        let mut pace = Pace::default();
        for at in 0..2 * PROJECTS_MAX as u64 {
            pace.count(&project(&format!("p{at}")), Millis(at)).unwrap();
        }
        assert_eq!(pace.0.len(), PROJECTS_MAX);
    }
}
