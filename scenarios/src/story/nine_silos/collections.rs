//! The collections of a site: what its operator declares, and what its officer permits.

use std::path::Path;

use super::silos::{self, Row};
use crate::house::{HouseError, write, write_bytes};
use crate::story::StoryError;

/// What people ask at the prompt: a question counts as the title of its answer.
pub(super) const PEOPLE: &str = "medquad";
/// What is measured: answers alone, for with its question in the index every answer finds itself.
pub(super) const ANSWERS: &str = "medquad-answers";
/// The same answers by a sentence encoder in a folder.
pub(super) const SENTENCES: &str = "medquad-sentences";
/// The same answers with what identifies someone taken out, although they are about nobody.
pub(super) const REDACTED: &str = "medquad-redacted";

/// The project and the purpose of every search.
pub(super) const PROJECT: &str = "library";
pub(super) const PURPOSE: &str = "HMB";

/// The filter column of UMLS Semantic Types.
pub(super) const SEMANTIC_TYPE: &str = "semantic-type";

const MAPPING: &str = include_str!("../../../data/medquad/medquad.mapping.toml");

const ROWS_FILE: &str = "data/medquad.jsonl.gz";

/// A collection as node.toml declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared<'a> {
    pub(super) name: &'static str,
    /// A sentence encoder's folder; the built-in encoder without one.
    pub(super) encoder: Option<&'a Path>,
}

/// What every site holds.
#[must_use]
pub(super) fn of_site(sentences: Option<&Path>) -> Vec<Declared<'_>> {
    let mut all = vec![
        Declared {
            name: PEOPLE,
            encoder: None,
        },
        Declared {
            name: ANSWERS,
            encoder: None,
        },
    ];
    all.extend(sentences.map(|folder| Declared {
        name: SENTENCES,
        encoder: Some(folder),
    }));
    all
}

/// What lies in one place for comparison, and is never asked.
#[must_use]
pub(super) fn of_centre(sentences: Option<&Path>) -> Vec<Declared<'_>> {
    let mut all = vec![
        Declared {
            name: ANSWERS,
            encoder: None,
        },
        Declared {
            name: REDACTED,
            encoder: None,
        },
    ];
    all.extend(sentences.map(|folder| Declared {
        name: SENTENCES,
        encoder: Some(folder),
    }));
    all
}

/// What the operator writes into node.toml.
#[must_use]
pub(super) fn declarations(declared: &[Declared<'_>]) -> String {
    let table = |one: &Declared<'_>| {
        let encoder = match one.encoder {
            None => "\"builtin\"".to_owned(),
            Some(folder) => format!("{{ folder = {:?} }}", folder.display().to_string()),
        };
        format!(
            "[[collection]]\nname = \"{name}\"\nsource = \"{ROWS_FILE}\"\nmapping = \"data/{name}.mapping.toml\"\n\
             encoder = {encoder}\n\n",
            name = one.name,
        )
    };
    declared.iter().map(table).collect()
}

/// Writes rows and mappings into a site's folder.
///
/// # Errors
/// If they cannot be written.
pub(super) fn lay_out<'a>(
    folder: &Path,
    declared: &[Declared<'_>],
    rows: impl Iterator<Item = &'a Row>,
) -> Result<(), StoryError> {
    write_bytes(&folder.join(ROWS_FILE), &silos::packed(rows)?)?;
    let mapping = |one: &Declared<'_>| -> Result<(), HouseError> {
        let path = folder.join(format!("data/{}.mapping.toml", one.name));
        write(&path, &mapping(one.name))
    };
    Ok(declared.iter().try_for_each(mapping)?)
}

/// Which field is what: as the mapping beside the data says, with the one line that makes this collection another.
fn mapping(name: &str) -> String {
    const BODY: &str = "body = [\"answer\"]";
    match name {
        PEOPLE => MAPPING.replace(BODY, &format!("title = [\"question\"]\n{BODY}")),
        REDACTED => MAPPING.replace("redaction = \"none\"", "redaction = \"safe-harbor\""),
        _ => MAPPING.to_owned(),
    }
}

/// What a site's officer permits: public text, whole, to any researcher of the project.
#[must_use]
pub(super) fn policy(site: &str, declared: &[Declared<'_>]) -> String {
    let mut text = format!(
        "# Public pages of the United States government. They are about nobody, so no floor protects anyone\n\
         # and nothing is taken out.\nname = \"{site}\"\nversion = 1\n"
    );
    for Declared { name, .. } in declared {
        text.push_str(&format!(
            "\n[dataset.{name}]\nduo = [\"NRES\"]                          # no restriction\nunit = \"patient\"\n\
             floor-patients = 1\nredaction = \"none\"\n"
        ));
    }
    for Declared { name, .. } in declared {
        text.push_str(&format!(
            "\n[[permit]]\nid = \"{name}-reading\"\nresearchers = [\"*\"]\nprojects = [\"{PROJECT}\"]\n\
             purposes = [\"{PURPOSE}\"]\nactions = [\"search\"]\ndataset = \"{name}\"\nuntil = \"2099-12-31\"\n\
             release = [\"search-l4\"]                # whole passages with their scores\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use consilium_policies::{Bundle, Release};
    use consilium_search::collection::Mapping;

    use super::*;

    #[test]
    fn the_policy_lets_whole_passages_of_each_collection_out_and_nothing_else() {
        let folder = Path::new("/models/minilm");
        let text = policy("ninds", &of_site(Some(folder)));
        let bundle = Bundle::parse("policy.toml", text.as_bytes()).unwrap();
        assert_eq!((bundle.name(), bundle.rules().len()), ("ninds", 3));
        for rule in bundle.rules() {
            assert_eq!(
                rule.release.iter().collect::<Vec<_>>(),
                [&Release::SearchL4]
            );
        }
    }

    #[test]
    fn every_mapping_is_one_and_each_is_another() {
        let read = |name| Mapping::parse(&mapping(name)).unwrap();
        for name in [PEOPLE, ANSWERS, REDACTED] {
            assert!(
                read(name)
                    .columns()
                    .iter()
                    .any(|(column, _)| column == SEMANTIC_TYPE),
                "{name}"
            );
        }
        assert_eq!(read(ANSWERS).digest(), read(SENTENCES).digest());
        assert_ne!(read(ANSWERS).digest(), read(PEOPLE).digest());
        assert_ne!(read(ANSWERS).digest(), read(REDACTED).digest());
    }

    #[test]
    fn a_declaration_names_its_encoder() {
        let folder = Path::new("/models/mini \"lm\"");
        let text = declarations(&of_site(Some(folder)));
        let table: toml::Table = text.parse().unwrap();
        let collections = table["collection"].as_array().unwrap();
        assert_eq!(collections[0]["encoder"].as_str(), Some("builtin"));
        assert_eq!(
            collections[2]["encoder"]["folder"].as_str(),
            Some("/models/mini \"lm\"")
        );
    }
}
