//! Words: tokens, names, days, digests, as people type and peers send them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use consilium_link::Fingerprint;
use consilium_policies::{Day, RuleId};
use consilium_protocol::token::EnrolmentToken;
use consilium_protocol::{
    DatasetName, Digest, MemberName, ProjectName, Purpose, Role, RunId, SiteName,
};

use crate::Target;

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "word",
    holds,
    memory_bytes_max: 1 << 16,
    memory_per_byte_max: 16,
};

/// What is accepted is written as it was read, and a name is safe as a name of a file.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    token(text);
    for name in [
        written_as_read::<MemberName>(text),
        written_as_read::<SiteName>(text),
        written_as_read::<ProjectName>(text),
        written_as_read::<DatasetName>(text),
        written_as_read::<RunId>(text),
    ] {
        assert!(name.is_none_or(is_safe_in_a_path), "{text:?}");
    }
    written_as_read::<RuleId>(text);
    written_as_read::<Role>(text);
    written_as_read::<Day>(text);
    reads_back::<Purpose>(text);
    reads_back::<Digest>(text);
    reads_back::<Fingerprint>(text);
}

fn token(text: &str) {
    let Ok(token) = text.parse::<EnrolmentToken>() else {
        return;
    };
    assert_eq!(token.expose().parse(), Ok(token.clone()));
    let shown = format!("{token:?}");
    assert!(
        token
            .expose()
            .split(':')
            .filter(|part| part.len() == 64)
            .all(|secret| !shown.contains(secret)),
        "a token shows its secret"
    );
}

fn is_safe_in_a_path(name: String) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', '\0']) && name.len() <= 63
}

fn written_as_read<T: FromStr + Display>(text: &str) -> Option<String> {
    let written = text.parse::<T>().ok()?.to_string();
    assert_eq!(written, text);
    Some(written)
}

fn reads_back<T>(text: &str)
where
    T: FromStr + Display + PartialEq + Debug,
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert!(
            again.as_ref().is_ok_and(|again| *again == value),
            "{again:?} after {value:?}"
        );
    }
}
