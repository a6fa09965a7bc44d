//! Messages out of what a request over HTTP holds: path, query and body, in protobuf's JSON mapping.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

use super::{routes::Route, unique::Unique};
use crate::acts::{Reason, Refusal};

/// The field that an `Idempotency-Key` fills.
const REQUEST_ID: &str = "request_id";

/// What a request without a body asks for: fields from its path and its query.
pub(super) fn of_query(
    route: &Route,
    held: &[(String, String)],
    query: Option<&str>,
) -> Result<DynamicMessage, Refusal> {
    let input = route.method.input();
    let mut object = serde_json::Map::new();
    let mut faults = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let field = match field(&input, &name) {
            Some(field) if route.template.fields().any(|held| held == field.name()) => {
                faults.push((name.into_owned(), "the path holds it already".to_owned()));
                continue;
            }
            Some(field) => field,
            None => {
                faults.push((name.into_owned(), "the request has no such field".to_owned()));
                continue;
            }
        };
        match of_text(&field, &value) {
            Ok(json) if field.is_list() => {
                if let Json::Array(list) = object.entry(field.json_name()).or_insert(Json::Array(vec![])) {
                    list.push(json);
                }
            }
            Ok(json) => {
                if object.insert(field.json_name().to_owned(), json).is_some() {
                    faults.push((name.into_owned(), "it is given twice".to_owned()));
                }
            }
            Err(fault) => faults.push((name.into_owned(), fault.to_owned())),
        }
    }
    if !faults.is_empty() {
        return Err(Refusal::fields(Reason::InvalidFields, faults));
    }
    let message = of_json(input, &Json::Object(object).to_string().into_bytes())?;
    with_path(message, held)
}

/// What a request with a body asks for.
pub(super) fn of_body(
    route: &Route,
    held: &[(String, String)],
    body: &[u8],
    key: Option<&str>,
) -> Result<DynamicMessage, Refusal> {
    // Nothing is an empty message: many methods need no more than what the path says.
    let body = if body.is_empty() { b"{}" } else { body };
    with_key(with_path(of_json(route.method.input(), body)?, held)?, key)
}

/// A message in protobuf's JSON mapping. Fields that are not known are refused.
pub(super) fn of_json(input: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut place = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut place);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(input, tracked, &options);
    let message = message.map_err(|error| malformed(&place.path().to_string(), &error))?;
    reader.end().map_err(|error| malformed(".", &error))?;
    serde_json::from_slice::<Unique>(json).map_err(|error| malformed(".", &error))?;
    Ok(message)
}

fn malformed(place: &str, error: &serde_json::Error) -> Refusal {
    let place = if place == "." || place.is_empty() { "body" } else { place };
    Refusal::fields(Reason::JsonMalformed, vec![(place.to_owned(), error.to_string())])
}

/// Fields of a path are texts. What the body says of them must be the same.
fn with_path(mut message: DynamicMessage, held: &[(String, String)]) -> Result<DynamicMessage, Refusal> {
    let mut faults = Vec::new();
    for (field, value) in held {
        let there = message.get_field_by_name(field).and_then(|found| found.as_str().map(str::to_owned));
        if there.is_some_and(|there| !there.is_empty() && there != *value) {
            faults.push((field.clone(), "path and body say different things".to_owned()));
        }
        message.set_field_by_name(field, Value::String(value.clone()));
    }
    if faults.is_empty() { Ok(message) } else { Err(Refusal::fields(Reason::InvalidFields, faults)) }
}

/// The key of the header, where the message has a request id and the body gave none.
fn with_key(mut message: DynamicMessage, key: Option<&str>) -> Result<DynamicMessage, Refusal> {
    let (Some(key), Some(found)) = (key, message.get_field_by_name(REQUEST_ID)) else { return Ok(message) };
    let given = found.as_str().unwrap_or_default().to_owned();
    if given.is_empty() {
        message.set_field_by_name(REQUEST_ID, Value::String(key.to_owned()));
    } else if given != key {
        let fault = "Idempotency-Key and body say different things".to_owned();
        return Err(Refusal::fields(Reason::InvalidFields, vec![(REQUEST_ID.to_owned(), fault)]));
    }
    Ok(message)
}

fn field(input: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    input.get_field_by_name(name).or_else(|| input.get_field_by_json_name(name))
}

