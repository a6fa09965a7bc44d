//! Path templates of `google.api.http`: `/v1/{name=configurations/*}:enable`.
//!
//! Of its grammar (the comments of google/api/http.proto, AIP-127) all is understood but variables
//! within variables, which no rule may have, and variables of nested messages.

use percent_encoding::percent_decode_str;

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    /// What stands behind the last colon.
    verb: Option<String>,
}

/// One part between two strokes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// This text.
    Literal(String),
    /// `*`: any one segment.
    One,
    /// `**`: all that follow, at least one. It is the last.
    Rest,
}

/// A field of the request that segments hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    field: String,
    first: usize,
    /// Behind the last one.
    end: usize,
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{template:?} is no path template: {why}")]
pub(super) struct BadTemplate {
    template: String,
    why: &'static str,
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, BadTemplate> {
        let bad = |why| BadTemplate { template: text.to_owned(), why };
        let path = text.strip_prefix('/').ok_or(bad("it must begin with /"))?;
        // A colon behind the last stroke and the last brace begins the verb.
        let (path, verb) = match path.rfind(':') {
            Some(at) if !path[at..].contains(['/', '}']) => (&path[..at], Some(path[at + 1..].to_owned())),
            _ => (path, None),
        };
        let (mut segments, mut variables, mut rest) = (Vec::new(), Vec::new(), path);
        loop {
            if let Some(inner) = rest.strip_prefix('{') {
                let (inner, behind) = inner.split_once('}').ok_or(bad("a brace does not close"))?;
                let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
                let first = segments.len();
                segments.extend(pattern.split('/').map(Segment::of));
                variables.push(Variable { field: field.to_owned(), first, end: segments.len() });
                rest = behind;
            } else {
                let end = rest.find('/').unwrap_or(rest.len());
                segments.push(Segment::of(&rest[..end]));
                rest = &rest[end..];
            }
            match rest.strip_prefix('/') {
                Some(behind) => rest = behind,
                None if rest.is_empty() => break,
                None => return Err(bad("a stroke is missing behind a brace")),
            }
        }
        if segments.iter().any(|segment| *segment == Segment::Literal(String::new())) {
            return Err(bad("a segment is empty"));
        }
        if segments.iter().rev().skip(1).any(|segment| *segment == Segment::Rest) {
            return Err(bad("** must be the last segment"));
        }
        Ok(Self { segments, variables, verb })
    }

    /// The fields that the path holds, with their values decoded, if the path fits.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let path = path.strip_prefix('/')?;
        let path = match &self.verb {
            Some(verb) => path.strip_suffix(verb.as_str())?.strip_suffix(':')?,
            None => path,
        };
        let parts: Vec<&str> = path.split('/').collect();
        let fits = self.segments.iter().enumerate().all(|(at, segment)| match (segment, parts.get(at)) {
            (_, None | Some(&"")) => false,
            (Segment::Literal(text), Some(part)) => text == part,
            (Segment::One, Some(_)) => true,
            (Segment::Rest, Some(_)) => parts.iter().skip(at).all(|part| !part.is_empty()),
        });
        let open = self.segments.last() == Some(&Segment::Rest);
        if !fits || (parts.len() > self.segments.len() && !open) {
            return None;
        }
        self.variables
            .iter()
            .map(|variable| {
                let end =
                    if open && variable.end == self.segments.len() { parts.len() } else { variable.end };
                let held = parts.get(variable.first..end)?.join("/");
                Some((variable.field.as_str(), percent_decode_str(&held).decode_utf8().ok()?.into_owned()))
            })
            .collect()
    }

    /// The names of the fields that it holds.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// How OpenAPI writes it: a variable's fixed segments stand before its braces.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            text.push('/');
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::One | Segment::Rest => {
                    let holds = |variable: &&Variable| (variable.first..variable.end).contains(&at);
                    let field = self.variables.iter().find(holds).map_or("", |variable| &variable.field);
                    text.push_str(&format!("{{{field}}}"));
                }
            }
        }
        if let Some(verb) = &self.verb {
            text.push_str(&format!(":{verb}"));
        }
        text
    }
}

impl Segment {
    fn of(text: &str) -> Self {
        match text {
            "*" => Self::One,
            "**" => Self::Rest,
            literal => Self::Literal(literal.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let fields = template.matches(path)?;
        Some(fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    fn one(field: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(field.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_path_fits_its_template_alone() {
        assert_eq!(found("/v1/tokens:issue", "/v1/tokens:issue"), Some(vec![]));
        for path in
            ["/v1/tokens", "/v1/tokens:verify", "/v1/tokens/:issue", "/v1/tokens:issue/", "v1/tokens:issue"]
        {
            assert_eq!(found("/v1/tokens:issue", path), None, "{path}");
        }
        let of_name = "/v1/{name=configurations/*}";
        assert_eq!(found(of_name, "/v1/configurations/1"), one("name", "configurations/1"));
        for path in ["/v1/configurations", "/v1/configurations/", "/v1/configurations/1/2", "/v1/clients/1"] {
            assert_eq!(found(of_name, path), None, "{path}");
        }
        let act = "/v1/{name=configurations/*}:enable";
        assert_eq!(found(act, "/v1/configurations/1:enable"), one("name", "configurations/1"));
        assert_eq!(found(act, "/v1/configurations/1"), None);
        let inner = "/v1/{client=clients/*}/credentials";
        assert_eq!(found(inner, "/v1/clients/7/credentials"), one("client", "clients/7"));
    }

    #[test]
    fn values_are_decoded_and_may_have_strokes_where_the_template_says_so() {
        let act = "/v1/{name=credentials/**}:disable";
        let id = "credentials/uri:https://till.example/7";
        assert_eq!(found(act, "/v1/credentials/uri:https:%2F%2Ftill.example%2F7:disable"), one("name", id));
        assert_eq!(found(act, "/v1/credentials/spki:ab:disable"), one("name", "credentials/spki:ab"));
        assert_eq!(found(act, "/v1/credentials/a/b:disable"), one("name", "credentials/a/b"));
        assert_eq!(found(act, "/v1/credentials/:disable"), None);
        // No UTF-8.
        assert_eq!(found(act, "/v1/credentials/%ff:disable"), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "v1", "/v1/{name", "/v1//x", "/v1/{name}x", "/v1/**/x", "/"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn openapi_writes_variables_as_one_segment() {
        for (template, shown) in [
            ("/v1/{name=configurations/*}:enable", "/v1/configurations/{name}:enable"),
            ("/v1/{client=clients/*}/credentials", "/v1/clients/{client}/credentials"),
            ("/v1/tokens:issue", "/v1/tokens:issue"),
        ] {
            assert_eq!(Template::parse(template).unwrap().shown(), shown);
        }
    }
}
