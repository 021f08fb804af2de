//! The four hospitals: their files, and what FLamby published about them.

use std::path::Path;

use consilium_node::data::{DataError, DataSet, Declaration, Encoded, FeatureError, encode};
use consilium_protocol::run::DataSpec;

/// The name under which each hospital declares its data.
pub(super) const DATASET: &str = "heart-disease";

/// What it measures them by, and where it comes from.
pub(super) const SOURCE: &str = include_str!("../../../data/uci-heart-disease/SOURCE.md");
const SCHEMA: &str = include_str!("../../../data/uci-heart-disease/heart-disease.schema.toml");

/// A hospital of UCI Heart Disease.
pub(in crate::story) struct Hospital {
    /// As the consortium names it.
    pub(in crate::story) site: &'static str,
    /// As people name it.
    pub(in crate::story) title: &'static str,
    records: &'static str,
    test_rows: &'static str,
    /// FLamby's accuracy of [`PUBLISHED`], mean over five seeds.
    pub(super) published: [f64; PUBLISHED.len()],
}

/// FLamby's methods (NeurIPS 2022, result files of its repository, seeds 42 to 46).
pub(super) const PUBLISHED: [&str; 4] = ["pooled", "FedAvg", "FedAdam", "FedYogi"];

/// FLamby's accuracy on "Pooled Test" of [`PUBLISHED`], mean over five seeds.
pub(super) const PUBLISHED_POOLED_TEST: [f64; PUBLISHED.len()] = [0.7953, 0.7480, 0.7787, 0.7787];

/// FLamby's mean over the centres of [`PUBLISHED`].
pub(super) const PUBLISHED_MEAN: [f64; PUBLISHED.len()] = [0.7353, 0.6850, 0.7255, 0.7314];

/// In FLamby's order.
pub(in crate::story) const HOSPITALS: [Hospital; 4] = [
    Hospital {
        site: "cleveland",
        title: "Cleveland",
        records: include_str!("../../../data/uci-heart-disease/processed.cleveland.data"),
        test_rows: include_str!("../../../data/uci-heart-disease/cleveland.test-rows.txt"),
        published: [0.7827, 0.7308, 0.7519, 0.7596],
    },
    Hospital {
        site: "hungarian",
        title: "Hungarian",
        records: include_str!("../../../data/uci-heart-disease/processed.hungarian.data"),
        test_rows: include_str!("../../../data/uci-heart-disease/hungarian.test-rows.txt"),
        published: [0.7640, 0.7191, 0.7461, 0.7528],
    },
    Hospital {
        site: "switzerland",
        title: "Switzerland",
        records: include_str!("../../../data/uci-heart-disease/processed.switzerland.data"),
        test_rows: include_str!("../../../data/uci-heart-disease/switzerland.test-rows.txt"),
        published: [0.7500, 0.6500, 0.7375, 0.7375],
    },
    Hospital {
        site: "va",
        title: "Long Beach VA",
        records: include_str!("../../../data/uci-heart-disease/processed.va.data"),
        test_rows: include_str!("../../../data/uci-heart-disease/va.test-rows.txt"),
        published: [0.6444, 0.6400, 0.6667, 0.6756],
    },
];

const RECORDS_FILE: &str = "data/heart-disease.data";
const SCHEMA_FILE: &str = "data/heart-disease.schema.toml";
const TEST_ROWS_FILE: &str = "data/test-rows.txt";

impl Hospital {
    /// The files that lie in its node's folder.
    #[must_use]
    pub(in crate::story) fn files(&self) -> [(String, &'static str); 3] {
        [
            (RECORDS_FILE.to_owned(), self.records),
            (SCHEMA_FILE.to_owned(), SCHEMA),
            (TEST_ROWS_FILE.to_owned(), self.test_rows),
        ]
    }

    /// What its operator writes into node.toml.
    #[must_use]
    pub(in crate::story) fn declaration() -> String {
        format!(
            "[[dataset]]\nname = \"{DATASET}\"\npath = \"{RECORDS_FILE}\"\nschema = \"{SCHEMA_FILE}\"\n\
             test-rows = \"{TEST_ROWS_FILE}\"\n"
        )
    }

    /// Its data, read from its node's folder as the node itself reads it. Only a story that
    /// plays every part at once can.
    ///
    /// # Errors
    /// If the files are not what they are declared to be.
    pub(super) fn open(&self, folder: &Path) -> Result<DataSet, HospitalError> {
        let declaration = Declaration {
            name: DATASET.parse().map_err(|_| HospitalError::Name)?,
            path: RECORDS_FILE.into(),
            schema: SCHEMA_FILE.into(),
            test_rows: Some(TEST_ROWS_FILE.into()),
            linkage_column: None,
        };
        Ok(declaration.open(folder)?)
    }

    /// Its data with the columns of a run, not yet standardised.
    ///
    /// # Errors
    /// If the columns do not fit the data.
    pub(super) fn encoded(
        &self,
        folder: &Path,
        columns: &DataSpec,
    ) -> Result<Encoded, HospitalError> {
        Ok(encode(&self.open(folder)?, columns)?)
    }
}

/// A hospital's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum HospitalError {
    #[error("`{DATASET}` is no name for a data set")]
    Name,
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Features(#[from] FeatureError),
}
