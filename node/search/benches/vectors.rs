//! What the vector index costs, printed and never asserted:
//! `cargo bench --profile dev -p consilium-search --bench vectors -- --rows 20000`
//!
//! `--vectors FILE` and `--queries FILE` take other vectors than made ones (.fbin: rows and dimension as u32, then f32,
//! little-endian); `--write FOLDER` writes those that were used, for `peers/compare.py`. Searches run on one thread
//! and are counted in processor time, so that a busy machine disturbs them little; p99 is wall time and feels it.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on stops"
)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use consilium_protocol::Millis;
use consilium_search::vector::made::{Numbers, clustered};
use consilium_search::vector::{
    BuildSettings, CHANGE_ROWS_MAX, Change, CompactionSettings, Effort, FlatIndex, Folder,
    IndexSettings, NodeKey, Question, RowId, RowSet, SegmentedIndex, UnitVector, VectorIndex,
};

const K: usize = 10;

struct Wanted {
    rows: usize,
    dimension: usize,
    breadth: usize,
    beside: usize,
    keeps_pruned: bool,
    vectors: Option<PathBuf>,
    queries: Option<PathBuf>,
    write: Option<PathBuf>,
}

fn main() {
    let wanted = wanted();
    let (stored, asked) = vectors(&wanted);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} rows x {}, {} queries, load {}",
        stored.len(),
        stored[0].dimension(),
        asked.len(),
        load.trim()
    );
    let folder = tempfile::tempdir().unwrap();
    let index = built(&wanted, &stored, folder.path());
    opened_again(&wanted, folder.path());
    let mut flat = FlatIndex::new(stored[0].dimension());
    for (row, vector) in (0..).zip(&stored) {
        flat.put(RowId(row), vector.clone()).unwrap();
    }
    by_breadth(&index, &flat, &asked);
    by_filter(&index, &flat, &asked, stored.len());
}

