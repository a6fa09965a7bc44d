//! The files of the console.

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Each file's name, its kind and its content.
macro_rules! files {
    ($($kind:ident $name:literal,)*) => {
        &[$(($name, $kind, include_bytes!(concat!("files/", $name)))),*]
    };
}

pub(super) const FILES: &[(&str, &str, &[u8])] = files! {
    HTML "index.html",
    CSS "console.css",
    SVG "icon.svg",
    SCRIPT "main.js",
    SCRIPT "api.js",
    SCRIPT "attributes.js",
    SCRIPT "badge.js",
    SCRIPT "chain.js",
    SCRIPT "chart.js",
    SCRIPT "csv.js",
    SCRIPT "des.js",
    SCRIPT "dialog.js",
    SCRIPT "draft.js",
    SCRIPT "element.js",
    SCRIPT "form.js",
    SCRIPT "format.js",
    SCRIPT "keyform.js",
    SCRIPT "listing.js",
    SCRIPT "meter.js",
    SCRIPT "navigation.js",
    SCRIPT "refusal.js",
    SCRIPT "rights.js",
    SCRIPT "sealing.js",
    SCRIPT "secret.js",
    SCRIPT "session.js",
    SCRIPT "signer.js",
    SCRIPT "signin.js",
    SCRIPT "signing.js",
    SCRIPT "texts.js",
    SCRIPT "tokenform.js",
    SCRIPT "texts/en.js",
    SCRIPT "texts/fr.js",
    SCRIPT "texts/pt.js",
    SCRIPT "pages/overview.js",
    SCRIPT "pages/configurations.js",
    SCRIPT "pages/approvals.js",
    SCRIPT "pages/carry.js",
    SCRIPT "pages/changes.js",
    SCRIPT "pages/client.js",
    SCRIPT "pages/clients.js",
    SCRIPT "pages/counted.js",
    SCRIPT "pages/files.js",
    SCRIPT "pages/issue.js",
    SCRIPT "pages/proof.js",
    SCRIPT "pages/publicKeys.js",
    SCRIPT "pages/reports.js",
    SCRIPT "pages/seal.js",
    SCRIPT "pages/simulator.js",
    SCRIPT "pages/tokens.js",
    SCRIPT "pages/trail.js",
    SCRIPT "pages/upload.js",
    SCRIPT "pages/verify.js",
};

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    use super::*;

    fn text(name: &str) -> &'static str {
        let (_, _, content) = FILES.iter().find(|(known, ..)| *known == name).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    fn scripts() -> impl Iterator<Item = &'static str> {
        FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(name, ..)| *name)
    }

    /// What stands between quotes behind this in a text.
    fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['\'', '"']).next()).collect()
    }

    /// A table of texts: names and texts.
    fn table(language: &str) -> BTreeMap<&'static str, &'static str> {
        let lines = text(&format!("texts/{language}.js")).lines().filter(|line| line.starts_with("  '"));
        let pairs = lines.map(|line| line.trim().trim_end_matches("',").trim_start_matches('\''));
        pairs.map(|line| line.split_once("': '").unwrap()).collect()
    }

    #[test]
    fn every_file_is_served_and_every_import_is_a_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/files");
        let (mut folders, mut found) = (vec![root.clone()], BTreeSet::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let served: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(served, found);
        for name in scripts() {
            let folder = Path::new(name).parent().unwrap();
            for import in quoted(text(name), "from './").into_iter().chain(quoted(text(name), "import('./")) {
                let file = folder.join(import).to_str().unwrap().to_owned();
                assert!(served.contains(&file), "{name} imports {file}");
            }
            for import in quoted(text(name), "from '../") {
                assert!(served.contains(import), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn languages_have_the_same_texts_with_the_same_values() {
        let english = table("en");
        let values = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect()
        };
        for language in ["fr", "pt"] {
            let other = table(language);
            assert_eq!(
                english.keys().collect::<Vec<_>>(),
                other.keys().collect::<Vec<_>>(),
                "{language} has other texts"
            );
            for (name, text) in &english {
                assert_eq!(values(text), values(other[name]), "{name} in {language}");
            }
        }
    }

    #[test]
    fn every_text_that_a_page_names_is_there() {
        let english = table("en");
        let mut named = 0;
        for script in scripts() {
            let names = quoted(text(script), " t('").into_iter().chain(quoted(text(script), "(t('"));
            for name in names.chain(quoted(text(script), "many('")) {
                named += 1;
                let there =
                    english.contains_key(name) || english.contains_key(format!("{name}.other").as_str());
                assert!(there, "{script} names {name}");
            }
        }
        assert!(named > 100, "the texts were not found");
    }

    /// What a browser reads before a person can sign in, and then until the overview is there.
    #[test]
    fn the_first_page_is_light() {
        let (mut wanted, mut bytes) = (vec!["index.html".to_owned()], 0);
        let mut read = BTreeSet::new();
        let first = ["main.js", "console.css", "icon.svg", "texts/en.js", "pages/overview.js"];
        wanted.extend(first.map(str::to_owned));
        while let Some(name) = wanted.pop() {
            if read.insert(name.clone()) {
                let text = text(&name);
                bytes += text.len();
                wanted.extend(quoted(text, "from './").into_iter().map(str::to_owned));
            }
        }
        assert!(read.len() > 10 && bytes < 150_000, "{bytes} bytes in {} files", read.len());
    }
}
