//! The shape of the API: a golden copy of its descriptors, which a breaking change does not pass
//! unseen, and the naming of AIP and of buf's standard rules. And the oldest Rust that is promised.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use vendkey::api::DESCRIPTORS;

const PACKAGE: &str = "vendkey.v1";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages().filter(|message| message.package_name() == PACKAGE).collect()
}

fn enums(pool: &DescriptorPool) -> Vec<EnumDescriptor> {
    pool.all_enums().filter(|found| found.package_name() == PACKAGE).collect()
}

fn kind(field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(found) => found.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let cardinality = match field.cardinality() {
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.field_descriptor_proto().proto3_optional() => "optional ",
        Cardinality::Optional => "",
    };
    match field.containing_oneof().filter(|_| !field.field_descriptor_proto().proto3_optional()) {
        Some(oneof) => format!("{cardinality}{name} of {}", oneof.name()),
        None => format!("{cardinality}{name}"),
    }
}

/// One line for each thing that a client may depend on.
fn shape(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for message in messages(pool).iter().filter(|message| !message.is_map_entry()) {
        lines.insert(format!("message {}", message.full_name()));
        for field in message.fields() {
            lines.insert(format!("{} = {} {}", field.full_name(), field.number(), kind(&field)));
        }
    }
    for found in enums(pool) {
        for value in found.values() {
            lines.insert(format!("{}.{} = {}", found.full_name(), value.name(), value.number()));
        }
    }
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        for method in service.methods() {
            let side = |stream: bool, name: &str| format!("{}{name}", if stream { "stream " } else { "" });
            let input = side(method.is_client_streaming(), method.input().full_name());
            let output = side(method.is_server_streaming(), method.output().full_name());
            lines.insert(format!("rpc {}({input}) -> {output}", method.full_name()));
        }
    }
    lines
}

#[test]
fn the_api_is_what_clients_were_promised() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/vendkey.v1.txt");
    let now = shape(&pool());
    if std::env::var_os("VENDKEY_ACCEPT_API").is_some() {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&golden, text).unwrap();
    }
    let text = fs::read_to_string(&golden).unwrap();
    let promised: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let broken: Vec<&String> = promised.difference(&now).collect();
    assert!(
        broken.is_empty(),
        "clients of released servers depend on this, and it is gone or different: {broken:#?}\n\
         If that is meant, say so in CHANGELOG.md and run `make accept-api`."
    );
    let new: Vec<&String> = now.difference(&promised).collect();
    assert!(
        new.is_empty(),
        "new, and not promised yet: {new:#?}\nRun `make accept-api`, and look at the change."
    );
}

/// The description of the paths of HTTP, in the same way: a golden copy, so that a change is seen.
#[test]
fn the_paths_are_what_clients_were_promised() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    let now = vendkey::http::openapi().unwrap();
    if std::env::var_os("VENDKEY_ACCEPT_API").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    let promised = fs::read_to_string(&golden).unwrap();
    assert!(
        promised == now,
        "the description of the paths is another: run `make accept-api`, and look at the change"
    );
}

fn is_case(name: &str, first: fn(&char) -> bool, others: fn(char) -> bool) -> bool {
    name.starts_with(|letter| first(&letter)) && name.chars().all(others)
}

#[test]
fn names_follow_the_usual_rules() {
    let pool = pool();
    let lower = |name: &str| {
        is_case(name, char::is_ascii_lowercase, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let upper = |name: &str| {
        is_case(name, char::is_ascii_uppercase, |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let camel = |name: &str| is_case(name, char::is_ascii_uppercase, |c| c.is_ascii_alphanumeric());
    let mut wrong = Vec::new();
    for message in messages(&pool).iter().filter(|message| !message.is_map_entry()) {
        if !camel(message.name()) {
            wrong.push(format!("message {}", message.full_name()));
        }
        wrong.extend(
            message.fields().filter(|field| !lower(field.name())).map(|field| field.full_name().to_owned()),
        );
    }
    for found in enums(&pool) {
        for value in found.values() {
            if !upper(value.name()) {
                wrong.push(value.full_name().to_owned());
            }
            if (value.number() == 0) != value.name().ends_with("_UNSPECIFIED") {
                wrong.push(format!("{}: 0 and UNSPECIFIED go together", value.full_name()));
            }
        }
    }
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        if !service.name().ends_with("Service") || !camel(service.name()) {
            wrong.push(service.full_name().to_owned());
        }
        for method in service.methods() {
            let name = method.name();
            if !camel(name) {
                wrong.push(method.full_name().to_owned());
            }
            // AIP-131 to 136: a request of the method's own; a response of its own or a resource.
            let stream = method.is_client_streaming();
            if method.input().name() != format!("{name}Request") && !stream {
                wrong.push(format!("{}: its request is {}", method.full_name(), method.input().name()));
            }
            let output = method.output().name().to_owned();
            if output.ends_with("Response") && output != format!("{name}Response") && !stream {
                wrong.push(format!("{}: its response is {output}", method.full_name()));
            }
            if output.ends_with("Request") {
                wrong.push(format!("{}: answers a request", method.full_name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cargo.toml promises a Rust that our dependencies bear, and clippy looks for what is younger.
#[test]
fn the_oldest_rust_is_old_enough_for_all() {
    let version = |text: &str| -> (u64, u64) {
        let mut parts = text.split('.').map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap_or(0))
    };
    let ours = env!("CARGO_PKG_RUST_VERSION");
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    // What is linked into the program: normal dependencies, from the root on.
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let (mut linked, mut next) = (BTreeSet::new(), vec![metadata["resolve"]["root"].as_str().unwrap()]);
    while let Some(id) = next.pop() {
        if !linked.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let normal =
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
            next.extend(normal.then(|| dependency["pkg"].as_str().unwrap()));
        }
    }
    assert!(linked.len() > 50, "the dependencies were not found");
    let packages = metadata["packages"].as_array().unwrap().iter();
    let younger: Vec<String> = packages
        .filter(|package| linked.contains(package["id"].as_str().unwrap()))
        .filter_map(|package| Some((package["name"].as_str()?, package["rust_version"].as_str()?)))
        .filter(|(_, wanted)| version(wanted) > version(ours))
        .map(|(name, wanted)| format!("{name} wants {wanted}"))
        .collect();
    assert!(younger.is_empty(), "Cargo.toml promises Rust {ours}: {younger:?}");
    assert!(
        include_str!("../clippy.toml").contains(&format!("msrv = \"{ours}\"")),
        "clippy.toml names another"
    );
}
