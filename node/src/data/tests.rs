//! The room tested through its front door: files in, model inputs out.

use std::path::{Path, PathBuf};

use consilium_protocol::run::{DataSpec, FoldSpec};
use proptest::prelude::*;

use super::*;

const SCHEMA: &str = r#"
format = "csv"
missing = ["?"]
columns = [
    { name = "age", type = "integer", minimum = 0, maximum = 120, missing = "drop-row" },
    { name = "bmi", type = "float", missing = "allow" },
    { name = "cp", type = "category", levels = ["1", "2", "3"] },
    { name = "sick", type = "boolean" },
]
"#;

/// A folder with one file in it.
struct Ward {
    folder: tempfile::TempDir,
}

impl Ward {
    fn with(bytes: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("patients"), bytes).unwrap();
        Self { folder }
    }

    fn read(&self, schema: &str) -> Result<(Table, ReadReport), SourceError> {
        read(
            &self.folder.path().join("patients"),
            &Schema::parse(schema).unwrap(),
        )
    }

    fn complaint(&self, schema: &str) -> String {
        match self.read(schema) {
            Ok(_) => panic!("the file must be refused"),
            Err(error) => error.to_string(),
        }
    }
}

fn heart_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/data/uci-heart-disease")
}

pub(crate) const CENTRES: [&str; 4] = ["cleveland", "hungarian", "switzerland", "va"];

/// One of the four hospitals, as its node would declare it.
pub(crate) fn hospital(centre: &str) -> DataSet {
    let declaration = Declaration {
        name: "heart-disease".parse().unwrap(),
        path: format!("processed.{centre}.data").into(),
        schema: "heart-disease.schema.toml".into(),
        test_rows: Some(format!("{centre}.test-rows.txt").into()),
        linkage_column: None,
    };
    declaration.open(&heart_folder()).unwrap()
}

/// The `[data]` of FLamby's Fed-Heart-Disease.
pub(crate) fn heart_features() -> DataSpec {
    toml::from_str(
        r#"
        features = [
            { column = "age" }, { column = "sex" },
            { column = "cp", one-hot = [1, 2, 3, 4] },
            { column = "trestbps" }, { column = "chol" }, { column = "fbs" },
            { column = "restecg", one-hot = [0, 1, 2] },
            { column = "thalach" }, { column = "exang" }, { column = "oldpeak" },
        ]
        label = { column = "num", greater-than = 0 }
        "#,
    )
    .unwrap()
}

