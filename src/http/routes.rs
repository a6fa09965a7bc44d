//! Which method of the API a request over HTTP asks for: a table made from the `google.api.http`
//! options of the proto files.

use std::sync::Arc;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::template::{BadTemplate, Template};

/// The option.
const OPTION: &str = "google.api.http";

/// One way to call a method.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) verb: Method,
    pub(super) template: Template,
    /// Whether the body holds the message. If not, there is no body.
    pub(super) body: bool,
    pub(super) method: MethodDescriptor,
    /// `/package.Service/Method`.
    pub(super) path: String,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Routes(Vec<Arc<Route>>);

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A method, with the fields that the path holds.
    Route(Arc<Route>, Vec<(String, String)>),
    /// The path is known, for other methods of HTTP: these.
    OtherVerbs(Vec<&'a Method>),
    /// Nothing.
    Nothing,
}

/// Proto files whose options cannot be served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RouteError {
    /// There is no such option, so nothing can be called.
    #[error("the descriptors do not define {OPTION}")]
    NoOption,
    /// A rule that is no rule.
    #[error("{method}: {why}")]
    Rule {
        /// The method.
        method: String,
        /// What is wrong with its rule.
        why: String,
    },
}

impl Routes {
    /// The table of all methods of a pool.
    pub(super) fn new(pool: &DescriptorPool) -> Result<Self, RouteError> {
        let option = pool.get_extension_by_name(OPTION).ok_or(RouteError::NoOption)?;
        let mut routes = Vec::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let failed = |why: String| RouteError::Rule { method: method.full_name().to_owned(), why };
            let options = method.options();
            if !options.has_extension(&option) {
                continue;
            }
            let value = options.get_extension(&option);
            let rule = value.as_message().ok_or_else(|| failed("the option is no message".to_owned()))?;
            let further = rule.get_field_by_name("additional_bindings");
            let further = further.as_deref().and_then(|value| value.as_list()).unwrap_or_default();
            for rule in std::iter::once(rule).chain(further.iter().filter_map(|value| value.as_message())) {
                routes.push(Arc::new(Route::of(rule, &method).map_err(failed)?));
            }
        }
        Ok(Self(routes))
    }

    /// What a request asks for.
    pub(super) fn find(&self, verb: &Method, path: &str) -> Found<'_> {
        let mut others = Vec::new();
        for route in &self.0 {
            let Some(held) = route.template.matches(path) else { continue };
            if route.verb == *verb {
                let held = held.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
                return Found::Route(Arc::clone(route), held);
            }
            others.push(&route.verb);
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherVerbs(others) }
    }

    /// Every route, in the order of the proto files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter().map(Arc::as_ref)
    }
}

impl Route {
    fn of(rule: &DynamicMessage, method: &MethodDescriptor) -> Result<Self, String> {
        let text = |field: &str| -> Option<String> {
            let value = rule.get_field_by_name(field)?;
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let verbs = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        let found = verbs.into_iter().find_map(|(field, verb)| Some((verb, text(field)?)));
        let (verb, template) = found.ok_or("it has no path")?;
        let template = Template::parse(&template).map_err(|error: BadTemplate| error.to_string())?;
        let body = match text("body").as_deref() {
            None => false,
            Some("*") => true,
            Some(field) => return Err(format!("a body for the field {field} alone is not served")),
        };
        for field in template.fields() {
            let known = method.input().get_field_by_name(field);
            if !known.is_some_and(|field| matches!(field.kind(), prost_reflect::Kind::String)) {
                return Err(format!("the path names {field}, which is no text of the request"));
            }
        }
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Ok(Self { verb, template, body, method: method.clone(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DESCRIPTORS;

    fn routes() -> Routes {
        Routes::new(&DescriptorPool::decode(DESCRIPTORS).unwrap()).unwrap()
    }

    #[test]
    fn every_method_of_ours_has_a_route_and_no_two_share_one() {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let routes = routes();
        let ours = pool.services().filter(|service| service.package_name() == "vendkey.v1");
        for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let name = method.full_name();
            assert!(routes.iter().any(|route| route.method.full_name() == name), "{name}");
        }
        for route in routes.iter() {
            let path = route.template.shown().replace(['{', '}'], "");
            match routes.find(&route.verb, &path) {
                Found::Route(found, _) => assert_eq!(found.path, route.path, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_known_path_names_its_verbs() {
        let routes = routes();
        assert!(
            matches!(routes.find(&Method::GET, "/v1/tokens:issue"), Found::OtherVerbs(verbs) if verbs == [&Method::POST])
        );
        assert!(matches!(routes.find(&Method::GET, "/v1/none"), Found::Nothing));
        assert!(matches!(routes.find(&Method::GET, "/vendkey.v1.TokenService/IssueToken"), Found::Nothing));
    }
}
