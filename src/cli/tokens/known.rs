//! Which tokens of a file the server's ledger has: those of each meter are asked for with their
//! digits, which a client gets of its own tokens.

use std::collections::{BTreeMap, HashSet};

use clap::Args;

use crate::{
    api::v1::{ListIssuedTokensRequest, token_service_client::TokenServiceClient},
    cli::{connection::Connection, output::Failure, stdout, token_batch},
    sts::meter::{Iin, MeterPan},
    token_log::{Log, Mark},
};

/// How numbers of meters become those of the ledger.
#[derive(Args)]
pub(super) struct Ledger {
    /// The issuer of meters whose numbers have 11 digits; those of 13 have 0000
    #[arg(long, value_name = "IIN", default_value = "600727")]
    iin: String,
}

impl Ledger {
    /// The number under which the ledger has a meter.
    fn pan(&self, iin: Iin, meter: &str) -> Option<MeterPan> {
        match meter.len() {
            18 => meter.parse().ok(),
            11 => MeterPan::parse(meter, iin).ok(),
            13 => MeterPan::parse(meter, "0000".parse().ok()?).ok(),
            _ => None,
        }
    }
}

/// Asks for the tokens of every meter, and marks each entry whose meter could be asked for.
pub(super) async fn look_up(log: &mut Log, ledger: &Ledger, connection: &Connection) -> Result<(), Failure> {
    let iin: Iin =
        ledger.iin.parse().map_err(|error| Failure::usage(format!("--iin {}: {error}", ledger.iin)))?;
    let mut meters: BTreeMap<MeterPan, Vec<usize>> = BTreeMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if let Some(pan) = entry.meter.as_ref().and_then(|meter| ledger.pan(iin, meter)) {
            meters.entry(pan).or_default().push(index);
        }
    }
    let mut client = TokenServiceClient::new(connection.open().await?);
    let bar = token_batch::progress(meters.len() as u64, "meters");
    let mut without_digits = 0_u64;
    for (pan, entries) in meters {
        let mut request = ListIssuedTokensRequest {
            page_size: 1_000,
            meter_pan: pan.to_string(),
            digits: true,
            ..ListIssuedTokensRequest::default()
        };
        let mut known = HashSet::new();
        loop {
            let page = client.list_issued_tokens(request.clone()).await;
            let page = page.map_err(Failure::refused(connection.json))?.into_inner();
            for token in page.tokens {
                // Of a destroyed key nothing can be told any more.
                without_digits += u64::from(token.token.is_empty());
                known.insert(token.token);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        for index in entries {
            let entry = &mut log.entries[index];
            let is_known = known.contains(entry.token.as_str());
            entry.marks.push(if is_known { Mark::InLedger } else { Mark::NotInLedger });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if without_digits > 0 {
        stdout::note(format!(
            "{without_digits} tokens of the ledger have no digits any more (key changes, destroyed keys): they are not compared"
        ));
    }
    Ok(())
}
