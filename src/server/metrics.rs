//! Where Prometheus reads: `GET /metrics` over plain HTTP, for a scraper on this machine.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::ServeError;
use crate::metrics;

/// Scrapers at once; further ones wait.
const MOST: usize = 4;
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Binds the address and serves until the task is ended.
pub(super) async fn bind(listen: SocketAddr) -> Result<(SocketAddr, impl Future<Output = ()>), ServeError> {
    let failed = |error| ServeError::Bind(listen, error);
    let tcp = TcpListener::bind(listen).await.map_err(failed)?;
    Ok((tcp.local_addr().map_err(failed)?, serve(tcp)))
}

async fn serve(tcp: TcpListener) {
    let permits = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = tcp.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A scraper that goes away or is too slow asks again.
            let _ = timeout(TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let found = request.method() == Method::GET && request.uri().path() == "/metrics";
    let mut response = match found.then(metrics::text) {
        Some(Ok(text)) => Response::new(text),
        Some(Err(_)) => status(StatusCode::INTERNAL_SERVER_ERROR),
        None => status(StatusCode::NOT_FOUND),
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Ok(response)
}

fn status(status: StatusCode) -> Response<String> {
    let mut response = Response::new(format!("{status}\n"));
    *response.status_mut() = status;
    response
}
