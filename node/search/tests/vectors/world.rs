//! A small collection, kept by the index under test and by the plain one beside it.

use consilium_protocol::Millis;
use consilium_search::vector::made::clustered;
use consilium_search::vector::{
    BuildSettings, Change, CompactionSettings, Disk, Effort, FlatIndex, Hit, IndexSettings, Memory,
    NodeKey, Question, Reach, RowId, RowSet, SegmentedIndex, UnitVector, VectorError, VectorIndex,
};

pub(crate) const DIMENSION: usize = 12;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// Small segments, so that a small collection has many.
pub(crate) fn settings() -> IndexSettings {
    IndexSettings {
        dimension: DIMENSION,
        encoder: "words/1".to_owned(),
        build: BuildSettings::default(),
        compaction: CompactionSettings {
            graph_rows_min: 100,
            runs_max: 3,
            graphs_max: 3,
            beside_max: 2,
        },
    }
}

pub(crate) fn key() -> NodeKey {
    NodeKey::new(&[5; 32]).unwrap()
}

pub(crate) fn open(disk: impl Disk + 'static) -> Result<SegmentedIndex, VectorError> {
    SegmentedIndex::open(settings(), key(), Box::new(disk))
}

pub(crate) fn open_with(
    memory: Memory,
    disk: impl Disk + 'static,
) -> Result<SegmentedIndex, VectorError> {
    SegmentedIndex::open_with(settings(), memory, key(), Box::new(disk))
}

pub(crate) fn units(count: usize, seed: u64) -> Vec<UnitVector> {
    let made = clustered(count, DIMENSION, 8, seed);
    made.chunks(DIMENSION)
        .map(|row| UnitVector::parse(row).unwrap())
        .collect()
}

pub(crate) fn nearest(
    index: &dyn VectorIndex,
    vector: &UnitVector,
    k: usize,
    allowed: Option<&RowSet>,
) -> Vec<Hit> {
    let effort = Effort::Exact;
    index
        .nearest(&Question {
            vector,
            k,
            allowed,
            effort,
        })
        .unwrap()
}

pub(crate) fn rows(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.row.0).collect()
}

/// Both indexes, changed alike.
pub(crate) struct Pair {
    pub(crate) index: SegmentedIndex,
    pub(crate) flat: FlatIndex,
    pub(crate) now: Millis,
    next: u32,
}

impl Pair {
    pub(crate) fn on(disk: impl Disk + 'static) -> Self {
        Self {
            index: open(disk).unwrap(),
            flat: FlatIndex::new(DIMENSION),
            now: Millis(1_000),
            next: 0,
        }
    }

    pub(crate) fn add(&mut self, vectors: Vec<UnitVector>) {
        let added: Vec<(RowId, UnitVector)> = (self.next..).map(RowId).zip(vectors).collect();
        self.next += added.len() as u32;
        for (row, vector) in &added {
            self.flat.put(*row, vector.clone()).unwrap();
        }
        let erased = Vec::new();
        self.index
            .apply(Change { added, erased }, self.now)
            .unwrap();
    }

    pub(crate) fn erase(&mut self, rows: impl IntoIterator<Item = u32>) {
        let erased: Vec<RowId> = rows.into_iter().map(RowId).collect();
        let gone = erased.iter().filter(|row| self.flat.erase(**row)).count();
        let added = Vec::new();
        let changed = self
            .index
            .apply(Change { added, erased }, self.now)
            .unwrap();
        assert_eq!(changed.erased, gone);
    }

    pub(crate) fn maintain(&self) {
        self.index.maintain(self.now, DAY_MS).unwrap();
    }

    /// Both give the same rows as near as `least`, with the same similarities.
    pub(crate) fn check_scan(&self, vector: &UnitVector, allowed: Option<&RowSet>, least: f32) {
        let reach = &Reach {
            vector,
            allowed,
            least,
        };
        let scanned = |index: &dyn VectorIndex| {
            let mut hits = Vec::new();
            index.scan(reach, &mut |hit| hits.push(hit)).unwrap();
            hits.sort_by_key(|hit| hit.row);
            hits
        };
        assert_eq!(scanned(&self.index), scanned(&self.flat));
        assert_eq!(
            self.index.reaching(reach).unwrap(),
            self.flat.reaching(reach).unwrap()
        );
    }

    /// Both give the same rows with the same similarities, for `k` and under the filter.
    pub(crate) fn check(&self, vector: &UnitVector, k: usize, allowed: Option<&RowSet>) {
        assert_eq!(self.index.len(), self.flat.len());
        assert_eq!(
            nearest(&self.index, vector, k, allowed),
            nearest(&self.flat, vector, k, allowed)
        );
    }
}