#[test]
fn the_four_files_are_the_ones_that_flamby_used() {
    for (centre, md5) in CENTRES.iter().zip([
        "2d91a8ff69cfd9616aa47b59d6f843db",
        "22e96bee155b5973568101c93b3705f6",
        "9a87f7577310b3917730d06ba9349e20",
        "4249d03ca7711e84f4444768c9426170",
    ]) {
        let bytes = std::fs::read(heart_folder().join(format!("processed.{centre}.data"))).unwrap();
        assert_eq!(md5_of(&bytes), md5, "{centre}");
    }
    assert_eq!(md5_of(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
}

#[test]
fn flambys_recipe_gives_its_thirteen_features_and_its_splits() {
    for (centre, rows, train, test, positives) in [
        ("cleveland", 303, 199, 104, 139),
        ("hungarian", 261, 172, 89, 98),
        ("switzerland", 46, 30, 16, 45),
        ("va", 130, 85, 45, 101),
    ] {
        let dataset = hospital(centre);
        assert_eq!(dataset.table().rows(), rows, "{centre}");
        assert_eq!(dataset.report().bad_rows, 0, "{centre}");
        let prepared = prepare(&dataset, &heart_features(), None, 0).unwrap();
        assert_eq!(
            (prepared.train.rows(), prepared.test.rows()),
            (train, test),
            "{centre}"
        );
        let names =
            "age sex trestbps chol fbs thalach exang oldpeak cp=2 cp=3 cp=4 restecg=1 restecg=2";
        assert_eq!(prepared.names.join(" "), names);
        let sick: f32 = prepared.train.y().iter().chain(prepared.test.y()).sum();
        assert_eq!(sick, positives as f32, "{centre}");
    }
}

#[test]
fn features_are_standardised_by_the_sites_own_training_rows() {
    let prepared = prepare(&hospital("cleveland"), &heart_features(), None, 0).unwrap();
    let column = |rows: &Batchable, at: usize| -> Vec<f64> {
        rows.x()
            .iter()
            .skip(at)
            .step_by(13)
            .map(|value| f64::from(*value))
            .collect()
    };
    for at in 0..13 {
        let values = column(&prepared.train, at);
        let mean = values.iter().sum::<f64>() / 199.0;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / 198.0;
        assert!(
            mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
            "column {at}"
        );
    }
    let test_mean = column(&prepared.test, 0).iter().sum::<f64>() / 104.0;
    assert!(
        test_mean.abs() > 1e-3,
        "the test rows must not be centred by themselves"
    );
    // Every Swiss cholesterol is 0: a constant column.
    let swiss = prepare(&hospital("switzerland"), &heart_features(), None, 0).unwrap();
    assert!(column(&swiss.test, 3).iter().all(|value| *value == 0.0));
}

#[test]
fn a_csv_and_an_ndjson_file_of_one_table_have_the_same_content() {
    let csv = "age,bmi,cp,sick\n61,22.5,1,1\n45.0,?,2.0,0\n?,20,3,1\n";
    let ndjson = concat!(
        "{\"age\":61,\"bmi\":22.5,\"cp\":\"1\",\"sick\":true}\n",
        "\n",
        "{\"sick\":false,\"cp\":2,\"age\":45,\"bmi\":null}\n",
        "{\"bmi\":20,\"cp\":3.0,\"sick\":1}\n",
    );
    let (from_csv, report) = Ward::with(csv).read(SCHEMA).unwrap();
    let (from_ndjson, same) = Ward::with(ndjson)
        .read(&SCHEMA.replace("\"csv\"", "\"ndjson\""))
        .unwrap();
    assert!(from_csv == from_ndjson);
    assert_eq!(from_csv.content_digest(), from_ndjson.content_digest());
    assert_eq!(
        (report.rows, report.incomplete_rows, report.bad_rows),
        (3, 1, 0)
    );
    assert_eq!(report, same);
    let (other, _) = Ward::with(csv.replace("22.5", "22.6"))
        .read(SCHEMA)
        .unwrap();
    assert_ne!(from_csv.content_digest(), other.content_digest());
}

#[test]
fn a_hospital_may_export_either_format() {
    let schema = std::fs::read_to_string(heart_folder().join("heart-disease.schema.toml")).unwrap();
    let names: Vec<String> = Schema::parse(&schema)
        .unwrap()
        .columns()
        .iter()
        .map(|column| column.name.clone())
        .collect();
    for centre in CENTRES {
        let csv = std::fs::read_to_string(heart_folder().join(format!("processed.{centre}.data")));
        let object = |line: &str| {
            let fields = names.iter().zip(line.split(',')).map(|(name, field)| {
                // JSON wants a digit before the point.
                let number: Option<f64> = field.parse().ok();
                format!(
                    "\"{name}\":{}",
                    number.map_or("null".to_owned(), |number| number.to_string())
                )
            });
            format!("{{{}}}\n", fields.collect::<Vec<_>>().join(","))
        };
        let ndjson: String = csv.unwrap().lines().map(object).collect();
        let (table, _) = Ward::with(ndjson)
            .read(&schema.replace("\"csv\"", "\"ndjson\""))
            .unwrap();
        assert_eq!(
            table.content_digest(),
            hospital(centre).table().content_digest(),
            "{centre}"
        );
    }
}

#[test]
fn columns_are_found_by_name_whatever_their_order() {
    let (straight, _) = Ward::with("age,bmi,cp,sick\n61,22.5,1,1\n")
        .read(SCHEMA)
        .unwrap();
    let (turned, _) = Ward::with("\u{feff}sick,cp,bmi,age\r\n1,1,22.5,61\r\n")
        .read(SCHEMA)
        .unwrap();
    assert!(straight == turned);
}

#[test]
fn bad_rows_are_listed_by_line_and_column_and_never_by_value() {
    let mut csv = b"age,bmi,cp,sick\n61,22.5,1,1\n".to_vec();
    csv.extend(
        b"secret,1,1,1\n61,1,9,1\n61,1,1\n150,1,1,1\n61,1,,1\n61,x,1,1\n61,1,1,\xff\n61,1\0,1,1\n",
    );
    csv.extend(b"\"61\",\"1\",\"1\",\"0\"\n");
    let schema = format!("bad_rows_max_share = 0.9\n{SCHEMA}");
    let (table, report) = Ward::with(&csv).read(&schema).unwrap();
    assert_eq!((table.rows(), report.rows, report.bad_rows), (2, 10, 8));
    let listed: Vec<String> = report.bad.iter().map(ToString::to_string).collect();
    assert_eq!(
        listed,
        [
            "line 3, column `age`: the value is not an integer",
            "line 4, column `cp`: the value is none of the declared levels",
            "line 5: has 3 fields where the schema declares 4",
            "line 6, column `age`: the value is above the declared maximum",
            "line 7, column `cp`: the value is missing",
            "line 8, column `bmi`: the value is not a finite number",
            "line 9, column `sick`: not valid UTF-8",
            "line 10, column `bmi`: contains a NUL byte",
        ]
    );
}

#[test]
fn a_file_beyond_its_share_of_bad_rows_is_refused_whole() {
    let ward = Ward::with("age,bmi,cp,sick\n61,1,1,1\nsecret,1,1,1\n61,1,1,1\n");
    let complaint = ward.complaint(SCHEMA);
    assert!(complaint.contains("1 of 3 rows are bad"), "{complaint}");
    assert!(complaint.contains("line 3, column `age`"), "{complaint}");
    assert!(!complaint.contains("secret"), "{complaint}");
    assert!(
        ward.read(&format!("bad_rows_max_share = 0.34\n{SCHEMA}"))
            .is_ok()
    );
}

#[test]
fn at_most_a_hundred_bad_rows_are_listed_and_all_are_counted() {
    let csv = format!("age,bmi,cp,sick\n61,1,1,1\n{}", "x,1,1,1\n".repeat(250));
    match Ward::with(csv).read(SCHEMA) {
        Err(SourceError::TooManyBadRows { report, .. }) => {
            assert_eq!(
                (report.bad_rows, report.bad.len()),
                (250, BAD_ROWS_LISTED_MAX)
            );
        }
        _ => panic!("must be refused for its bad rows"),
    }
}

#[test]
fn a_file_that_is_not_the_declared_table_says_what_is_wrong() {
    let long_quote = format!(
        "age,bmi,cp,sick\n\"{}",
        "a,1\n".repeat(RECORD_BYTES_MAX / 4 + 10_000)
    );
    for (bytes, part) in [
        (&b""[..], "is empty"),
        (b"age,bmi,cp,sick\n", "holds no complete row"),
        (b"age,bmi,cp,sick\n?,1,1,1\n", "holds no complete row"),
        (b"\x1f\x8b\x08\x00", "is compressed"),
        (
            b"age,bmi,cp,ill\n1,1,1,1\n",
            "missing: `sick`; not declared: `ill`",
        ),
        (b"age,bmi,cp\n1,1,1\n", "missing: `sick`"),
        (b"age,bmi,cp,sick,sick\n1,1,1,1,1\n", "twice"),
        (b"61,22.5,1,Smith\n1,1,1,1\n", "is the header line missing?"),
        (b"age,\xff,cp,sick\n1,1,1,1\n", "header is not valid UTF-8"),
        (long_quote.as_bytes(), "is a quote left open?"),
    ] {
        let complaint = Ward::with(bytes).complaint(SCHEMA);
        assert!(complaint.contains(part), "`{part}` not in `{complaint}`");
        assert!(!complaint.contains("Smith"));
    }
    let absent = read(
        Path::new("/nowhere/at/all"),
        &Schema::parse(SCHEMA).unwrap(),
    );
    assert!(matches!(absent, Err(SourceError::NotFound { .. })));
}

#[test]
fn ndjson_lines_that_are_no_rows_are_bad_rows() {
    let good = "{\"age\":61,\"bmi\":1,\"cp\":1,\"sick\":true}\n";
    let bad = concat!(
        "not json\n",
        "[1,2]\n",
        "{\"age\":61,\"cp\":1,\"sick\":true,\"name\":\"Smith\"}\n",
        "{\"age\":[61],\"cp\":1,\"sick\":true}\n",
        "{\"age\":61,\"cp\":1}\n",
        "{\"age\":61,\"cp\":\"1\\u0000\",\"sick\":true}\n",
    );
    let schema = format!("bad_rows_max_share = 0.9\n{SCHEMA}").replace("\"csv\"", "\"ndjson\"");
    let (table, report) = Ward::with(format!("{good}{bad}{good}"))
        .read(&schema)
        .unwrap();
    assert_eq!(table.rows(), 2);
    let reasons: Vec<Reason> = report.bad.iter().map(|bad| bad.reason).collect();
    assert_eq!(
        reasons,
        [
            Reason::NotJson,
            Reason::NotAnObject,
            Reason::UnexpectedField,
            Reason::NotAScalar,
            Reason::Missing,
            Reason::Nul
        ]
    );
    let complaint = Ward::with("{\"age\":61,\"ill\":1}\n").complaint(&schema);
    assert!(complaint.contains("not declared: `ill`"), "{complaint}");
    let endless = format!("{good}{{\"age\":\"{}", "x".repeat(RECORD_BYTES_MAX));
    assert!(Ward::with(endless).complaint(&schema).contains("line 2"));
}

fn people(rows: &str, settings: &str) -> Result<DataSet, DataError> {
    let schema = Schema::parse(&format!(
        "format = \"csv\"\npatient_key = \"who\"\n{settings}\n{}",
        r#"columns = [
            { name = "who", type = "text" },
            { name = "dose", type = "float", missing = "allow" },
            { name = "arm", type = "integer" },
            { name = "sick", type = "boolean" },
        ]"#
    ))
    .unwrap();
    let ward = Ward::with(format!("who,dose,arm,sick\n{rows}"));
    let (table, report) = read(&ward.folder.path().join("patients"), &schema).unwrap();
    DataSet::new("people".parse().unwrap(), &schema, table, report)
}

fn features(features: &str) -> DataSpec {
    let text =
        format!("features = [{features}]\nlabel = {{ column = \"sick\", greater-than = 0 }}");
    toml::from_str(&text).unwrap()
}

#[test]
fn a_run_that_does_not_fit_the_data_is_told_why() {
    let dataset = people("a,1,1,1\nb,,2,0\nc,3,1,1\n", "").unwrap();
    for (spec, part) in [
        ("{ column = \"weight\" }", "no column `weight`"),
        ("{ column = \"who\" }", "`who` tells who a patient is"),
        ("{ column = \"dose\" }", "`dose` is missing in 1 rows"),
        (
            "{ column = \"arm\", one-hot = [1, 3] }",
            "`arm` holds in 1 rows a level",
        ),
    ] {
        let error = encode(&dataset, &features(spec))
            .err()
            .expect(spec)
            .to_string();
        assert!(error.contains(part), "`{part}` not in `{error}`");
    }
    let one_hot = encode(
        &dataset,
        &features("{ column = \"arm\", one-hot = [1, 2] }"),
    )
    .unwrap();
    assert_eq!(one_hot.standardise().unwrap().names, ["arm=2"]);
}

#[test]
fn a_patient_is_never_on_both_sides() {
    let rows: String = (0..60)
        .map(|row| format!("p{},1,1,{}\n", row / 3, row % 2))
        .collect();
    let dataset = people(&rows, "test = { fraction = 0.25, seed = 5 }").unwrap();
    assert_eq!(
        (dataset.train_rows().len(), dataset.test_rows().len()),
        (45, 15)
    );
    let patient = |row: &u32| dataset.patients()[*row as usize];
    for row in dataset.test_rows() {
        assert!(
            dataset
                .train_rows()
                .iter()
                .all(|other| patient(other) != patient(row))
        );
    }
    let error = people(&rows, "test = { rows = [0] }")
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("some rows of a patient"), "{error}");
    let error = people(&rows, "test = { rows = [60] }")
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("row 60, and the last row is 59"), "{error}");
}

