//! The platform of `examples/`: what it sells over a connection that breaks is sold once.

use std::{
    collections::HashSet,
    fs,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use vendkey::api::v1::{IssueTokenRequest, IssuedToken, ListIssuedTokensRequest, TokenResult, token_result};

use crate::{
    harness::{Api, DKGA04, DRN, Home},
    tls::served,
};

#[path = "../../examples/platform.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod example;

use example::{Platform, sale};

/// Stands between a client and a server, and loses answers when told to.
#[derive(Clone)]
struct Proxy {
    /// Whether answers are lost from now on.
    losing: Arc<AtomicBool>,
    /// Ends the connection whose answers were lost.
    cut: Arc<Notify>,
}

impl Proxy {
    /// Starts one before the server at this port; answers its own port too.
    async fn start(server: String) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { losing: Arc::default(), cut: Arc::default() };
        let own = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(format!("127.0.0.1:{server}")).await.unwrap();
                tokio::spawn(own.clone().pass(client, server));
            }
        });
        (proxy, port)
    }

    async fn pass(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let asked = async { tokio::io::copy(&mut from_client, &mut to_server).await };
        let answered = async {
            let mut buffer = [0; 16_384];
            while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                let lost = self.losing.load(Ordering::SeqCst);
                if !lost && to_client.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            _ = asked => {}
            () = answered => {}
            () = self.cut.notified() => {}
        }
    }

    /// Loses the answers from now on.
    fn lose(&self) {
        self.losing.store(true, Ordering::SeqCst);
    }

    /// Breaks the connection; the next one is whole.
    fn break_off(&self) {
        self.losing.store(false, Ordering::SeqCst);
        self.cut.notify_one();
    }
}

/// All tokens on record that are one of these sales.
async fn on_record(api: &mut Api, sales: &[IssueTokenRequest]) -> Vec<IssuedToken> {
    let request = ListIssuedTokensRequest { page_size: 1_000, ..ListIssuedTokensRequest::default() };
    let listed = api.tokens.list_issued_tokens(request).await.unwrap().into_inner().tokens;
    let ids: HashSet<&String> = sales.iter().map(|sale| &sale.request_id).collect();
    listed.into_iter().filter(|token| ids.contains(&token.request_id)).collect()
}

/// Waits until one of these sales is on record, and breaks the connection.
async fn break_behind(proxy: &Proxy, api: &mut Api, sales: &[IssueTokenRequest]) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while on_record(api, sales).await.is_empty() {
        assert!(Instant::now() < give_up, "nothing was sold");
        tokio::task::yield_now().await;
    }
    proxy.break_off();
}

fn sold(result: &TokenResult) -> &IssuedToken {
    match &result.result {
        Some(token_result::Result::Token(token)) => token,
        other => panic!("{other:?}"),
    }
}

/// Every sale has its own token, in order, and is on record once.
async fn once_each(api: &mut Api, sales: &[IssueTokenRequest], results: &[TokenResult]) {
    assert_eq!(results.len(), sales.len());
    for (sale, result) in sales.iter().zip(results) {
        assert_eq!(sold(result).request_id, sale.request_id);
    }
    let tokens: HashSet<&String> = results.iter().map(|result| &sold(result).token).collect();
    assert_eq!(tokens.len(), sales.len());
    assert_eq!(on_record(api, sales).await.len(), sales.len());
}

#[tokio::test]
async fn what_a_broken_connection_lost_is_asked_for_again() {
    let home = Home::new();
    let (server, authority) = served(&home, "");
    let pem = fs::read(home.path(&authority.file())).unwrap();
    let port = server.endpoint.rsplit(':').next().unwrap().to_owned();
    let (proxy, proxied) = Proxy::start(port).await;
    let mut direct = {
        let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(authority.certificate());
        let endpoint = server.endpoint.replace("127.0.0.1", "localhost");
        let endpoint = tonic::transport::Endpoint::from_shared(endpoint).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Api {
            tokens: Api::over(channel.clone(), &home.till()).tokens,
            ..Api::over(channel, &home.credential())
        }
    };
    let configuration = direct.configuration(DKGA04).await.name;
    let endpoint = format!("https://localhost:{proxied}");
    let mut platform = Platform::connect(&endpoint, &home.till(), Some(&pem)).await.unwrap();
    let new = |count: usize| (0..count).map(|_| sale(&configuration, DRN, "12.5")).collect::<Vec<_>>();

    // One.
    let [one] = new(1).try_into().unwrap();
    proxy.lose();
    let broken = break_behind(&proxy, &mut direct, std::slice::from_ref(&one));
    let (token, ()) = tokio::join!(platform.vend(&one), broken);
    let token = token.unwrap();
    assert!(token.replay, "the first answer was lost");
    let again = platform.vend(&one).await.unwrap();
    assert_eq!((&again.token, again.replay), (&token.token, true));
    assert_eq!(on_record(&mut direct, &[one]).await.len(), 1);

    // A batch.
    let sales = new(20);
    proxy.lose();
    let broken = break_behind(&proxy, &mut direct, &sales);
    let (results, ()) = tokio::join!(platform.vend_batch(&sales), broken);
    let results = results.unwrap();
    once_each(&mut direct, &sales, &results).await;
    assert!(results.iter().all(|result| sold(result).replay));

    // A stream.
    let (sales, mut results) = (new(300), Vec::new());
    proxy.lose();
    let broken = break_behind(&proxy, &mut direct, &sales);
    let (streamed, ()) = tokio::join!(platform.vend_stream(&sales, |result| results.push(result)), broken);
    streamed.unwrap();
    once_each(&mut direct, &sales, &results).await;
    assert!(sold(&results[0]).replay);

    // A refusal that stays one.
    let refused = platform.vend(&sale(&configuration, "1", "12.5")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}
