//! The YAML parser, used as upload formats §6 advises: a list of pairs of texts, and no message of
//! its own.

use std::fmt;

use serde_yaml as yaml;

/// The pairs of a flat mapping, in the order of the text, repeated ones included; every scalar is
/// text.
///
/// A parser's message may quote the text, so there is none: `None` is all that is told.
pub(super) fn pairs(text: &[u8]) -> Option<Vec<(String, String)>> {
    yaml::from_slice_with_options(text, options()).ok().map(|Pairs(pairs)| pairs)
}

/// Upload formats §6: no merging, no aliases, no source lines in errors, small budgets.
fn options() -> yaml::Options {
    yaml::options! {
        budget: yaml::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_documents: 1,
            max_depth: 2,
            max_events: 256,
            max_nodes: 128,
            max_merge_keys: 0,
            flow_nesting_limit: 0,
        },
        duplicate_keys: yaml::options::DuplicateKeyPolicy::PassThrough,
        merge_keys: yaml::options::MergeKeyPolicy::AsOrdinary,
        reject_unsupported_tags: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// A mapping as the list that it is in the text, repeated names included; every value is text (upload
/// formats §2).
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> serde::de::Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::pairs;

    fn text(pair: &(String, String)) -> (&str, &str) {
        (&pair.0, &pair.1)
    }

    #[test]
    fn numbers_and_words_are_not_inferred_and_repetitions_are_kept() {
        let read =
            pairs(b"a: 04\na: 0000\n1: no\nc: 0123456789012e34\nd: 1234567812345678\n<<: x\n").unwrap();
        let expected = [
            ("a", "04"),
            ("a", "0000"),
            ("1", "no"),
            ("c", "0123456789012e34"),
            ("d", "1234567812345678"),
            ("<<", "x"),
        ];
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_flat_is_nothing() {
        for text in [
            "a",
            "- a",
            "a: {b: c}",
            "a: [b]",
            "a:\n  b: c",
            "a: &x b",
            "a: b\n---\na: c",
            "a: ~",
            "a: 'b",
            "a: !x b",
            "a: b: c",
        ] {
            assert_eq!(pairs(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(pairs(b""), Some(vec![]));
        let many: String = (0..200).map(|number| format!("a{number}: b\n")).collect();
        assert_eq!(pairs(many.as_bytes()), None);
    }
}
