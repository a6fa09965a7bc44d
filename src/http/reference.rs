//! `/openapi.json` as a page for people: made from the same document, without scripts and without
//! anything from elsewhere.

use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::chart::escaped;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d5dae3;--head:#f1f4f8;--quiet:#556072}\
@media(prefers-color-scheme:dark){:root{--line:#3a4150;--head:#232936;--quiet:#a3adbd}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1.25rem}\
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}h3{margin:1.8rem 0 .3rem;font-size:1rem}\
code{font-family:ui-monospace,monospace;font-size:.92em}p{margin:.3rem 0}.quiet{color:var(--quiet)}\
table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.4rem 0}td,th{text-align:left;vertical-align:top;\
padding:.25rem .6rem;border-bottom:1px solid var(--line)}th{background:var(--head)}ul{columns:2;padding-left:1.2rem}";

/// The page, and the Content-Security-Policy under which it is whole.
pub(super) fn page(document: &Value) -> (String, String) {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, document);
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    (page, policy)
}

fn write_page(page: &mut String, document: &Value) -> fmt::Result {
    let none = Map::new();
    let paths = document["paths"].as_object().unwrap_or(&none);
    let schemas = document["components"]["schemas"].as_object().unwrap_or(&none);
    let title = format!("{} {}", text(&document["info"]["title"]), text(&document["info"]["version"]));
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n\
         <p class=\"quiet\">For machines: <a href=\"/openapi.json\">/openapi.json</a>.</p>",
        escaped(text(&document["info"]["description"])),
        title = escaped(&title),
    )?;
    page.push_str("<nav aria-label=\"Methods\"><ul>\n");
    for (path, verb, operation) in operations(paths) {
        let id = text(&operation["operationId"]);
        writeln!(
            page,
            "<li><a href=\"#{id}\"><code>{verb} {}</code></a></li>",
            escaped(path),
            id = escaped(id)
        )?;
    }
    page.push_str("</ul></nav>\n");
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        writeln!(page, "<h2>{}</h2>\n<p>{}</p>", escaped(name), escaped(text(&tag["description"])))?;
        let of_tag = |operation: &Value| operation["tags"][0].as_str() == Some(name);
        for (path, verb, operation) in operations(paths).filter(|(_, _, operation)| of_tag(operation)) {
            write_operation(page, path, &verb, operation)?;
        }
    }
    page.push_str("<h2>Messages</h2>\n");
    for (name, schema) in schemas {
        write_schema(page, name, schema)?;
    }
    page.push_str("</body>\n</html>\n");
    Ok(())
}

fn operations(paths: &Map<String, Value>) -> impl Iterator<Item = (&str, String, &Value)> {
    paths.iter().flat_map(|(path, verbs)| {
        let verbs = verbs.as_object().into_iter().flatten();
        verbs.map(move |(verb, operation)| (path.as_str(), verb.to_uppercase(), operation))
    })
}

fn write_operation(page: &mut String, path: &str, verb: &str, operation: &Value) -> fmt::Result {
    let id = text(&operation["operationId"]);
    writeln!(
        page,
        "<h3 id=\"{id}\"><code>{verb} {}</code></h3>\n<p>{}</p>",
        escaped(path),
        escaped(text(&operation["description"])),
        id = escaped(id),
    )?;
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<table>\n<tr><th>name</th><th>in</th><th>type</th><th></th></tr>\n");
        for parameter in parameters {
            writeln!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(text(&parameter["name"])),
                escaped(text(&parameter["in"])),
                kind(&parameter["schema"]),
                escaped(text(&parameter["description"])),
            )?;
        }
        page.push_str("</table>\n");
    }
    let content = |value: &Value| -> String {
        let content = value["content"].as_object().into_iter().flatten();
        content
            .map(|(media, content)| {
                format!("{} as <code>{}</code>", kind(&content["schema"]), escaped(media))
            })
            .collect()
    };
    let (body, answer) = (content(&operation["requestBody"]), content(&operation["responses"]["200"]));
    if !body.is_empty() {
        writeln!(page, "<p>Body: {body}</p>")?;
    }
    writeln!(page, "<p>Answer: {answer}</p>")
}

fn write_schema(page: &mut String, name: &str, schema: &Value) -> fmt::Result {
    writeln!(
        page,
        "<h3 id=\"schema-{name}\"><code>{name}</code></h3>\n<p>{}</p>",
        escaped(text(&schema["description"])),
        name = escaped(name),
    )?;
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<String> =
            names.iter().map(|name| format!("<code>{}</code>", escaped(text(name)))).collect();
        return writeln!(page, "<p>{}</p>", names.join(", "));
    }
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty())
    else {
        return Ok(());
    };
    page.push_str("<table>\n<tr><th>field</th><th>type</th><th></th></tr>\n");
    for (name, property) in properties {
        writeln!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            escaped(name),
            kind(property),
            escaped(text(&property["description"])),
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// A type, with a link to what it is.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    match text(&schema["type"]) {
        "array" => format!("list of {}", kind(&schema["items"])),
        plain => {
            let more = [text(&schema["format"]), text(&schema["contentEncoding"])].concat();
            let more = if more.is_empty() { more } else { format!(" ({more})") };
            format!("{}{}", escaped(plain), escaped(&more))
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(page: &str, before: &str) -> BTreeSet<String> {
        page.split(before).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    }

    #[test]
    fn every_method_and_message_is_there_and_every_link_leads_somewhere() {
        let document: Value = serde_json::from_str(&crate::http::openapi().unwrap()).unwrap();
        let (page, policy) = page(&document);
        let (links, ids) = (all(&page, "href=\"#"), all(&page, "id=\""));
        assert!(links.is_subset(&ids), "{:?}", links.difference(&ids));
        let methods: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|verbs| verbs.as_object().unwrap().len())
            .sum();
        let messages = document["components"]["schemas"].as_object().unwrap().len();
        assert_eq!(ids.len(), methods + messages, "none stands there twice");
        for elsewhere in ["http:", "https:", "<script", "src=", "style=\""] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        assert!(policy.contains("sha256-"));
    }

    #[test]
    fn nothing_of_a_comment_becomes_markup() {
        let document = serde_json::json!({
            "info": {"title": "<b>", "version": "1", "description": "a < b"},
            "tags": [{"name": "<i>", "description": ""}],
            "paths": {"/v1/<x>": {"get": {"operationId": "\"><u>", "tags": ["<i>"], "description": "<p onclick=1>",
                "parameters": [{"name": "<s>", "in": "query", "schema": {"type": "<t>"}}]}}},
            "components": {"schemas": {"<m>": {"properties": {"<f>": {"$ref": "#/components/schemas/<r>"}}}}},
        });
        let (page, _) = page(&document);
        for markup in ["<b>", "<i>", "<x>", "<u>", "onclick=1>", "<s>", "<t>", "<m>", "<f>", "<r>"] {
            assert!(!page.contains(markup), "{markup}");
        }
    }
}
