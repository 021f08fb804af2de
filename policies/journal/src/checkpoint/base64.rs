//! Bytes in a line of text: the standard alphabet with padding (RFC 4648, section 4), and no other way to write them.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of these bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let mut group = [0; 4];
        for (into, byte) in group.iter_mut().skip(1).zip(three) {
            *into = *byte;
        }
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let symbol = (bits >> (18 - 6 * place)) & 63;
            match ALPHABET.get(symbol as usize) {
                Some(&symbol) if place <= three.len() => text.push(char::from(symbol)),
                _ => text.push('='),
            }
        }
    }
    text
}

/// The bytes of this text; `None` unless it is exactly what [`encode`] makes of some bytes.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let symbols = four.iter().take_while(|&&symbol| symbol != b'=');
        let mut bits = 0_u32;
        let mut count = 0;
        for symbol in symbols {
            let value = ALPHABET.iter().position(|known| known == symbol)?;
            bits |= u32::try_from(value).ok()? << (18 - 6 * count);
            count += 1;
        }
        let held = usize::try_from(count).ok()?.checked_sub(1)?;
        bytes.extend(bits.to_be_bytes().iter().skip(1).take(held));
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn there_is_one_way_to_write_bytes() {
        for text in [
            "Zg", "Zg=", "Zh==", "Zm8", "Zm9=", "Zg==Zg==", "Z", "====", "Zm9v\n", "Zm-_", "=Zg=",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_read_back(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
