//! What the vector index costs, printed and never asserted:
//! `cargo bench --profile dev -p consilium-search --bench vectors -- --rows 20000`
//!
//! `--memory fast` keeps the vectors in memory; `--folder FOLDER` keeps the index, and opens it the next time. `--race`
//! answers what `peers/race.py` asks on stdin. `--vectors FILE` and `--queries FILE` take other vectors than made ones
//! (.fbin: rows and dimension as u32, then f32, little-endian); `--write FOLDER` writes those that were used, for
//! `peers/compare.py`. Searches run on one thread and are counted in processor time, so that a busy machine disturbs
//! them little; p99 is wall time and feels it.

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
    BuildSettings, CHANGE_ROWS_MAX, Change, CompactionSettings, Effort, Folder, Hit, IndexSettings,
    Memory, NodeKey, Question, Reach, RowId, RowSet, SegmentedIndex, UnitVector, VectorIndex,
};

const K: usize = 10;

struct Wanted {
    rows: usize,
    dimension: usize,
    breadth: usize,
    beside: usize,
    memory: Memory,
    folder: Option<PathBuf>,
    races: bool,
    vectors: Option<PathBuf>,
    queries: Option<PathBuf>,
    write: Option<PathBuf>,
}

fn main() {
    let wanted = wanted();
    let scratch = tempfile::tempdir().unwrap();
    let folder = wanted.folder.as_deref().unwrap_or(scratch.path());
    let asked = vectors(
        &wanted,
        wanted.queries.as_deref(),
        ("queries.fbin", 1_000, 2),
    );
    let index = index(&wanted, folder);
    if wanted.races {
        return race(&index, &asked);
    }
    println!(
        "{} rows x {}, {} queries, {:?}, load {}",
        index.len(),
        wanted.dimension,
        asked.len(),
        wanted.memory,
        load()
    );
    by_breadth(&index, &asked);
    by_filter(&index, &asked);
    by_reach(&index, &asked);
}