fn built(wanted: &Wanted, stored: &[UnitVector], folder: &Path) -> SegmentedIndex {
    let index = SegmentedIndex::open(
        settings(wanted),
        key(),
        Box::new(Folder::at(folder).unwrap()),
    )
    .unwrap();
    let (started, cpu) = (Instant::now(), process_cpu_s());
    for (nth, rows) in stored.chunks(CHANGE_ROWS_MAX).enumerate() {
        let first = (nth * CHANGE_ROWS_MAX) as u32;
        let added = (first..).map(RowId).zip(rows.iter().cloned()).collect();
        let erased = Vec::new();
        index.apply(Change { added, erased }, Millis(0)).unwrap();
    }
    let (added, added_cpu) = (started.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    let (started, cpu) = (Instant::now(), process_cpu_s());
    index.maintain(Millis(0), u64::MAX).unwrap();
    let (took, took_cpu) = (started.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    let figures = index.figures();
    let rows = figures.rows as f64;
    println!("adding   {added:8.2} s wall {added_cpu:8.2} s cpu");
    println!("building {took:8.2} s wall {took_cpu:8.2} s cpu, audit and encryption included");
    println!(
        "memory   {:8.0} B a row, {:.1} links a row, {} orphans, {} twins, {} graphs",
        figures.bytes as f64 / rows,
        figures.links as f64 / rows,
        figures.orphans,
        figures.twins,
        figures.graphs
    );
    index
}

fn opened_again(wanted: &Wanted, folder: &Path) {
    let started = Instant::now();
    let index = SegmentedIndex::open(
        settings(wanted),
        key(),
        Box::new(Folder::at(folder).unwrap()),
    )
    .unwrap();
    println!(
        "opening  {:8.2} s wall ({} rows)",
        started.elapsed().as_secs_f64(),
        index.len()
    );
}

fn by_breadth(index: &SegmentedIndex, flat: &FlatIndex, asked: &[UnitVector]) {
    let truth: Vec<HashSet<RowId>> = asked
        .iter()
        .map(|vector| rows(flat, vector, None, Effort::Exact))
        .collect();
    println!("\nbreadth  recall@10  queries/s (cpu)   p50 us   p99 us");
    for effort in [8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384]
        .map(Effort::Breadth)
        .into_iter()
        .chain([Effort::Exact])
    {
        let figures = measured(index, asked, &truth, &vec![None; asked.len()], effort);
        println!("{:>7}  {figures}", named(effort));
    }
}

fn by_filter(index: &SegmentedIndex, flat: &FlatIndex, asked: &[UnitVector], rows_all: usize) {
    println!("\nallowed  how       recall@10  queries/s (cpu)   p50 us   p99 us");
    for share in [1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.000_1] {
        let mut numbers = Numbers(11);
        let mut drawn = || {
            (0..rows_all as u32)
                .map(RowId)
                .filter(|_| numbers.fraction() < share)
                .collect::<RowSet>()
        };
        let sets: Vec<RowSet> = (0..8).map(|_| drawn()).collect();
        let filters: Vec<Option<&RowSet>> = (0..asked.len())
            .map(|nth| Some(&sets[nth % sets.len()]))
            .collect();
        let truth: Vec<HashSet<RowId>> = asked
            .iter()
            .zip(&filters)
            .map(|(vector, allowed)| rows(flat, vector, *allowed, Effort::Exact))
            .collect();
        for effort in [Effort::default(), Effort::Exact] {
            let figures = measured(index, asked, &truth, &filters, effort);
            println!("{:>6.2}%  {:8}  {figures}", share * 100.0, named(effort));
        }
    }
}

fn measured(
    index: &SegmentedIndex,
    asked: &[UnitVector],
    truth: &[HashSet<RowId>],
    filters: &[Option<&RowSet>],
    effort: Effort,
) -> String {
    let (mut found, mut expected, mut times) = (0, 0, Vec::with_capacity(asked.len()));
    for vector in asked.iter().take(20) {
        rows(index, vector, filters[0], effort);
    }
    let cpu = thread_cpu_s();
    for ((vector, truth), allowed) in asked.iter().zip(truth).zip(filters) {
        let started = Instant::now();
        let k = K;
        let hits = index
            .nearest(&Question {
                vector,
                k,
                allowed: *allowed,
                effort,
            })
            .unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e6);
        assert_eq!(hits.len(), truth.len(), "never short");
        found += hits.iter().filter(|hit| truth.contains(&hit.row)).count();
        expected += truth.len();
    }
    let cpu = thread_cpu_s() - cpu;
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let recall = found as f64 / expected.max(1) as f64;
    format!(
        "{recall:9.4}  {:15.0} {:8.0} {:8.0}",
        asked.len() as f64 / cpu,
        at(0.5),
        at(0.99)
    )
}

fn rows(
    index: &dyn VectorIndex,
    vector: &UnitVector,
    allowed: Option<&RowSet>,
    effort: Effort,
) -> HashSet<RowId> {
    let k = K;
    let hits = index
        .nearest(&Question {
            vector,
            k,
            allowed,
            effort,
        })
        .unwrap();
    hits.into_iter().map(|hit| hit.row).collect()
}

fn named(effort: Effort) -> String {
    match effort {
        Effort::Breadth(breadth) => breadth.to_string(),
        Effort::Exact => "exact".to_owned(),
    }
}

fn settings(wanted: &Wanted) -> IndexSettings {
    IndexSettings {
        dimension: wanted.dimension,
        encoder: "benchmark".to_owned(),
        build: BuildSettings {
            breadth: wanted.breadth,
            keeps_pruned: wanted.keeps_pruned,
            ..BuildSettings::default()
        },
        compaction: CompactionSettings {
            graph_rows_min: 1_000,
            beside_max: wanted.beside,
            ..CompactionSettings::default()
        },
    }
}

fn key() -> NodeKey {
    NodeKey::new(&[1; 32]).unwrap()
}

fn vectors(wanted: &Wanted) -> (Vec<UnitVector>, Vec<UnitVector>) {
    let dimension = wanted.dimension;
    let clusters = (wanted.rows / 100).max(1);
    let made = |rows, seed| (clustered(rows, dimension, clusters, seed), dimension);
    let stored = wanted
        .vectors
        .as_deref()
        .map_or_else(|| made(wanted.rows, 1), read);
    let asked = wanted
        .queries
        .as_deref()
        .map_or_else(|| made(1_000, 2), read);
    if let Some(folder) = &wanted.write {
        write(&folder.join("vectors.fbin"), &stored);
        write(&folder.join("queries.fbin"), &asked);
    }
    let units = |(numbers, dimension): (Vec<f32>, usize)| -> Vec<UnitVector> {
        numbers
            .chunks(dimension)
            .map(|row| UnitVector::parse(row).unwrap())
            .collect()
    };
    (units(stored), units(asked))
}

fn read(file: &Path) -> (Vec<f32>, usize) {
    let bytes = fs::read(file).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let floats = bytes[8..]
        .chunks(4)
        .map(|float| f32::from_le_bytes(float.try_into().unwrap()));
    (floats.collect(), number(4) as usize)
}

fn write(file: &Path, (numbers, dimension): &(Vec<f32>, usize)) {
    let head = [(numbers.len() / dimension) as u32, *dimension as u32];
    let head = head.iter().flat_map(|number| number.to_le_bytes());
    let bytes: Vec<u8> = head
        .chain(numbers.iter().flat_map(|number| number.to_le_bytes()))
        .collect();
    fs::write(file, bytes).unwrap();
}

fn wanted() -> Wanted {
    let mut wanted = Wanted {
        rows: 20_000,
        dimension: 384,
        breadth: BuildSettings::default().breadth,
        beside: 1,
        keeps_pruned: BuildSettings::default().keeps_pruned,
        vectors: None,
        queries: None,
        write: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match name.as_str() {
            "--rows" => wanted.rows = value().parse().unwrap(),
            "--dimension" => wanted.dimension = value().parse().unwrap(),
            "--breadth" => wanted.breadth = value().parse().unwrap(),
            "--beside" => wanted.beside = value().parse().unwrap(),
            "--keep-pruned" => wanted.keeps_pruned = true,
            "--vectors" => wanted.vectors = Some(value().into()),
            "--queries" => wanted.queries = Some(value().into()),
            "--write" => wanted.write = Some(value().into()),
            _ => {}
        }
    }
    if let Some(file) = &wanted.vectors {
        wanted.dimension = read(file).1;
    }
    wanted
}

/// Processor time of this thread, from Linux; elsewhere, time.
fn thread_cpu_s() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| {
        text.split(' ')
            .next()
            .and_then(|number| number.parse::<f64>().ok())
    });
    nanoseconds.map_or_else(since_start_s, |nanoseconds| nanoseconds / 1e9)
}

/// Processor time of this process in ticks of 10 ms, from Linux; elsewhere, time.
fn process_cpu_s() -> f64 {
    let told = fs::read_to_string("/proc/self/stat").ok();
    let ticks = told.and_then(|text| {
        let fields: Vec<&str> = text.rsplit(") ").next()?.split(' ').collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.map_or_else(since_start_s, |ticks| ticks / 100.0)
}

fn since_start_s() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}
