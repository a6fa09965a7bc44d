//! The names of all methods, from the descriptors: what may be a label, whatever path a caller makes up.

use std::{collections::HashSet, sync::LazyLock};

use prost_reflect::DescriptorPool;

use super::DESCRIPTORS;

/// What every other path is called.
const UNKNOWN: &str = "unknown";

static METHODS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let sets =
        [DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    let mut methods = HashSet::new();
    for pool in sets.into_iter().filter_map(|set| DescriptorPool::decode(set).ok()) {
        for service in pool.services() {
            methods.extend(
                service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())),
            );
        }
    }
    methods
});

/// The path itself if it is one of a method, otherwise `unknown`.
pub(crate) fn method(path: &str) -> &'static str {
    METHODS.get(path).map_or(UNKNOWN, String::as_str)
}

/// The names of our own services.
pub(crate) fn services() -> Vec<String> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap_or_default();
    pool.services().map(|service| service.full_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_and_others_are_not() {
        for known in [
            "/vendkey.v1.TokenService/StreamTokens",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(method(known), known);
        }
        assert_eq!(method("/vendkey.v1.TokenService/47500150231"), UNKNOWN);
    }
}
