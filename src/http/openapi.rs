//! The description of all paths, OpenAPI 3.1, made from the same descriptors and from the comments
//! of the proto files.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Map, Value, json};

use super::routes::{Route, Routes};

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const REQUEST_ID: &str = "request_id";

/// The document, with line ends so that a change of it can be read.
pub(super) fn document(pool: &DescriptorPool, routes: &Routes) -> String {
    let mut document = Document { comments: Comments::new(pool), schemas: BTreeSet::new() };
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for route in routes.iter() {
        let service = route.method.parent_service();
        let tag = json!({"name": service.name(), "description": document.comments.of(&service.parent_file(), service.path())});
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        let path = paths.entry(route.template.shown()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.verb.as_str().to_lowercase(), document.operation(route));
        }
    }
    let schemas = document.all_schemas(pool);
    let whole = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vendkey",
            "version": "v1",
            "description": "Key management for prepaid vending: the methods of the gRPC API over HTTP with JSON. \
                Messages are in protobuf's JSON mapping: names in lowerCamelCase, 64-bit integers as texts, fields that \
                have their default value left out. Repeat a request under the same requestId (or Idempotency-Key) after \
                any failure that does not say `issued: no`.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"credential": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"credential": {
                "type": "http", "scheme": "bearer",
                "description": "The content of a credential file. A client certificate may stand in its place.",
            }},
            "schemas": schemas,
        },
    });
    let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
    text.push('\n');
    text
}

struct Document {
    comments: Comments,
    /// The full names of the messages and enums that are named.
    schemas: BTreeSet<String>,
}

impl Document {
    fn operation(&mut self, route: &Route) -> Value {
        let method = &route.method;
        let described = self.comments.of(&method.parent_file(), method.path());
        let summary =
            described.split_inclusive(['.', ':']).next().unwrap_or_default().trim_end_matches(['.', ':']);
        let kind = |stream| if stream { "application/x-ndjson" } else { "application/json" };
        let output = self.reference(&method.output());
        let mut operation = json!({
            "operationId": operation_id(route),
            "tags": [method.parent_service().name()],
            "summary": if summary.is_empty() { method.name() } else { summary },
            "description": described,
            "parameters": self.parameters(route),
            "responses": {
                "200": {
                    "description": if method.is_server_streaming() {
                        "One message in each line. A last line {\"error\": Status} says why a stream ended early."
                    } else {
                        "Done."
                    },
                    "content": {kind(method.is_server_streaming()): {"schema": output}},
                },
                "default": {
                    "description": "Refused: `details` hold ErrorInfo with the reason and whether a token may be issued, \
                        BadRequest with every bad field, RetryInfo where waiting helps.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
                },
            },
        });
        if route.body
            && let Some(operation) = operation.as_object_mut()
        {
            let input = self.reference(&method.input());
            let content = json!({kind(method.is_client_streaming()): {"schema": input}});
            operation.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
        }
        operation
    }

