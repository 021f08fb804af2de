//! What each privacy stage costs, on the same known items.
//!
//! At level 2 passages have handles that mean nothing outside their site, so nobody can tell from an answer which
//! document was found: that is their purpose. So this is measured where everything lies in one place, by the functions
//! that a node and the asker's machine call (`one_of_each`, `withheld`, `leads`, `bucket`, `reciprocal_rank`, the merge
//! by buckets), silo by silo over exact scores. A topic stands for a patient: a silo's answers about one disease are
//! the passages of one record.

use std::collections::{BTreeMap, HashMap, HashSet};

use consilium_node::retrieval::disclosure::bucket;
use consilium_node::retrieval::ranked::one_of_each;
use consilium_node::retrieval::too_close::{TAIL, leads, withheld};
use consilium_protocol::SiteName;
use consilium_protocol::message::{DisclosedHit, HANDLE_BYTES, PassageHit};
use consilium_protocol::search::merge::{RECIPROCAL_RANK_CONSTANT, disclosed, passages};
use consilium_protocol::search::{RANK_DEPTH, Ranking};
use consilium_search::fusion::reciprocal_rank;
use consilium_search::redaction::Redactor;
use consilium_search::vector::RowId;

use super::central::{Central, both};
use super::measures::{DEPTH, Quality, place_of};
use super::silos::{Holdings, Row, SILOS};
use crate::story::StoryError;
use crate::story::told::Work;

/// Which stages are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stages {
    /// One passage of a patient at most.
    pub(super) one_a_patient: bool,
    /// Similarities in sixteenths, so that sites are merged by these.
    pub(super) buckets: bool,
    /// A hit that stands out is withheld, and its patient with it.
    pub(super) too_close: bool,
    /// Texts and questions without what identifies someone.
    pub(super) redacted: bool,
}

/// What is measured, in the order of the table.
pub(super) const ROWS: [(&str, Stages); 6] = {
    let none = Stages {
        one_a_patient: false,
        buckets: false,
        too_close: false,
        redacted: false,
    };
    let all = Stages {
        one_a_patient: true,
        buckets: true,
        too_close: true,
        redacted: true,
    };
    [
        ("none (level 4: exact scores)", none),
        (
            "one passage a patient",
            Stages {
                one_a_patient: true,
                ..none
            },
        ),
        (
            "scores in sixteenths",
            Stages {
                buckets: true,
                ..none
            },
        ),
        (
            "too-close test",
            Stages {
                too_close: true,
                ..none
            },
        ),
        (
            "texts redacted",
            Stages {
                redacted: true,
                ..none
            },
        ),
        ("all of them (level 2)", all),
    ]
};

/// The orders that are measured.
pub(super) const RANKINGS: [Ranking; 2] = [Ranking::Vectors, Ranking::Both];

/// What a row of the table found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// The question's own answer.
    pub(super) answer: Quality,
    /// Any passage of its patient.
    pub(super) patient: Quality,
    /// Questions whose own answer the too-close test withheld.
    pub(super) withheld: usize,
    /// Questions of whose patient it withheld any passage.
    pub(super) patient_withheld: usize,
}

/// Measures every row of the table: by ranking, then by row.
///
/// # Errors
/// A fault of the index or the encoder.
pub(super) fn measure(
    holdings: &Holdings,
    plain: &Central,
    redacted: &Central,
    items: &[&Row],
) -> Result<Vec<Vec<Cost>>, StoryError> {
    let (plain, redacted) = (Silos::of(plain, holdings), Silos::of(redacted, holdings));
    let redactor = Redactor::new();
    let mut costs = vec![vec![Cost::default(); ROWS.len()]; RANKINGS.len()];
    let mut work = Work::of("questions through the stages", items.len());
    for item in items {
        let clean = redactor.redact(&item.question).text;
        // Scored once for all rows of the table.
        let as_typed = plain.scored(&item.question)?;
        let as_scrubbed = redacted.scored(&clean)?;
        for (ranking, costs) in RANKINGS.iter().zip(&mut costs) {
            for ((_, stages), cost) in ROWS.iter().zip(costs) {
                let (silos, scored) = match stages.redacted {
                    true => (&redacted, &as_scrubbed),
                    false => (&plain, &as_typed),
                };
                let told = silos.told(scored, *ranking, *stages)?;
                cost.add(holdings, item, &told);
            }
        }
        work.advance();
    }
    Ok(costs)
}

impl Cost {
    fn add(&mut self, holdings: &Holdings, item: &Row, told: &Tellable) {
        self.answer.add(place_of(&item.id, &told.found));
        let of_patient = |id: &String| {
            let other = holdings.row(id);
            other.is_some_and(|other| other.focus == item.focus)
                && holdings.silo_of(id) == holdings.silo_of(&item.id)
        };
        self.patient.add(told.found.iter().position(of_patient));
        self.withheld += usize::from(told.withheld.contains(&item.id));
        self.patient_withheld += usize::from(told.withheld.iter().any(of_patient));
    }
}

