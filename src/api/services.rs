//! The services of the API: each call is parsed, done by [`Acts`], and its answer shown. One file
//! for each service.

use std::{sync::Arc, time::Duration};

use crate::acts::Acts;

/// All services, over what does the calls.
pub struct Services {
    pub(super) acts: Arc<Acts>,
    /// After how long a stream on which nothing comes is ended.
    pub(super) stream_idle: Duration,
}

impl Services {
    /// Over the acts. A stream on which nothing comes for `stream_idle` is ended.
    pub fn new(acts: Arc<Acts>, stream_idle: Duration) -> Self {
        Self { acts, stream_idle }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    use crate::{access::methods, api::DESCRIPTORS};

    #[test]
    fn every_method_of_the_api_is_in_the_table_once() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let served: BTreeSet<String> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        let known: BTreeSet<String> = methods().iter().map(|(method, _)| (*method).to_owned()).collect();
        assert_eq!(known.len(), methods().len(), "a method stands twice in the table");
        let ours = known.into_iter().filter(|method| !method.starts_with("/grpc.reflection.")).collect();
        assert_eq!(served, ours);
    }
}
