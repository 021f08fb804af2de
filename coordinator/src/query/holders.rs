//! Which sites to ask a search: those that say they hold the collection, and of too many those whose hits were worth
//! most.
//!
//! What a site says of itself only makes it eligible. Which of the eligible are asked follows from what each has given
//! when it was asked: a site that promises much and has nothing is asked less and less (routing by promises is what a
//! forged profile hijacks: arXiv 2605.28112). One place goes to the others in turn, so that a site that was new, or
//! whose data has grown, is heard again. Nothing here is kept over a restart: evidence is soon gathered again.

use std::collections::{BTreeMap, BTreeSet};

use consilium_protocol::{DatasetName, SiteName};

/// Sites that one search asks. Up to so many, all of them are.
pub const SITES_ASKED_MAX: usize = 20;

/// What the newest search weighs in a site's worth.
const NEWEST: f64 = 0.1;

/// Who holds what, and what it was worth.
#[derive(Debug, Default)]
pub struct Holders {
    published: BTreeMap<SiteName, BTreeSet<DatasetName>>,
    worth: BTreeMap<(DatasetName, SiteName), f64>,
    /// Searches that had to leave somebody out.
    turns: u64,
}

impl Holders {
    /// A site says hello, with the names of its data sets and collections.
    pub fn publishes(&mut self, site: SiteName, names: BTreeSet<DatasetName>) {
        self.published.insert(site, names);
    }

    /// Whom to ask of `named`, or of `enrolled` where nobody is named. A site that is named is asked whatever it said.
    pub fn choose(
        &mut self,
        collection: &DatasetName,
        named: &BTreeSet<SiteName>,
        enrolled: &BTreeSet<SiteName>,
        at_most: usize,
    ) -> BTreeSet<SiteName> {
        if !named.is_empty() {
            return named.clone();
        }
        let holds = |site: &&SiteName| {
            let published = self.published.get(*site);
            published.is_some_and(|names| names.contains(collection))
        };
        let mut holders: Vec<SiteName> = enrolled.iter().filter(holds).cloned().collect();
        if holders.len() <= at_most || at_most == 0 {
            return holders.into_iter().collect();
        }
        // One that was never asked may be worth as much as any.
        let worth = |site: &SiteName| {
            let known = self.worth.get(&(collection.clone(), site.clone()));
            known.copied().unwrap_or(1.0)
        };
        holders.sort_by(|one, other| worth(other).total_cmp(&worth(one)).then(one.cmp(other)));
        let others = holders.split_off(at_most - 1);
        let turn = (self.turns % others.len() as u64) as usize;
        self.turns += 1;
        holders
            .into_iter()
            .chain(others.get(turn).cloned())
            .collect()
    }

    /// What each site that was asked gave to one search: its share of the hits.
    pub fn gave(&mut self, collection: &DatasetName, shares: &BTreeMap<SiteName, f64>) {
        for (site, share) in shares {
            let worth = self
                .worth
                .entry((collection.clone(), site.clone()))
                .or_insert(*share);
            *worth += NEWEST * (share - *worth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(at: usize) -> SiteName {
        format!("site-{at:02}").parse().unwrap()
    }

    fn consortium(sites: usize) -> (Holders, BTreeSet<SiteName>, DatasetName) {
        let notes: DatasetName = "notes".parse().unwrap();
        let mut holders = Holders::default();
        let enrolled: BTreeSet<SiteName> = (0..sites).map(site).collect();
        for site in &enrolled {
            holders.publishes(site.clone(), BTreeSet::from([notes.clone()]));
        }
        (holders, enrolled, notes)
    }

    #[test]
    fn of_few_all_are_asked_that_hold_it_and_of_named_exactly_those() {
        let (mut holders, mut enrolled, notes) = consortium(5);
        enrolled.insert(site(9));
        let nobody = BTreeSet::new();
        let asked = holders.choose(&notes, &nobody, &enrolled, SITES_ASKED_MAX);
        assert_eq!(asked, (0..5).map(site).collect());
        let named = BTreeSet::from([site(9)]);
        assert_eq!(holders.choose(&notes, &named, &enrolled, 20), named);
    }

    /// The pass criterion of the attack suite: at most 1.2 times as often as an honest site, after 50 searches.
    #[test]
    fn a_site_that_promises_and_has_nothing_wins_no_searches() {
        let (mut holders, enrolled, notes) = consortium(30);
        let liar = site(0);
        let mut asked_times: BTreeMap<SiteName, u32> = BTreeMap::new();
        for search in 0..500_u64 {
            let asked = holders.choose(&notes, &BTreeSet::new(), &enrolled, 10);
            assert_eq!(asked.len(), 10);
            let honest = asked.iter().filter(|site| **site != liar).count() as f64;
            let shares = asked.iter().map(|site| {
                let share = if *site == liar { 0.0 } else { 1.0 / honest };
                (site.clone(), share)
            });
            holders.gave(&notes, &shares.collect());
            if search >= 50 {
                for site in asked {
                    *asked_times.entry(site).or_default() += 1;
                }
            }
        }
        let of_liar = f64::from(asked_times.get(&liar).copied().unwrap_or(0));
        let honest: u32 = asked_times
            .iter()
            .filter(|(site, _)| **site != liar)
            .map(|(_, times)| times)
            .sum();
        let of_honest = f64::from(honest) / 29.0;
        assert!(of_liar <= 1.2 * of_honest, "{of_liar} against {of_honest}");
        // And it is not shut out for ever.
        assert!(of_liar > 0.0);
    }
}
