//! The page and its parts. Everything that is given as text is escaped.

use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5c5c5c; --line: #d6d6d6; --paper: #ffffff; --band: #f5f5f3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --soft: #a8a8a8; --line: #444444; --paper: #161616; --band: #202020; }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --band: #f5f5f5; }
  body { max-width: none; }
  figure, table, section { break-inside: avoid; }
}
* { box-sizing: border-box; }
body { margin: 2.5rem auto; padding: 0 1.25rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { margin: .6rem 0; max-width: 46rem; }
.lead { font-size: 1.05rem; color: var(--soft); }
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; color: var(--ink); }
figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .8rem 0; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid var(--soft); }
td { max-width: 30rem; overflow-wrap: break-word; }
tr.strong td, tr.strong th { font-weight: 650; background: var(--band); }
tbody th { font-weight: 500; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .85em; overflow-wrap: anywhere; }
pre {
  white-space: pre-wrap; overflow-wrap: anywhere; font: .8rem/1.45 ui-monospace, 'DejaVu Sans Mono', monospace;
  background: var(--band); padding: .8rem 1rem; border-left: 3px solid var(--line);
}
footer {
  margin-top: 3rem; color: var(--soft); font-size: .85rem; border-top: 1px solid var(--line); padding-top: .8rem;
}
";

/// A page as it grows.
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page of this title, which also stands at its top.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            title: escape(title),
            body: format!("<h1>{}</h1>\n", escape(title)),
        }
    }

    /// What the page is about, under its title.
    pub fn lead(&mut self, text: &str) {
        self.push(&format!("<p class=\"lead\">{}</p>\n", escape(text)));
    }

    /// A heading.
    pub fn section(&mut self, title: &str) {
        self.push(&format!("<h2>{}</h2>\n", escape(title)));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.push(&format!("<p>{}</p>\n", escape(text)));
    }

    /// Lines as they are.
    pub fn preformatted(&mut self, text: &str) {
        self.push(&format!("<pre>{}</pre>\n", escape(text)));
    }

    /// A table; each row's first cell names it, and rows for which `strong` holds stand out.
    pub fn table(
        &mut self,
        caption: &str,
        headings: &[&str],
        rows: &[Vec<String>],
        strong: impl Fn(&str) -> bool,
    ) {
        let mut html = format!(
            "<div class=\"wide\"><table>\n<caption>{}</caption>\n<thead><tr>",
            escape(caption)
        );
        for heading in headings {
            write!(html, "<th scope=\"col\">{}</th>", escape(heading)).ok();
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            let Some((name, cells)) = row.split_first() else {
                continue;
            };
            let class = if strong(name) {
                " class=\"strong\""
            } else {
                ""
            };
            write!(html, "<tr{class}><th scope=\"row\">{}</th>", escape(name)).ok();
            for cell in cells {
                write!(html, "<td>{}</td>", escape(cell)).ok();
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table></div>\n");
        self.push(&html);
    }

    /// A chart of [`super::chart`], with what there is to see in it.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        self.push(&format!(
            "<figure>\n{svg}\n<figcaption>{}</figcaption>\n</figure>\n",
            escape(caption)
        ));
    }

    /// The whole document.
    #[must_use]
    pub fn finish(self, footer: &str) -> String {
        let Self { title, body } = self;
        let footer = escape(footer);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
             <footer>{footer}</footer>\n</body>\n</html>\n"
        )
    }

    fn push(&mut self, html: &str) {
        self.body.push_str(html);
    }
}

/// Text as HTML and SVG take it, in elements and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_text_is_given_stays_text() {
        let hostile = "<script>alert('x')</script> & \"more\"";
        let mut page = Page::new(hostile);
        page.lead(hostile);
        page.section(hostile);
        page.paragraph(hostile);
        page.preformatted(hostile);
        page.table(
            hostile,
            &[hostile],
            &[vec![hostile.to_owned(), hostile.to_owned()]],
            |_| true,
        );
        page.figure("<svg></svg>", hostile);
        let html = page.finish(hostile);
        assert!(!html.contains("<script>"));
        assert_eq!(
            html.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;")
                .count(),
            12
        );
        assert!(html.starts_with("<!doctype html>") && html.contains("<svg></svg>"));
    }
}
