//! The addresses that the server was told to listen on, bound, and the services that each offers.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::Signal,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tower::Layer as _;

use super::{
    ServeError, ending::Stage, health::HealthService, listener::Listener, services::Parts, tasks::Tasks,
    tls::Tls,
};
use crate::{api::AuthenticationLayer, clock::Clock, settings::Settings};

/// How often the files of TLS are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// One listener for all, or one for tills and one for administrators.
pub(super) struct Listeners {
    main: Listener,
    administration: Option<Listener>,
}

impl Listeners {
    pub(super) async fn bind(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Self, ServeError> {
        let (server, wire) = (&settings.server, settings.wire);
        let main = Listener::bind("main", &server.main, wire, clock.clone()).await?;
        let administration = match &server.administration {
            None => None,
            Some(settings) => Some(Listener::bind("administration", settings, wire, clock.clone()).await?),
        };
        Ok(Self { main, administration })
    }

    /// The certificates, to be taken up again when their files change.
    pub(super) fn tls(&self) -> Vec<Arc<Tls>> {
        self.administration.iter().chain([&self.main]).filter_map(Listener::tls).collect()
    }

    /// Says where the server listens: to the log, and to whoever started it, in one piece.
    pub(super) fn announce(&self) {
        let mut lines = format!("listening on {}\n", self.main.url());
        if let Some(listener) = &self.administration {
            lines.push_str(&format!("administration listening on {}\n", listener.url()));
        }
        for line in lines.lines() {
            tracing::info!("{line}");
        }
        // Nobody has to read it.
        let _ = io::stdout().write_all(lines.as_bytes());
    }

    /// Serves until the server ends.
    pub(super) fn serve(
        self,
        tasks: &mut Tasks,
        parts: &Parts,
        health: HealthService,
        authentication: &AuthenticationLayer,
        stages: &watch::Receiver<Stage>,
    ) -> Result<(), ServeError> {
        let web = parts.web()?;
        let main = parts.tokens(Parts::common(health.clone(), &parts.wire)?);
        let (main, web) = match self.administration {
            None => (parts.administration(main), parts.with_console(web, true)),
            Some(listener) => {
                let routes = parts.administration_alone(Parts::common(health, &parts.wire)?);
                let service = authentication.layer(routes.prepare());
                let with_console = parts.with_console(web.clone(), false);
                tasks.spawn_until_end(
                    "administration listener",
                    listener.serve(service, with_console, stages.clone()),
                );
                (main, web)
            }
        };
        let service = authentication.layer(main.prepare());
        tasks.spawn_until_end("main listener", self.main.serve(service, web, stages.clone()));
        Ok(())
    }
}

/// Takes up new certificates when their files change, and at SIGHUP.
pub(super) async fn reload(all: Vec<Arc<Tls>>, mut hangup: Signal) {
    let mut looks = interval(LOOK_AT_FILES);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            Some(()) = hangup.recv() => true,
            _ = looks.tick() => false,
        };
        for tls in &all {
            tls.reload(asked);
        }
    }
}
