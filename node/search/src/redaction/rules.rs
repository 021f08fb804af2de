//! What is found by its form, or by the words before it.
//!
//! Every repetition in a pattern has an end, or cannot fail once begun, so that a pass over a text takes time in
//! proportion to it: else the many searches that make up a pass might each run to the text's end.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::Class;
use super::span::Span;

/// What all patterns together may take, and what remembering how texts ran through them may.
const ALL_BYTES_MAX: usize = 64 << 20;

/// A pattern, and what becomes of what it finds. The group `v`, or else the whole, is replaced.
struct Rule {
    class: Class,
    pattern: Regex,
    /// False to leave a match alone: what a regular pattern cannot say.
    holds: fn(&Captures<'_>) -> bool,
    /// `None` for the class in brackets.
    becomes: Option<fn(&Captures<'_>) -> String>,
}

/// The first three digits of ZIP codes that 20,000 people or fewer share, by the census of 2000 (HHS, "Guidance regarding
/// methods for de-identification", 2012, on 164.514(b)(2)(i)(B)).
const SPARSE_ZIPS: &[&str] = &[
    "036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878",
    "879", "884", "890", "893",
];

const MONTH: &str = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?";
const MONTH_BARE: &str = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b";
const DAY_SPOKEN: &str = r"(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth";
const YEAR: &str = r"(?P<year>(?:19|20)\d\d)";
const PHONE: &str = r"(?:\+?1[-. ]{0,2})?(?:\(\d{3}\) {0,2}|\d{3} ?[-. ] ?)\d{3} ?[-. ] ?\d{4}(?: ?(?:x|ext\.?|extension) ?\d{1,6})?";
/// A number or code with a digit in it.
const CODE: &str = r"(?P<v>[a-z]{0,6}[-#]?\d[\w-]{2,24})";
/// `number`, `no.`, `#`, `ID` and what may stand between that and the number.
const NUMBER_WORD: &str =
    r"(?: ?(?:numbers?|num\.?|no\.?|id|identifier|code|#)){1,2}(?: (?:is|was))?[ :#=-]{0,4}";
const BETWEEN: &str =
    r"(?: ?(?:numbers?|num\.?|no\.?|id|identifier|#)){0,2}(?: (?:is|was))?[ :#=-]{1,4}";
const STATES: &str = "alabama|alaska|arizona|arkansas|california|colorado|connecticut|delaware|florida|georgia|hawaii|idaho|illinois|indiana|iowa|kansas|kentucky|louisiana|maine|maryland|massachusetts|michigan|minnesota|mississippi|missouri|montana|nebraska|nevada|new hampshire|new jersey|new mexico|new york|north carolina|north dakota|ohio|oklahoma|oregon|pennsylvania|rhode island|south carolina|south dakota|tennessee|texas|utah|vermont|virginia|washington|west virginia|wisconsin|wyoming";
const STATE_CODES: &str = "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]";
/// Those of them that are no doctor's degree and no word.
const STATE_CODES_ALONE: &str =
    "A[KLRZ]|C[AT]|D[CE]|FL|GA|IA|K[SY]|M[INOT]|N[CDEHJMVY]|O[HK]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]";

static RULES: LazyLock<(RegexSet, Vec<Rule>)> = LazyLock::new(|| {
    let mut rules = Vec::new();
    numbers(&mut rules);
    codes(&mut rules);
    dates(&mut rules);
    places(&mut rules);
    // After all that know better what a long number is.
    let anything = |_: &Captures<'_>| true;
    let other = |rules: &mut Vec<Rule>, pattern: &str| add(rules, Class::Other, pattern, anything);
    other(
        &mut rules,
        r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
    );
    other(
        &mut rules,
        &format!(
            r"(?i)\b(?:accession|specimen|encounter|order|case|visit|claim|study|protocol|subject|room|badge|employee|student){NUMBER_WORD}{CODE}"
        ),
    );
    other(&mut rules, r"\b[A-Z]{0,5}-?\d{7,40}\b");
    other(&mut rules, r"\b[A-Z]{1,5}-?\d{5,40}\b");
    other(&mut rules, r"#\s?(?P<v>\d{5,40})\b");
    (all_of(&rules), rules)
});

/// The spans that the rules find, in no order; they may overlap, and what comes first is to be preferred.
pub(super) fn find(text: &str) -> Vec<Span> {
    let mut found = Vec::new();
    let (all, rules) = &*RULES;
    // One pass tells which of them find anything.
    for rule in all.matches(text).iter().filter_map(|nth| rules.get(nth)) {
        for captures in rule.pattern.captures_iter(text) {
            let Some(value) = captures.name("v").or_else(|| captures.get(0)) else {
                continue;
            };
            if (rule.holds)(&captures) && stands_alone(text, value.start(), value.end()) {
                found.push(Span {
                    start: value.start(),
                    end: value.end(),
                    class: Some(rule.class),
                    becomes: rule.becomes.map_or_else(
                        || label(rule.class).to_owned(),
                        |becomes| becomes(&captures),
                    ),
                });
            }
        }
    }
    found
}

/// Whether no letter or digit touches the span.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|text| text.chars().next_back());
    let after = text.get(end..).and_then(|text| text.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

fn add(rules: &mut Vec<Rule>, class: Class, pattern: &str, holds: fn(&Captures<'_>) -> bool) {
    rules.push(Rule {
        class,
        pattern: compiled(pattern),
        holds,
        becomes: None,
    });
}

/// What stands for a class, in brackets.
pub(super) fn label(class: Class) -> &'static str {
    match class {
        Class::Name => "[name]",
        Class::Place => "[place]",
        Class::Date => "[date]",
        Class::Age => "[age 90+]",
        Class::Phone => "[phone]",
        Class::Fax => "[fax]",
        Class::Email => "[email]",
        Class::SocialSecurity => "[social security]",
        Class::RecordNumber => "[record number]",
        Class::PlanNumber => "[plan number]",
        Class::Account => "[account]",
        Class::Licence => "[licence]",
        Class::Vehicle => "[vehicle]",
        Class::Device => "[device]",
        Class::Url => "[url]",
        Class::IpAddress => "[ip address]",
        Class::Biometric => "[biometric]",
        Class::Other => "[number]",
    }
}

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and the first use of any, as in every test here, compiles all"
)]
fn compiled(pattern: &str) -> Regex {
    RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .expect("a pattern of the source is well formed")
}

#[expect(clippy::expect_used, reason = "as above")]
fn all_of(rules: &[Rule]) -> RegexSet {
    RegexSetBuilder::new(rules.iter().map(|rule| rule.pattern.as_str()))
        .unicode(false)
        .size_limit(ALL_BYTES_MAX)
        .dfa_size_limit(ALL_BYTES_MAX)
        .build()
        .expect("patterns that are well formed are so together")
}

fn numbers(rules: &mut Vec<Rule>) {
    let any = |_: &Captures<'_>| true;
    let mut rule = |class, pattern: &str| add(rules, class, pattern, any);
    rule(
        Class::Url,
        r"(?i)\b(?:https?://|ftp://|www\.)[!#-;=?-Z^-~]+",
    );
    rule(
        Class::Email,
        r"(?i)\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
    );
    rule(
        Class::Email,
        r"(?i)\b[\w.]{1,64} at \w{1,63} dot (?:com|org|net|edu|gov)\b",
    );
    rule(Class::Device, r"(?i)\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b");
    rule(Class::IpAddress, r"\b(?:\d{1,3}\.){3}\d{1,3}\b");
    rule(
        Class::IpAddress,
        r"(?i)\b(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}\b",
    );
    rule(
        Class::IpAddress,
        r"(?i)\b[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?",
    );
    rule(Class::SocialSecurity, r"\b\d{3}[- ]\d{2}[- ]\d{4}\b");
    rule(
        Class::SocialSecurity,
        &format!(r"(?i)\b(?:ssn|social security){BETWEEN}(?P<v>[\dx*][\dx* -]{{2,12}}\d)\b"),
    );
    rule(
        Class::Fax,
        &format!(r"(?i)\bfax(?:ed)?(?: to)?{BETWEEN}(?P<v>{PHONE})"),
    );
    rule(Class::Phone, PHONE);
    rule(Class::Phone, r"\+\d{1,3}(?:[-. ()]{0,2}\d{1,4}){2,6}\b");
    rule(
        Class::Phone,
        &format!(
            r"(?i)\b(?:phone|tel|telephone|cell|mobile|pager|beeper|call|dial|reached at|ext\.?|extension){BETWEEN}(?P<v>\d{{3}}[-. ]\d{{4}}|\d{{4,12}})\b"
        ),
    );
}

/// Codes that only the word before them tells of.
fn codes(rules: &mut Vec<Rule>) {
    let any = |_: &Captures<'_>| true;
    let mut rule = |class, pattern: &str| add(rules, class, pattern, any);
    rule(
        Class::RecordNumber,
        &format!(
            r"(?i)\b(?:mrn|mr#|medical record|med(?:ical)?\.? rec\.?|health record){BETWEEN}{CODE}"
        ),
    );
    rule(
        Class::RecordNumber,
        &format!(r"(?i)\b(?:chart|record|patient|hospital|unit|file){NUMBER_WORD}{CODE}"),
    );
    rule(
        Class::PlanNumber,
        &format!(
            r"(?i)\b(?:member|policy|subscriber|beneficiary|group|insurance|medicare|medicaid|health plan|plan|hicn|mbi){NUMBER_WORD}{CODE}"
        ),
    );
    rule(
        Class::Account,
        &format!(
            r"(?i)\b(?:account|acct\.?|invoice|billing|bank|(?:credit |debit )?card|iban){NUMBER_WORD}{CODE}"
        ),
    );
    rule(Class::Account, r"\b\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{4}\b");
    rule(
        Class::Vehicle,
        &format!(
            r"(?i)\b(?:licen[sc]e plate|number plate|plate|vin|tag){BETWEEN}(?P<v>[a-z]{{0,4}}[ -]?\d[\w-]{{1,16}})"
        ),
    );
    add(
        rules,
        Class::Vehicle,
        r"\b[A-HJ-NPR-Z0-9]{17}\b",
        |captures| {
            captures.get(0).is_some_and(|whole| {
                whole
                    .as_str()
                    .contains(|char: char| char.is_ascii_uppercase())
            })
        },
    );
    let mut rule = |class, pattern: &str| add(rules, class, pattern, any);
    rule(
        Class::Licence,
        &format!(
            r"(?i)\b(?:driver'?s licen[sc]e|licen[sc]e|lic\.?|certificate|registration|passport|permit){NUMBER_WORD}{CODE}"
        ),
    );
    rule(
        Class::Licence,
        &format!(r"(?i)\b(?:dea|npi|driver'?s licen[sc]e|passport){BETWEEN}{CODE}"),
    );
    rule(
        Class::Device,
        &format!(
            r"(?i)\b(?:serial|device|model|lot|udi|imei|implant|pacemaker|s/n){NUMBER_WORD}{CODE}"
        ),
    );
    rule(
        Class::Device,
        &format!(r"(?i)\b(?:imei|udi|s/n|serial){BETWEEN}{CODE}"),
    );
    rule(
        Class::Biometric,
        &format!(
            r"(?i)\b(?:finger ?print|voice ?print|palm ?print|retinal? scan|iris scan|facial? scan|biometric)s?{NUMBER_WORD}{CODE}"
        ),
    );
}

fn dates(rules: &mut Vec<Rule>) {
    let day = r"(?:0?[1-9]|[12]\d|3[01])";
    let birth =
        r"(?:d\.?o\.?b\.?|date of birth|birth ?da(?:te|y)|born)(?: (?:is|was|in|on))?[ :]{1,3}";
    let numeric =
        format!(r"{day}[-/.]{day}[-/.](?:(?:19|20)\d\d|\d\d)|(?:19|20)\d\d[-/.]{day}[-/.]{day}");
    let worded = format!(r"{MONTH} {{1,2}}(?:the )?{day}(?:st|nd|rd|th)?,? {{1,2}}(?:19|20)\d\d");
    let any = |_: &Captures<'_>| true;
    // A year of birth tells an age, and one over 89 must not stay.
    add(
        rules,
        Class::Date,
        &format!(r"(?i)\b{birth}(?P<v>{numeric}|{worded}|(?:19|20)\d\d)\b"),
        any,
    );
    let mut dated = |pattern: &str, holds: fn(&Captures<'_>) -> bool| {
        rules.push(Rule {
            class: Class::Date,
            pattern: compiled(pattern),
            holds,
            becomes: Some(year_of),
        });
    };
    dated(
        &format!(r"\b{YEAR}[-/.]{day}[-/.]{day}(?:T\d\d:\d\d(?::\d\d)?(?:\.\d{{1,9}})?Z?)?\b"),
        any,
    );
    dated(&format!(r"\b{day}[-/.]{day}[-/.]{YEAR}\b"), any);
    dated(&format!(r"\b(?:{day}/{day}/|{day}-{day}-)\d\d\b"), any);
    dated(&format!(r"\b(?:0?[1-9]|1[0-2])[-/]{YEAR}\b"), any);
    dated(
        &format!(
            r"(?i)\b{MONTH} {{1,2}}(?:the )?(?:{DAY_SPOKEN}|{day}(?P<th>st|nd|rd|th)?(?: ?(?:-|to|and) ?{day}(?:st|nd|rd|th)?)?)\b(?:,? {{1,2}}(?:of )?{YEAR}\b)?"
        ),
        is_month,
    );
    dated(
        &format!(
            r"(?i)\b(?:{day}(?P<th>st|nd|rd|th)|(?:the )(?:{DAY_SPOKEN})|{day}) (?P<of>(?:day )?of )?{MONTH}(?:,? {YEAR}\b)?"
        ),
        is_month,
    );
    dated(&format!(r"(?i)\b{MONTH},? (?:of )?{YEAR}\b"), any);
    dated(
        &format!(
            r"(?i)\b(?:on|since|dated?|dos|seen|until|due)[ :]{{1,2}}(?P<v>(?:0?[1-9]|1[0-2])/{day})\b"
        ),
        |captures| {
            // A grade or a strength, such as 3/6 and 5/5, has a small second number.
            captures
                .name("v")
                .and_then(|date| date.as_str().rsplit('/').next()?.parse::<u32>().ok())
                .is_some_and(|day| day > 6)
        },
    );
    dated(
        &format!(
            r"(?i)\b(?:in|since|last|until|till|early|late|mid|during|through|of|from|around|this past)[ -](?P<v>{MONTH_BARE})"
        ),
        |captures| {
            let cue = captures
                .get(0)
                .map_or("", |whole| whole.as_str())
                .to_lowercase();
            is_month(captures)
                || ["in ", "since ", "last ", "until "]
                    .iter()
                    .any(|safe| cue.starts_with(safe))
        },
    );
    let ninety = r"(?P<v>9\d|1[0-2]\d)";
    let units = "one|two|three|four|five|six|seven|eight|nine";
    let old = r"(?:[- ]{0,2}(?:years?|yrs?|yr\.)[- ]{1,2}(?:olds?|of age)|[- ]?y\.?/?o\b)";
    let mut aged = |pattern: &str| add(rules, Class::Age, pattern, any);
    aged(&format!(r"(?i)\b{ninety}{old}"));
    aged(&format!(r"(?i)\bage[ds]?(?: of| is)?[: ]{{1,2}}{ninety}\b"));
    aged(&format!(
        r"(?i)\b(?:he|she|i|who|patient)(?: (?:is|was|am|turned|turns)|'s|'m)(?: now)? {ninety}(?:[.,;?!]| and\b)"
    ));
    aged(&format!(
        r"(?i)\b(?P<v>ninety(?:[- ](?:{units}))?|(?:a|one) hundred(?: and)?(?: (?:{units}))?){old}"
    ));
}

/// Whether a word that may be a month is one: `may` and `march` are verbs, and `mar` is to spoil.
fn is_month(captures: &Captures<'_>) -> bool {
    let month = captures.name("month").map_or("", |month| month.as_str());
    let is_verb = ["may", "march", "mar", "dec", "mar."].contains(&month);
    !is_verb
        || ["th", "of", "year"]
            .iter()
            .any(|sign| captures.name(sign).is_some())
}

fn year_of(captures: &Captures<'_>) -> String {
    captures.name("year").map_or_else(
        || "[date]".to_owned(),
        |year| format!("[date {}]", year.as_str()),
    )
}

fn places(rules: &mut Vec<Rule>) {
    let any = |_: &Captures<'_>| true;
    let zip = r"(?P<v>(?P<zip>\d{3})\d{2}(?:-\d{4})?)\b";
    let mut zipped = |pattern: &str| {
        rules.push(Rule {
            class: Class::Place,
            pattern: compiled(pattern),
            holds: any,
            becomes: Some(
                |captures| match captures.name("zip").map_or("", |zip| zip.as_str()) {
                    sparse if SPARSE_ZIPS.contains(&sparse) => "[zip 000]".to_owned(),
                    zip => format!("[zip {zip}]"),
                },
            ),
        });
    };
    zipped(&format!(r"(?i)\bzip(?: ?code)?(?: is)?[ :]{{1,2}}{zip}"));
    zipped(&format!(r"\b(?:{STATE_CODES}),? {{1,2}}{zip}"));
    zipped(&format!(r"(?i)\b(?:{STATES}),? {{1,2}}{zip}"));
    zipped(r"\b(?P<v>(?P<zip>\d{3})\d{2}-\d{4})\b");
    let mut rule = |pattern: &str| add(rules, Class::Place, pattern, any);
    rule(r"(?i)\bp\.? ?o\.? box \d{1,8}\b");
    let flat = r"(?:,? (?i:apt|apartment|suite|ste|unit|room)\.? ?#?[\w-]{1,8}|,? #[\w-]{1,8})?";
    rule(&format!(
        r"\b\d{{1,6}}[A-Z]? (?:[A-Z0-9][\w'.-]{{0,30}} ){{1,4}}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|Circle|Highway|Hwy|Parkway|Pkwy|Square|Trail)\b{flat}"
    ));
    rule(&format!(
        r"(?i)\b\d{{1,6}} (?:[a-z'-]{{2,20}} ){{1,3}}(?:street|avenue|boulevard|parkway){flat}\b"
    ));
    let words = r"(?:[A-Z][\w'-]{1,25}\.? ){0,2}[A-Z][\w'-]{1,25}";
    rule(&format!(
        r"\b(?P<v>{words}) ?, {{0,2}}(?:{STATE_CODES_ALONE})\b"
    ));
    rule(&format!(
        r"\b(?P<v>{words}) ?, {{0,2}}(?:(?i:{STATE_CODES})),? {{0,2}}(?:\d{{5}}|\[zip)"
    ));
    rule(&format!(r"\b(?P<v>{words}) ?, {{0,2}}(?i:{STATES})\b"));
    rule(r"\b(?:[A-Z][a-z'-]{1,20} ){1,2}(?:County|Parish)\b");
    add(
        rules,
        Class::Place,
        r"\b(?:(?:[A-Z][\w'-]{1,25}|[A-Z]\.|St\.) (?:of (?:the )?|and |& )?){1,4}(?:Hospital|Medical Center|Medical Centre|Health System|Healthcare|University|High School|Elementary School|Nursing Home|Medical Group|Clinic)\b",
        is_named,
    );
}

/// Words that say what kind of house it is, and not which.
const KINDS_OF_HOUSE: &[&str] = &[
    "a",
    "an",
    "and",
    "anticoagulation",
    "at",
    "care",
    "center",
    "children's",
    "clinic",
    "community",
    "day",
    "emergency",
    "eye",
    "family",
    "fellowship",
    "foot",
    "for",
    "general",
    "health",
    "her",
    "his",
    "hospital",
    "in",
    "local",
    "medical",
    "medicine",
    "memory",
    "my",
    "of",
    "our",
    "outpatient",
    "pain",
    "primary",
    "psychiatric",
    "regional",
    "rehab",
    "rehabilitation",
    "sleep",
    "specialty",
    "surgery",
    "the",
    "this",
    "university",
    "urgent",
    "walk-in",
    "women's",
    "wound",
];

fn is_named(captures: &Captures<'_>) -> bool {
    captures.get(0).is_some_and(|whole| {
        let mut words: Vec<_> = whole.as_str().split_whitespace().collect();
        words.pop();
        words.iter().any(|word| {
            KINDS_OF_HOUSE
                .binary_search(&word.to_lowercase().as_str())
                .is_err()
        })
    })
}