/// What lies in the folder, or is built there.
fn index(wanted: &Wanted, folder: &Path) -> SegmentedIndex {
    let index = opened(wanted, folder);
    if !index.is_empty() {
        return index;
    }
    let stored = vectors(
        wanted,
        wanted.vectors.as_deref(),
        ("vectors.fbin", wanted.rows, 1),
    );
    let (started, cpu) = (Instant::now(), process_cpu_s());
    for (nth, rows) in stored.chunks(CHANGE_ROWS_MAX).enumerate() {
        let first = (nth * CHANGE_ROWS_MAX) as u32;
        let added = (first..).map(RowId).zip(rows.iter().cloned()).collect();
        let erased = Vec::new();
        index.apply(Change { added, erased }, Millis(0)).unwrap();
    }
    drop(stored);
    let (added, added_cpu) = (started.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    let (started, cpu) = (Instant::now(), process_cpu_s());
    index.maintain(Millis(0), u64::MAX).unwrap();
    let (took, took_cpu) = (started.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    println!("adding   {added:8.2} s wall {added_cpu:8.2} s cpu");
    println!("building {took:8.2} s wall {took_cpu:8.2} s cpu, audit and encryption included");
    drop(index);
    opened(wanted, folder)
}

fn opened(wanted: &Wanted, folder: &Path) -> SegmentedIndex {
    let before = resident_bytes();
    let started = Instant::now();
    let disk = Box::new(Folder::at(folder).unwrap());
    let key = NodeKey::new(&[1; 32]).unwrap();
    let index = SegmentedIndex::open_with(settings(wanted), wanted.memory, key, disk).unwrap();
    if !index.is_empty() {
        let figures = index.figures();
        let rows = figures.rows as f64;
        println!("opening  {:8.2} s wall", started.elapsed().as_secs_f64());
        println!(
            "memory   {:8.0} B a row ({:.0} by the system), {:.1} links a row, {} orphans, {} twins, {} graphs",
            figures.bytes as f64 / rows,
            (resident_bytes() - before) / rows,
            figures.links as f64 / rows,
            figures.orphans,
            figures.twins,
            figures.graphs
        );
    }
    index
}

/// For each line, a breadth or `exact`, one line: the processor time that all questions took, and their hits.
fn race(index: &SegmentedIndex, asked: &[UnitVector]) {
    println!("ready");
    for line in std::io::stdin().lines() {
        let effort = match line.unwrap().trim().parse() {
            Ok(breadth) => Effort::Breadth(breadth),
            Err(_) => Effort::Exact,
        };
        let cpu = thread_cpu_s();
        let hits: Vec<Vec<u32>> = asked
            .iter()
            .map(|vector| {
                let hits = found(index, vector, (K, None, effort));
                hits.iter().map(|hit| hit.row.0).collect()
            })
            .collect();
        println!("{:.6} {hits:?}", thread_cpu_s() - cpu);
    }
}

fn by_breadth(index: &SegmentedIndex, asked: &[UnitVector]) {
    let truth = truth(index, asked, &vec![None; asked.len()]);
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

fn by_filter(index: &SegmentedIndex, asked: &[UnitVector]) {
    println!("\nallowed  how       recall@10  queries/s (cpu)   p50 us   p99 us");
    for share in [1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.000_1] {
        let mut numbers = Numbers(11);
        let mut drawn = || {
            (0..index.rows_end().0)
                .map(RowId)
                .filter(|_| numbers.fraction() < share)
                .collect::<RowSet>()
        };
        let sets: Vec<RowSet> = (0..8).map(|_| drawn()).collect();
        let filters: Vec<Option<&RowSet>> = (0..asked.len())
            .map(|nth| Some(&sets[nth % sets.len()]))
            .collect();
        let truth = truth(index, asked, &filters);
        for effort in [Effort::default(), Effort::Exact] {
            let figures = measured(index, asked, &truth, &filters, effort);
            println!("{:>6.2}%  {:8}  {figures}", share * 100.0, named(effort));
        }
    }
}

/// All rows within a similarity, as counts for a release with noise need them.
fn by_reach(index: &SegmentedIndex, asked: &[UnitVector]) {
    println!("\nleast  rows    what      questions/s (cpu)");
    for least in [0.7, 0.5, 0.3] {
        let asked = asked.get(..50).unwrap_or(asked);
        let mut rows = 0;
        for what in ["rows", "scores"] {
            let cpu = thread_cpu_s();
            for vector in asked {
                let allowed = None;
                let reach = &Reach {
                    vector,
                    allowed,
                    least,
                };
                match what {
                    "rows" => rows += index.reaching(reach).unwrap().len(),
                    _ => index.scan(reach, &mut |_| ()).unwrap(),
                }
            }
            let speed = asked.len() as f64 / (thread_cpu_s() - cpu);
            println!(
                "{least:>5}  {:<6}  {what:8}  {speed:10.1}",
                rows / asked.len()
            );
        }
    }
}

fn truth(
    index: &SegmentedIndex,
    asked: &[UnitVector],
    filters: &[Option<&RowSet>],
) -> Vec<HashSet<RowId>> {
    let pairs = asked.iter().zip(filters);
    pairs
        .map(|(vector, allowed)| {
            let hits = found(index, vector, (K, *allowed, Effort::Exact));
            hits.into_iter().map(|hit| hit.row).collect()
        })
        .collect()
}

fn measured(
    index: &SegmentedIndex,
    asked: &[UnitVector],
    truth: &[HashSet<RowId>],
    filters: &[Option<&RowSet>],
    effort: Effort,
) -> String {
    let (mut right, mut expected, mut times) = (0, 0, Vec::with_capacity(asked.len()));
    for vector in asked.iter().take(20) {
        found(index, vector, (K, filters[0], effort));
    }
    let cpu = thread_cpu_s();
    for ((vector, truth), allowed) in asked.iter().zip(truth).zip(filters) {
        let started = Instant::now();
        let hits = found(index, vector, (K, *allowed, effort));
        times.push(started.elapsed().as_secs_f64() * 1e6);
        assert_eq!(hits.len(), truth.len(), "never short");
        right += hits.iter().filter(|hit| truth.contains(&hit.row)).count();
        expected += truth.len();
    }
    let cpu = thread_cpu_s() - cpu;
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let recall = right as f64 / expected.max(1) as f64;
    format!(
        "{recall:9.4}  {:15.0} {:8.0} {:8.0}",
        asked.len() as f64 / cpu,
        at(0.5),
        at(0.99)
    )
}

fn found(
    index: &SegmentedIndex,
    vector: &UnitVector,
    (k, allowed, effort): (usize, Option<&RowSet>, Effort),
) -> Vec<Hit> {
    index
        .nearest(&Question {
            vector,
            k,
            allowed,
            effort,
        })
        .unwrap()
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
            ..BuildSettings::default()
        },
        compaction: CompactionSettings {
            graph_rows_min: 1_000,
            beside_max: wanted.beside,
            ..CompactionSettings::default()
        },
    }
}

/// Vectors of the file, or made ones, which are also written where that is wanted.
fn vectors(
    wanted: &Wanted,
    file: Option<&Path>,
    (name, rows, seed): (&str, usize, u64),
) -> Vec<UnitVector> {
    let dimension = wanted.dimension;
    let clusters = (wanted.rows / 100).max(1);
    let made = || (clustered(rows, dimension, clusters, seed), dimension);
    let (numbers, dimension) = file.map_or_else(made, read);
    if let Some(folder) = &wanted.write {
        write(&folder.join(name), &(numbers.clone(), dimension));
    }
    let units = numbers.chunks(dimension).map(UnitVector::parse);
    units.map(Result::unwrap).collect()
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
        memory: Memory::Small,
        folder: None,
        races: false,
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
            "--memory" if value() == "fast" => wanted.memory = Memory::Fast,
            "--folder" => wanted.folder = Some(value().into()),
            "--race" => wanted.races = true,
            "--vectors" => wanted.vectors = Some(value().into()),
            "--queries" => wanted.queries = Some(value().into()),
            "--write" => wanted.write = Some(value().into()),
            _ => {}
        }
    }
    if let Some(file) = &wanted.queries {
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

/// Memory that the process holds, from Linux.
fn resident_bytes() -> f64 {
    let told = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = told
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4_096.0
}

fn load() -> String {
    let told = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.trim().to_owned()
}

fn since_start_s() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}