#[test]
fn the_version_changes_with_the_content_and_with_the_schema() {
    let base = people("a,1,1,1\nb,2,2,0\n", "").unwrap().version();
    assert_eq!(
        base,
        people("a,1.0,1,true\nb,2,2,0\n", "").unwrap().version()
    );
    assert_ne!(base, people("a,1,1,1\nb,3,2,0\n", "").unwrap().version());
    assert_ne!(
        base,
        people("a,1,1,1\nb,2,2,0\n", "test = { rows = [1] }")
            .unwrap()
            .version()
    );
}

#[test]
fn pooled_hospitals_have_every_row_once() {
    let spec = heart_features();
    let parts = CENTRES
        .iter()
        .map(|centre| encode(&hospital(centre), &spec).unwrap());
    let pooled = Encoded::pool(parts.collect()).unwrap();
    let prepared = pooled.standardise().unwrap();
    assert_eq!((prepared.train.rows(), prepared.test.rows()), (486, 254));
    // Patients of different hospitals stay different: every row is its own patient.
    let held_out = pooled
        .fold(
            FoldSpec {
                folds: 486,
                fold: 0,
            },
            1,
        )
        .unwrap();
    assert_eq!(held_out.standardise().unwrap().test.rows(), 1);
}

proptest! {
    /// The folds of a seed part the training rows, and both labels are in each.
    #[test]
    fn folds_part_the_training_rows(seed: u64, folds in 2_u32..8) {
        let encoded = encode(&hospital("hungarian"), &heart_features()).unwrap();
        let mut held_out_rows = 0;
        for fold in 0..folds {
            let part = encoded.fold(FoldSpec { folds, fold }, seed).unwrap().standardise().unwrap();
            prop_assert_eq!(part.train.rows() + part.test.rows(), 172);
            let sick: f32 = part.test.y().iter().sum();
            let expected = part.test.rows() as f32 * 65.0 / 172.0;
            prop_assert!((sick - expected).abs() <= 1.5, "{} of {}", sick, part.test.rows());
            held_out_rows += part.test.rows();
        }
        prop_assert_eq!(held_out_rows, 172);
    }

    /// Whatever bytes a file holds, it is read or refused, and never breaks the reader.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let header = [b"age,bmi,cp,sick\n".to_vec(), bytes].concat();
        let ward = Ward::with(header);
        let _ = ward.read(SCHEMA);
        let _ = ward.read(&SCHEMA.replace("\"csv\"", "\"ndjson\""));
    }
}

/// MD5 (RFC 1321), to compare with the digests that FLamby published.
fn md5_of(bytes: &[u8]) -> String {
    const SHIFTS: [[u32; 4]; 4] = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if bytes.len() % 64 >= 56 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len() - 8;
    message[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in message.chunks_exact(64) {
        let word = |at: usize| u32::from_le_bytes(block[4 * at..4 * at + 4].try_into().unwrap());
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (mix, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a
                .wrapping_add(mix)
                .wrapping_add(constant)
                .wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4]));
        }
        for (part, value) in state.iter_mut().zip([a, b, c, d]) {
            *part = part.wrapping_add(value);
        }
    }
    state
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