    fn parameters(&mut self, route: &Route) -> Vec<Value> {
        let input = route.method.input();
        let held: Vec<&str> = route.template.fields().collect();
        let mut parameters = Vec::new();
        for field in input.fields() {
            let in_path = held.contains(&field.name());
            let in_query = !in_path && !route.body && is_plain(&field);
            if in_path || in_query {
                let schema = self.schema(&field);
                parameters.push(json!({
                    "name": if in_path { field.name() } else { field.json_name() },
                    "in": if in_path { "path" } else { "query" },
                    "required": in_path,
                    "description": self.comments.of(&input.parent_file(), field.path()),
                    "schema": schema,
                }));
            }
        }
        if route.body && !route.method.is_client_streaming() && input.get_field_by_name(REQUEST_ID).is_some()
        {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"},
                "description": "The request_id, where the body has none.",
            }));
        }
        parameters
    }

    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        self.schemas.insert(message.full_name().to_owned());
        json!({"$ref": format!("#/components/schemas/{}", short(message.full_name()))})
    }

    fn schema(&mut self, field: &FieldDescriptor) -> Value {
        let one = match field.kind() {
            Kind::Message(message) if message.full_name() == TIMESTAMP => {
                json!({"type": "string", "format": "date-time"})
            }
            Kind::Message(message) => self.reference(&message),
            Kind::Enum(found) => {
                self.schemas.insert(found.full_name().to_owned());
                json!({"$ref": format!("#/components/schemas/{}", short(found.full_name()))})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "string", "format": "int64"}),
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
        };
        if field.cardinality() == Cardinality::Repeated {
            json!({"type": "array", "items": one})
        } else {
            one
        }
    }

    /// The schemas that are named, and those that they name.
    fn all_schemas(&mut self, pool: &DescriptorPool) -> BTreeMap<String, Value> {
        let mut done = BTreeMap::from([("Status".to_owned(), status())]);
        loop {
            let missing: Vec<String> =
                self.schemas.iter().filter(|name| !done.contains_key(short(name))).cloned().collect();
            if missing.is_empty() {
                return done;
            }
            for name in missing {
                let schema = if let Some(message) = pool.get_message_by_name(&name) {
                    self.message(&message)
                } else if let Some(found) = pool.get_enum_by_name(&name) {
                    self.enumeration(&found)
                } else {
                    json!({})
                };
                done.insert(short(&name).to_owned(), schema);
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let mut described = self.comments.of(&message.parent_file(), field.path());
            if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                let names: Vec<String> = oneof.fields().map(|field| field.json_name().to_owned()).collect();
                let others = format!("At most one of {} may be given.", names.join(", "));
                described = [described, others].join(" ").trim().to_owned();
            }
            let mut schema = self.schema(&field);
            if let Some(schema) = schema.as_object_mut()
                && !described.is_empty()
            {
                schema.insert("description".to_owned(), described.into());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        json!({
            "type": "object",
            "description": self.comments.of(&message.parent_file(), message.path()),
            "properties": properties,
            "additionalProperties": false,
        })
    }

    fn enumeration(&mut self, found: &EnumDescriptor) -> Value {
        let mut described = self.comments.of(&found.parent_file(), found.path());
        for value in found.values() {
            let comment = self.comments.of(&found.parent_file(), value.path());
            if !comment.is_empty() {
                described.push_str(&format!("\n\n{}: {comment}", value.name()));
            }
        }
        let names: Vec<String> = found.values().map(|value| value.name().to_owned()).collect();
        json!({"type": "string", "enum": names, "description": described.trim()})
    }
}

/// The first way to call a method has its name; others say what their path holds besides.
fn operation_id(route: &Route) -> String {
    let path = route.template.shown();
    match path.rsplit_once(":by") {
        Some((_, by)) => format!("{}By{by}", route.method.name()),
        None => route.method.name().to_owned(),
    }
}

/// A field that a query can hold.
fn is_plain(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => message.full_name() == TIMESTAMP,
        _ => true,
    }
}

/// The name without its package: those of one API are told apart without.
fn short(name: &str) -> &str {
    name.strip_prefix("vendkey.v1.").unwrap_or(name)
}

fn status() -> Value {
    json!({
        "type": "object",
        "description": "google.rpc.Status: why a call was refused.",
        "properties": {
            "code": {"type": "integer", "description": "google.rpc.Code."},
            "message": {"type": "string", "description": "For people."},
            "details": {
                "type": "array",
                "description": "google.rpc.ErrorInfo, BadRequest and RetryInfo, told apart by @type.",
                "items": {"type": "object", "properties": {"@type": {"type": "string"}}},
            },
        },
    })
}

/// The comments of proto files, by file and by path of the thing.
struct Comments(BTreeMap<(String, Vec<i32>), String>);

impl Comments {
    fn new(pool: &DescriptorPool) -> Self {
        let mut all = BTreeMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
            for place in info.location {
                if let Some(comment) = place.leading_comments {
                    let lines: Vec<&str> = comment.lines().map(str::trim).collect();
                    all.insert((file.name().to_owned(), place.path), lines.join(" ").trim().to_owned());
                }
            }
        }
        Self(all)
    }

    fn of(&self, file: &FileDescriptor, path: &[i32]) -> String {
        self.0.get(&(file.name().to_owned(), path.to_vec())).cloned().unwrap_or_default()
    }
}
