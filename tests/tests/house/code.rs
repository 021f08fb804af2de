//! Just enough of Rust's grammar to tell code from comments and literals, and to measure functions.

/// The text with comments and the insides of string and character literals as blanks; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut reader = Reader {
        rest: text.chars().collect(),
        at: 0,
        code: String::with_capacity(text.len()),
    };
    while reader.at < reader.rest.len() {
        reader.step();
    }
    reader.code
}

/// A function found in code: its name, the line it begins on (from 1) and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// The functions with a body, by counting braces.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        if word != "fn" {
            continue;
        }
        let after = &code[at + 2..];
        let name: String = after
            .trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect();
        let lines_before = code[..at].matches('\n').count();
        if let Some(length) = body_end(after).filter(|_| !name.is_empty()) {
            let lines = after[..length].matches('\n').count() + 1;
            let line = lines_before + 1;
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// Each word (identifier, keyword or number) with its place.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The line, from 1, of a place in the text.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of the function whose signature `after` begins with ends; `None` for a declaration.
fn body_end(after: &str) -> Option<usize> {
    let mut braces = 0usize;
    let mut brackets = 0usize;
    for (at, c) in after.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.checked_sub(1)?,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    code: String,
}

impl Reader {
    fn step(&mut self) {
        let after_word = self.code.chars().next_back().is_some_and(is_word);
        match self.peek(0) {
            Some('/') if self.peek(1) == Some('/') => {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.blank();
                }
            }
            Some('/') if self.peek(1) == Some('*') => self.block_comment(),
            Some('"') => self.string(),
            Some('\'') => self.quote(),
            Some('r') if self.raw_hashes().is_some() && (!after_word || self.after_prefix()) => {
                self.raw_string()
            }
            _ => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        self.code.extend(self.peek(0));
        self.at += 1;
    }

    fn blank(&mut self) {
        self.code
            .extend(self.peek(0).map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.at += 1;
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.blank();
                    continue;
                }
            }
            self.blank();
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while let Some(c) = self.peek(0) {
            match c {
                '"' => return self.keep(),
                '\\' => {
                    self.blank();
                    self.blank();
                }
                _ => self.blank(),
            }
        }
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        let literal = self.peek(1) == Some('\\') || self.peek(2) == Some('\'');
        self.keep();
        if !literal {
            return;
        }
        if self.peek(0) == Some('\\') {
            self.blank();
        }
        self.blank();
        while self.peek(0).is_some_and(|c| c != '\'') {
            self.blank();
        }
        self.keep();
    }

    /// How many hashes stand between an `r` here and its quote; `None` where no raw string begins.
    fn raw_hashes(&self) -> Option<usize> {
        let hashes = (1..)
            .take_while(|ahead| self.peek(*ahead) == Some('#'))
            .count();
        (self.peek(hashes + 1) == Some('"')).then_some(hashes)
    }

    /// Whether the word before is the `b` or `c` of `br".."` or `cr".."`.
    fn after_prefix(&self) -> bool {
        let mut before = self.code.chars().rev();
        matches!(before.next(), Some('b' | 'c')) && !before.next().is_some_and(is_word)
    }

    fn raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or_default();
        for _ in 0..hashes + 2 {
            self.keep();
        }
        while self.at < self.rest.len() {
            let ends = self.peek(0) == Some('"')
                && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if ends {
                for _ in 0..=hashes {
                    self.keep();
                }
                return;
            }
            self.blank();
        }
    }
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_kept() {
    let cases = [
        ("a // sled::open\nb", "a              \nb"),
        ("a /* x /* y */ z */ b", "a                   b"),
        (r#"f("burn \" {", b)"#, r#"f("         ", b)"#),
        (
            "r#\"a \" {\"# + br\"{\" + r#fn",
            "r#\"     \"# + br\" \" + r#fn",
        ),
        (
            r"('{', '\'', '\u{7b}', b'}')",
            r"(' ', '  ', '      ', b' ')",
        ),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("\"two\nlines\"", "\"   \n     \""),
    ];
    for (text, code) in cases {
        assert_eq!(code_of(text), code);
    }
}

#[test]
fn functions_are_measured_from_their_name_to_their_last_brace() {
    let code = "trait T {\n    fn declared(&self, n: [u8; 2]);\n}\n\nfn short() {}\n\nfn long(\n    f: fn(),\n) {\n    if x {\n    }\n}\n";
    let function = |name: &str, line, lines| Function {
        name: name.to_owned(),
        line,
        lines,
    };
    assert_eq!(
        functions(code),
        [function("short", 5, 1), function("long", 7, 6)]
    );
}