/// A text of the query as JSON has it.
fn of_text(field: &FieldDescriptor, text: &str) -> Result<Json, &'static str> {
    match field.kind() {
        Kind::Bool => match text {
            "true" | "" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            _ => Err("true or false is expected"),
        },
        Kind::Message(message) if message.full_name() != "google.protobuf.Timestamp" => {
            Err("a message cannot stand in a query")
        }
        // Numbers and names of enums may be texts in protobuf's JSON mapping, times are.
        _ => Ok(Json::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use prost_reflect::{DescriptorPool, ReflectMessage as _};

    use super::super::routes::{Found, Routes};
    use super::*;
    use crate::api::DESCRIPTORS;

    fn read(verb: Method, path: &str, query: &str, body: &str, key: Option<&str>) -> Result<String, Refusal> {
        let routes = Routes::new(&DescriptorPool::decode(DESCRIPTORS).unwrap()).unwrap();
        let Found::Route(route, held) = routes.find(&verb, path) else { panic!("{path}") };
        let message = if route.body {
            of_body(&route, &held, body.as_bytes(), key)?
        } else {
            of_query(&route, &held, Some(query))?
        };
        assert_eq!(message.descriptor(), route.method.input());
        Ok(serde_json::to_string(&message).unwrap())
    }

    fn refused(verb: Method, path: &str, query: &str, body: &str) -> (Reason, Vec<(String, String)>) {
        let refusal = read(verb, path, query, body, None).unwrap_err();
        (refusal.reason, refusal.violations)
    }

    #[test]
    fn a_query_fills_fields_of_every_kind() {
        let query = "pageSize=5&page_token=a%2Bb&tokenClass=0&digits=true&startTime=2026-01-02T03:04:05Z";
        let found = read(Method::GET, "/v1/issuedTokens", query, "", None).unwrap();
        assert_eq!(
            found,
            r#"{"pageSize":5,"pageToken":"a+b","tokenClass":0,"startTime":"2026-01-02T03:04:05Z","digits":true}"#
        );
        let of_path = read(Method::GET, "/v1/configurations/7", "", "", None).unwrap();
        assert_eq!(of_path, r#"{"name":"configurations/7"}"#);
    }

    #[test]
    fn every_bad_field_of_a_query_is_told() {
        let (reason, faults) =
            refused(Method::GET, "/v1/issuedTokens", "digits=yes&colour=red&pageSize=1&pageSize=2", "");
        assert_eq!(reason, Reason::InvalidFields);
        let fields: Vec<&str> = faults.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["digits", "colour", "pageSize"]);
        assert_eq!(refused(Method::GET, "/v1/configurations/7", "name=x", "").1[0].0, "name");
        assert_eq!(refused(Method::GET, "/v1/issuedTokens", "pageSize=many", "").0, Reason::JsonMalformed);
    }

    #[test]
    fn a_body_is_read_strictly() {
        let issue = |body| read(Method::POST, "/v1/tokens:issue", "", body, None);
        let good = r#"{"meter":"1","electricityCredit":{"tenths":"5","rounding":"ROUNDING_UP"}}"#;
        assert_eq!(issue(good).unwrap(), good);
        // Names of the proto file, numbers as numbers, enums by number.
        let other = r#"{"meter":"1","electricity_credit":{"tenths":5,"rounding":1}}"#;
        assert_eq!(issue(other).unwrap(), good);
        for bad in [
            "[]",
            "1",
            "{",
            "{}{}",
            r#"{"metre":"1"}"#,
            r#"{"meter":1}"#,
            r#"{"meter":"1","meter":"2"}"#,
            r#"{"electricityCredit":{"tenths":1},"electricity_credit":{"tenths":2}}"#,
            r#"{"electricityCredit":{"tenths":1,"tenths":1}}"#,
            r#"{"electricityCredit":{"tenths":-1}}"#,
            r#"{"electricityCredit":{"tenths":1.5}}"#,
            r#"{"electricityCredit":{"tenths":"18446744073709551616"}}"#,
            r#"{"electricityCredit":{"rounding":"UP"}}"#,
            r#"{"electricityCredit":{},"waterCredit":{}}"#,
            r#"{"tokenTime":"yesterday"}"#,
        ] {
            assert_eq!(issue(bad).unwrap_err().reason, Reason::JsonMalformed, "{bad}");
        }
        // Bytes that are no text, a mark of their order, and other encodings.
        let routes = Routes::new(&DescriptorPool::decode(DESCRIPTORS).unwrap()).unwrap();
        let Found::Route(route, held) = routes.find(&Method::POST, "/v1/tokens:issue") else { panic!() };
        for bad in [
            &b"{\"meter\":\"\xff\"}"[..],
            b"{\"meter\":\"\xed\xa0\x80\"}",
            b"{\"meter\":\"\\ud800\"}",
            b"\xef\xbb\xbf{}",
            b"{\0\"\0m\0",
            b"\0",
        ] {
            assert_eq!(
                of_body(&route, &held, bad, None).unwrap_err().reason,
                Reason::JsonMalformed,
                "{bad:?}"
            );
        }
        let deep = format!("{}1{}", r#"{"electricityCredit":"#.repeat(1_000), "}".repeat(1_000));
        assert_eq!(issue(&deep).unwrap_err().reason, Reason::JsonMalformed);
        let (_, faults) =
            refused(Method::POST, "/v1/tokens:issue", "", r#"{"electricityCredit":{"tenths":"x"}}"#);
        assert_eq!(faults[0].0, "electricityCredit.tenths");
    }

    #[test]
    fn path_body_and_key_must_agree() {
        let path = "/v1/configurations/7:enable";
        for body in ["", "{}", r#"{"name":"configurations/7"}"#] {
            assert_eq!(read(Method::POST, path, "", body, None).unwrap(), r#"{"name":"configurations/7"}"#);
        }
        assert_eq!(
            refused(Method::POST, path, "", r#"{"name":"configurations/8"}"#).0,
            Reason::InvalidFields
        );

        let issue = |body, key| read(Method::POST, "/v1/tokens:issue", "", body, Some(key));
        assert_eq!(issue("{}", "k").unwrap(), r#"{"requestId":"k"}"#);
        assert_eq!(issue(r#"{"requestId":"k"}"#, "k").unwrap(), r#"{"requestId":"k"}"#);
        assert!(issue(r#"{"requestId":"other"}"#, "k").is_err());
        // A message without a request id needs no key.
        assert_eq!(read(Method::POST, path, "", "", Some("k")).unwrap(), r#"{"name":"configurations/7"}"#);
    }
}