/// A collection by silos, with the patients of each.
struct Silos<'a> {
    central: &'a Central,
    names: Vec<SiteName>,
    patient_of: HashMap<RowId, u32>,
    document_of: HashMap<RowId, u32>,
}

/// What the asker gets to know, and what was kept from her.
struct Tellable {
    found: Vec<String>,
    withheld: HashSet<String>,
}

/// A silo's passages for one question, best first.
struct Scored {
    near: Vec<(RowId, f64)>,
    words: Vec<(RowId, f64)>,
    /// Similarities of those in `words`.
    near_too: HashMap<RowId, f64>,
}

/// What one site has to say.
struct AtSite {
    near: Vec<(RowId, f64)>,
    words: Vec<(RowId, f64)>,
    too_near: Vec<RowId>,
}

impl<'a> Silos<'a> {
    fn of(central: &'a Central, holdings: &Holdings) -> Self {
        let mut numbers: [HashMap<String, u32>; 2] = Default::default();
        let mut number_of = |which: usize, name: String| {
            let Some(known) = numbers.get_mut(which) else {
                return 0;
            };
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *known.entry(name).or_insert(next)
        };
        let (mut patient_of, mut document_of) = (HashMap::new(), HashMap::new());
        for row in central.rows().iter() {
            let document = central.document(row);
            let focus = holdings.row(document).map_or("", |row| row.focus.as_str());
            let silo = holdings.silo_of(document).unwrap_or_default();
            patient_of.insert(row, number_of(0, format!("{silo} {focus}")));
            document_of.insert(row, number_of(1, document.to_owned()));
        }
        Self {
            central,
            names: SILOS
                .iter()
                .filter_map(|silo| silo.site.parse().ok())
                .collect(),
            patient_of,
            document_of,
        }
    }

    /// Scores by silo.
    fn scored(&self, text: &str) -> Result<Vec<Scored>, StoryError> {
        let of_silo = |rows| {
            let scored = self.central.scored(text, Ranking::Both, rows)?;
            let words: HashSet<RowId> = scored.words.iter().map(|(row, _)| *row).collect();
            let near_too = scored
                .near
                .iter()
                .copied()
                .filter(|(row, _)| words.contains(row));
            Ok(Scored {
                near_too: near_too.collect(),
                near: best_first(&scored.near),
                words: best_first(&scored.words),
            })
        };
        self.central.of_silo.iter().map(of_silo).collect()
    }

    fn told(
        &self,
        scored: &[Scored],
        ranking: Ranking,
        stages: Stages,
    ) -> Result<Tellable, StoryError> {
        let owners = match stages.one_a_patient {
            true => &self.patient_of,
            false => &self.document_of,
        };
        let mut kept_back = HashSet::new();
        let mut sites = Vec::with_capacity(scored.len());
        for scored in scored {
            let site = at_site(scored, owners, stages)?;
            kept_back.extend(
                site.too_near
                    .iter()
                    .map(|row| self.central.document(*row).to_owned()),
            );
            sites.push(site);
        }
        let found = match stages.buckets {
            true => self.by_buckets(scored, &sites, owners, ranking),
            false => self.by_scores(&sites, ranking),
        };
        Ok(Tellable {
            found,
            withheld: kept_back,
        })
    }

    /// As level 4 is merged.
    fn by_scores(&self, sites: &[AtSite], ranking: Ranking) -> Vec<String> {
        let documents = |hits: &[(RowId, f64)]| {
            let of =
                |(row, score): &(RowId, f64)| (self.central.document(*row).to_owned(), 0, *score);
            hits.iter().map(of).collect::<Vec<_>>()
        };
        let found: BTreeMap<SiteName, Vec<PassageHit>> = self
            .names
            .iter()
            .zip(sites)
            .map(|(name, site)| {
                (
                    name.clone(),
                    both(documents(&site.near), documents(&site.words)),
                )
            })
            .collect();
        passages(found, ranking, DEPTH)
            .into_iter()
            .map(|at| at.hit.document)
            .collect()
    }

