//! The settings of HTTP with JSON.

use http::HeaderValue;

use super::Reader;

/// Whether HTTP with JSON is spoken beside gRPC, and with whom.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Whether it is spoken at all.
    pub enabled: bool,
    /// Pages of other hosts that may call.
    pub origins: Origins,
    /// The console, which calls by it.
    pub console: ConsoleSettings,
}

/// The pages at `/console/`.
#[derive(Debug, Clone, Copy)]
pub struct ConsoleSettings {
    /// Whether they are served.
    pub enabled: bool,
    /// After how many minutes somebody who does nothing is signed out.
    pub idle_minutes: u32,
}

/// The origins whose pages may call, such as `https://console.example`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

/// A text that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is a scheme, a host and perhaps a port, such as https://console.example:8443")]
pub struct NoOrigin;

impl Origins {
    /// Reads origins that commas part.
    ///
    /// # Errors
    /// [`NoOrigin`]: one of them is none. `*` is none: whoever may call is named.
    pub fn parse(texts: &str) -> Result<Self, NoOrigin> {
        let one = |text: &str| {
            let uri: http::Uri = text.parse().map_err(|_| NoOrigin)?;
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            if known
                && bare
                && !text.ends_with('/')
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none()
            {
                HeaderValue::from_str(&text.to_ascii_lowercase()).map_err(|_| NoOrigin)
            } else {
                Err(NoOrigin)
            }
        };
        let named = texts.split(',').map(str::trim).filter(|_| !texts.trim().is_empty());
        named.map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this is one of them.
    pub fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }
}

impl Reader<'_> {
    pub(super) fn http(&mut self) -> Option<HttpSettings> {
        let enabled = self.parsed("http.enabled", true, "true or false");
        let text = self.text("http.origins").unwrap_or_default();
        let origins = Origins::parse(&text);
        if let Err(error) = &origins {
            self.fault("http.origins", format!("{text:?}: {error}; several are parted by commas"));
        }
        let console = self.parsed("console.enabled", true, "true or false");
        let idle_minutes = self.within("console.idle_minutes", 15, 1..=480);
        let console = ConsoleSettings { enabled: console?, idle_minutes: idle_minutes? };
        Some(HttpSettings { enabled: enabled?, origins: origins.ok()?, console })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_nobody_is_everybody() {
        for bad in [
            "*",
            "https://a,",
            "console.example",
            "https://",
            "https://a/b",
            "https://a/",
            "ftp://a",
            "https://u@a",
        ] {
            assert_eq!(Origins::parse(bad), Err(NoOrigin), "{bad}");
        }
        assert_eq!(Origins::parse(" "), Ok(Origins::default()));
        assert_eq!(Origins::parse("https://a, http://b:80").map(|origins| origins.0.len()), Ok(2));
    }
}
