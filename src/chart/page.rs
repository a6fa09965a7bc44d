//! Pages of HTML 5 that need nothing else: to be kept, sent and printed.

use std::fmt::{self, Display, Write as _};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#dfe3ea;--head:#f3f5f8;--quiet:#5a6474}\
@media(prefers-color-scheme:dark){:root{--line:#3a4150;--head:#232936;--quiet:#a3adbd}}\
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1.25rem}\
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}p{margin:.3rem 0}\
.made{color:var(--quiet)}svg{display:block;max-width:100%;height:auto;margin:1rem 0;border:1px solid var(--line);background:#fff}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.87rem}caption{text-align:left;color:var(--quiet)}\
th,td{text-align:left;vertical-align:top;padding:.28rem .6rem;border-bottom:1px solid var(--line)}\
th{background:var(--head)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
@media print{body{margin:0;max-width:none;font-size:11px}tr,svg{break-inside:avoid}}";

/// A page that is being written.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// Begins a page; `made` says of what and when it was made.
    pub fn new(title: &str, made: &str) -> Self {
        let mut page = String::new();
        let _ = write!(
            page,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<h1>{title}</h1>\n<p class=\"made\">{}</p>\n",
            escaped(made),
            title = escaped(title),
        );
        Self(page)
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escaped(text));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escaped(text));
    }

    /// A drawing of this folder.
    pub fn chart(&mut self, svg: &str) {
        let _ = writeln!(self.0, "<div class=\"wide\">{svg}</div>");
    }

    /// A table; columns whose name begins with `#` hold numbers.
    pub fn table<const N: usize>(&mut self, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        let class = |name: &str| if name.starts_with('#') { " class=\"n\"" } else { "" };
        self.0.push_str("<div class=\"wide\"><table>\n<tr>");
        for name in header {
            let _ = write!(
                self.0,
                "<th scope=\"col\"{}>{}</th>",
                class(name),
                escaped(name.trim_start_matches('#'))
            );
        }
        self.0.push_str("</tr>\n");
        for row in rows {
            self.0.push_str("<tr>");
            for (name, cell) in header.iter().zip(&row) {
                let _ = write!(self.0, "<td{}>{}</td>", class(name), escaped(cell));
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</table></div>\n");
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.0.push_str("</body>\n</html>\n");
        self.0
    }
}

/// Text in which nothing is markup: what pages show comes from outside.
pub fn escaped(text: &str) -> impl Display + '_ {
    struct Escaped<'a>(&'a str);
    impl Display for Escaped<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for character in self.0.chars() {
                match character {
                    '&' => f.write_str("&amp;")?,
                    '<' => f.write_str("&lt;")?,
                    '>' => f.write_str("&gt;")?,
                    '"' => f.write_str("&quot;")?,
                    '\'' => f.write_str("&#39;")?,
                    other => f.write_char(other)?,
                }
            }
            Ok(())
        }
    }
    Escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_no_markup_of_others_and_nothing_from_elsewhere() {
        let mut page = Page::new("<b>title</b>", "of <i>file</i>");
        page.heading("<h>");
        page.paragraph("a & b");
        page.table(["name", "#count"], [["<td>".to_owned(), "1".to_owned()]]);
        let html = page.finish();
        for markup in ["<b>", "<i>", "<h>", "<td><td>"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert!(html.contains("<td class=\"n\">1</td>") && html.ends_with("</html>\n"));
        for elsewhere in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
    }
}