    /// As levels 2 and 3 are: each site's own order, merged by sixteenths.
    fn by_buckets(
        &self,
        scored: &[Scored],
        sites: &[AtSite],
        owners: &HashMap<RowId, u32>,
        ranking: Ranking,
    ) -> Vec<String> {
        let mut told: Vec<RowId> = Vec::new();
        let mut found: BTreeMap<SiteName, Vec<DisclosedHit>> = BTreeMap::new();
        for ((name, scored), site) in self.names.iter().zip(scored).zip(sites) {
            let mut similarity = scored.near_too.clone();
            similarity.extend(site.near.iter().copied());
            let hits = in_order(site, owners, ranking)
                .into_iter()
                .take(DEPTH)
                .map(|row| {
                    let mut handle = [0; HANDLE_BYTES];
                    // The story's own handles: places in `told`.
                    for (byte, of_place) in handle.iter_mut().zip(told.len().to_le_bytes()) {
                        *byte = of_place;
                    }
                    told.push(row);
                    DisclosedHit {
                        handle,
                        bucket: bucket(similarity.get(&row).copied().unwrap_or_default() as f32),
                        snippet: String::new(),
                    }
                });
            found.insert(name.clone(), hits.collect());
        }
        let place = |hit: &DisclosedHit| {
            let (bytes, _) = hit.handle.split_first_chunk::<8>()?;
            told.get(usize::try_from(u64::from_le_bytes(*bytes)).ok()?)
        };
        let merged = disclosed(found, DEPTH);
        let rows = merged.iter().filter_map(|at| place(&at.hit));
        rows.map(|row| self.central.document(*row).to_owned())
            .collect()
    }
}

/// A site's best, as `node/src/retrieval` finds them.
fn at_site(
    scored: &Scored,
    owners: &HashMap<RowId, u32>,
    stages: Stages,
) -> Result<AtSite, StoryError> {
    let owner_of = |hit: &(RowId, f64)| owners.get(&hit.0).copied();
    let best = |hits: &[(RowId, f64)], wanted| {
        let first = |k| Ok::<_, std::convert::Infallible>(hits.iter().take(k).copied().collect());
        one_of_each(wanted, owner_of, first).map_err(StoryError::unexpected)
    };
    // At levels 2 and 3 a node looks as far as its test needs, at level 4 as far as the merge does.
    let depth = match stages.buckets {
        true => DEPTH + TAIL + 1,
        false => RANK_DEPTH,
    };
    let mut near = best(&scored.near, depth)?;
    let mut words = best(&scored.words, RANK_DEPTH)?;
    let mut too_near = Vec::new();
    if stages.too_close {
        let similarities: Vec<f32> = near.iter().map(|(_, score)| *score as f32).collect();
        too_near.extend(near.iter().take(withheld(&similarities)).copied());
        let scores: Vec<f64> = words.iter().map(|(_, score)| *score).collect();
        too_near.extend(words.first().filter(|_| leads(&scores)));
        let gone: HashSet<u32> = too_near.iter().filter_map(owner_of).collect();
        let stays = |hit: &(RowId, f64)| owner_of(hit).is_some_and(|owner| !gone.contains(&owner));
        near.retain(stays);
        words.retain(stays);
    }
    if stages.one_a_patient && !stages.buckets {
        // Merged by document here, so both orders name a patient by the same one. A node does not: it joins passages.
        let named: HashMap<u32, RowId> = near
            .iter()
            .filter_map(|hit| Some((owner_of(hit)?, hit.0)))
            .collect();
        for hit in &mut words {
            let known = owner_of(hit).and_then(|owner| named.get(&owner));
            hit.0 = known.copied().unwrap_or(hit.0);
        }
    }
    Ok(AtSite {
        near,
        words,
        too_near: too_near.into_iter().map(|(row, _)| row).collect(),
    })
}

fn best_first(scores: &[(RowId, f64)]) -> Vec<(RowId, f64)> {
    let mut hits = scores.to_vec();
    hits.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    hits
}

/// A site's own order of its best.
fn in_order(site: &AtSite, owners: &HashMap<RowId, u32>, ranking: Ranking) -> Vec<RowId> {
    let rows = |hits: &[(RowId, f64)]| hits.iter().map(|(row, _)| *row).collect::<Vec<_>>();
    let near = rows(&site.near);
    if ranking == Ranking::Vectors {
        return near;
    }
    // A patient has one place in each order, as at the node.
    let owner = |row: &RowId| owners.get(row).copied();
    let mut row_of: HashMap<Option<u32>, RowId> = HashMap::new();
    for row in &near {
        row_of.entry(owner(row)).or_insert(*row);
    }
    let same = |row: RowId| row_of.get(&owner(&row)).copied().unwrap_or(row);
    let words: Vec<RowId> = rows(&site.words).into_iter().map(same).collect();
    let joined = reciprocal_rank(&[&near, &words], RECIPROCAL_RANK_CONSTANT);
    let mut seen = HashSet::new();
    let rows = joined.into_iter().map(|(row, _)| row);
    rows.filter(|row| seen.insert(owners.get(row).copied()))
        .collect()
}
