//! Somebody else writes to the database: what is noticed, by which look.

use std::collections::BTreeMap;

use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePublicKey as _;
use rsa::pss::SigningKey;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};

use super::usage::{credits, tokens as limit_of_tokens, under};
use super::*;
use crate::audit::Checkpoint;
use crate::ledger::{CountedDay, SumOf, Walk};
use crate::store::engine::View as _;
use crate::store::reading::Reading;

/// A factory of a database to which another hand can write.
pub(in crate::store) trait Forgeable: Factory {
    /// Writes past the store.
    fn forge(&self, sql: &str);

    /// Bytes as the database's SQL spells them.
    fn bytes(bytes: &[u8]) -> String;

    /// The table of the ends of chains.
    const CHAINS: &str;

    /// What lowers the last TIDs of all meters: the database itself refuses that to whoever does not
    /// take its rules away first.
    const LOWER_TIDS: &str;
}

/// The block of a credit that transfers much more.
fn richer(minute: u32) -> i64 {
    let payload = Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_code(9_000) };
    payload.block(Rnd::try_from(5).unwrap(), tid(minute)).bits().cast_signed()
}

/// The hash that a row would have if it held another block: whoever writes to the database can
/// compute it.
async fn hash_of<E: Engine>(store: &Database<E>, row: &TokenRow, block: i64) -> [u8; 32] {
    let sequence = row.sequence;
    let found = store.read(move |c: &mut Reading<E::View>| {
        let mut row = c.view.token(sequence)?.unwrap();
        row.content.block = Some(block.cast_unsigned());
        let before = c.view.record_hash(sequence.chain(), sequence.position() - 1)?.unwrap();
        let end = c.view.chains()?.into_iter().find(|end| end.number == sequence.chain()).unwrap();
        let line = row.line(&end, false).unwrap();
        Ok(line.record.hash(line.chain, before).0)
    });
    found.await.unwrap()
}

/// A scene with six tokens.
async fn issued<F: Forgeable>() -> (Scene<F>, Vec<TokenRow>) {
    let scene = Scene::<F>::new().await;
    let mut rows = Vec::new();
    for request in 1..=6 {
        let new = scene.credit(request, meter(usize::from(request % 3)), 100);
        rows.push(scene.store.record_token(new).await.unwrap().row().clone());
    }
    (scene, rows)
}

pub(in crate::store) async fn no_token_is_made_again_from_a_row_that_was_forged<F: Forgeable>() {
    for kind in ["block", "block and hash", "hash", "request", "the row behind", "the row before"] {
        let (scene, rows) = issued::<F>().await;
        let store = &scene.store;
        let victim = &rows[2];
        let number = victim.sequence.value();
        let block = richer(tid_of(victim));
        let hash = hash_of(store, victim, block).await;
        let replay = scene.credit(3, meter(0), 100);
        let replay = match kind {
            "request" => NewToken { request_id: Uuid::from_bytes([99; 16]), ..replay },
            _ => replay,
        };
        assert_eq!(store.check_links(rows.clone()).await, Ok(vec![Ok(()); 6]), "{kind}");
        scene.factory.forge(&match kind {
            "block" => format!("UPDATE issued_tokens SET block = {block} WHERE sequence = {number}"),
            "block and hash" => format!(
                "UPDATE issued_tokens SET block = {block}, hash = {} WHERE sequence = {number}",
                F::bytes(&hash)
            ),
            "hash" => {
                format!("UPDATE issued_tokens SET hash = {} WHERE sequence = {number}", F::bytes(&hash))
            }
            "request" => {
                let id = match F::bytes(&[99; 16]) {
                    literal if literal.starts_with('x') => literal,
                    _ => format!("'{}'", Uuid::from_bytes([99; 16])),
                };
                format!("UPDATE issued_tokens SET request_id = {id} WHERE sequence = {number}")
            }
            "the row behind" => format!("DELETE FROM issued_tokens WHERE sequence = {}", number + 1),
            _ => {
                format!("UPDATE issued_tokens SET hash = {} WHERE sequence = {}", F::bytes(&hash), number - 1)
            }
        });
        let unlinked = StoreError::Unlinked { row: format!("issued_tokens {number}") };
        let request = replay.request_id;
        let refused = Err(LedgerError::Store(unlinked.clone()));
        // The others of the batch go on.
        let new = scene.credit(20, meter(1), 100);
        let found = store.record_tokens(vec![replay, scene.credit(6, meter(0), 100), new]).await;
        assert_eq!(found[0], refused, "{kind}");
        assert_eq!(found[1], Ok(Recorded::Replay(rows[5].clone())), "{kind}");
        assert!(matches!(found[2], Ok(Recorded::New(_))), "{kind}");
        assert_eq!(store.issued_token(victim.sequence).await, Err(unlinked.clone()), "{kind}");
        assert_eq!(
            store.issued_token_of_request(scene.client, request).await,
            Err(unlinked.clone()),
            "{kind}"
        );
        let of_tid = store.issued_token_of_tid(meter(0), BaseDate::Y2014, tid(tid_of(victim))).await;
        assert_eq!(of_tid, Err(unlinked.clone()), "{kind}");
        let listed = store.list_issued_tokens(TokenFilter::default(), Cursor::default(), 100).await.unwrap();
        let place = listed.rows.iter().position(|row| row.sequence == victim.sequence).unwrap();
        assert_eq!(store.check_links(listed.rows).await.unwrap()[place], Err(unlinked), "{kind}");
    }
}

/// The audit key, and a checkpoint by it that names the heads as they are.
async fn checkpoint<E: Engine>(store: &Database<E>, number: u64) -> Vec<u8> {
    let mut random = rsa::rand_core::OsRng;
    let private = RsaPrivateKey::new(&mut random, 1024).unwrap();
    let spki = private.to_public_key().to_public_key_der().unwrap().into_vec();
    let checkpoint = Checkpoint::new(number, NOW_MS, store.chain_heads().await.unwrap());
    let signer = SigningKey::<rsa::sha2::Sha256>::new(private);
    let signature = signer.sign_with_rng(&mut random, checkpoint.text(&spki).as_bytes()).to_vec();
    store.keep_checkpoint(number, checkpoint.signed(&spki, signature).to_text()).await.unwrap();
    spki
}

/// A whole pass of the walk, in small parts.
async fn pass<E: Engine>(store: &Database<E>, mut walk: Walk, key: &[u8]) -> Walk {
    loop {
        let part = store.walk_on(walk, 3, key.to_vec(), NOW_MS).await.unwrap();
        walk = part.walk;
        if part.whole {
            return walk;
        }
    }
}

fn told(walk: &Walk) -> Vec<String> {
    walk.damages().iter().map(ToString::to_string).collect()
}

/// What is done to the database, and what the walk says of it.
fn forgeries<F: Forgeable>(row: i64, last: i64, hash: [u8; 32]) -> Vec<(&'static str, String, String)> {
    let chains = F::CHAINS;
    let block = richer(100);
    let tokens = |set: String| format!("UPDATE issued_tokens SET {set} WHERE sequence = {row}");
    let changed = |position: i64| format!("changed: record {position} ");
    let hash = F::bytes(&hash);
    let next = row + 1;
    vec![
        ("a block", tokens(format!("block = {block}")), changed(row)),
        ("a block and its hash", tokens(format!("block = {block}, hash = {hash}")), changed(next)),
        ("a time", tokens("issued_ms = issued_ms + 1".into()), changed(row)),
        ("a meter", tokens("pan = 600727000000000025".into()), changed(row)),
        ("a request", tokens("request_hash = ".to_owned() + &F::bytes(&[9; 32])), changed(row)),
        (
            "a row in the middle",
            format!("DELETE FROM issued_tokens WHERE sequence = {row}"),
            format!("cut: records {row} to {row} are missing"),
        ),
        (
            "the last row",
            format!("DELETE FROM issued_tokens WHERE sequence = {last}"),
            format!("it ends with record {}, and its end says {last}", last - 1),
        ),
        (
            "the last row, with the head",
            format!(
                "DELETE FROM issued_tokens WHERE sequence = {last};
                 UPDATE {chains} SET position = {0},
                     hash = (SELECT hash FROM issued_tokens WHERE sequence = {0})",
                last - 1
            ),
            format!("checkpoint 1: record {last} of chain "),
        ),
        (
            "two rows",
            format!(
                "UPDATE issued_tokens SET sequence = 90000 WHERE sequence = {row};
                 UPDATE issued_tokens SET sequence = {row} WHERE sequence = {next};
                 UPDATE issued_tokens SET sequence = {next} WHERE sequence = 90000"
            ),
            changed(row),
        ),
        (
            "a row behind the end",
            format!("UPDATE issued_tokens SET sequence = sequence + 40 WHERE sequence = {last}"),
            format!("record {} stands behind the end of the chain", last + 40),
        ),
        ("the last TIDs", F::LOWER_TIDS.to_owned(), "has a token identifier above the last one".into()),
        ("an act", "UPDATE acts SET details = '{}' WHERE position = 2".into(), changed(2)),
        (
            "an act that is gone",
            "DELETE FROM acts WHERE position = 3".into(),
            "cut: records 3 to 3 are missing".into(),
        ),
        (
            "an act twice",
            "UPDATE acts SET position = 5 WHERE position = 3".into(),
            "repeated: record 5 is there twice".into(),
        ),
        (
            "the head",
            format!("UPDATE {chains} SET position = position + 7"),
            format!("it ends with record {last}, and its end says {}", last + 7),
        ),
        (
            "the hash of the head",
            format!("UPDATE {chains} SET hash = {hash}"),
            format!("record {last} is not the one at its end"),
        ),
        ("the salts", format!("UPDATE {chains} SET salt_source = {}", F::bytes(&[1; 32])), changed(row)),
        (
            "a checkpoint",
            "UPDATE checkpoints SET text = replace(text, 'time 1', 'time 2')".into(),
            "checkpoint 1: the signature of the checkpoint does not hold".into(),
        ),
        (
            "the number of a checkpoint",
            "UPDATE checkpoints SET number = 2".into(),
            "checkpoint 2: it is the one with the number 1".into(),
        ),
    ]
}

pub(in crate::store) async fn the_walk_finds_what_was_forged<F: Forgeable>() {
    let kinds = forgeries::<F>(0, 0, [0; 32]).len();
    for kind in 0..kinds {
        let (scene, rows) = issued::<F>().await;
        let store = &scene.store;
        for request in 10..20 {
            store.record_token(scene.credit(request, meter(0), 100)).await.unwrap();
        }
        let key = checkpoint(store, 1).await;
        let sound = pass(store, Walk::default(), &key).await;
        assert_eq!(told(&sound), [""; 0]);
        let head = store.chain_head().await.unwrap();
        let (row, last) = (rows[2].sequence.value(), i64::try_from(head.position).unwrap());
        let hash = hash_of(store, &rows[2], richer(100)).await;
        let (name, sql, said) = forgeries::<F>(row, last, hash).swap_remove(kind);
        scene.factory.forge(&sql);
        let found = pass(store, sound.clone(), &key).await;
        assert!(told(&found).iter().any(|damage| damage.contains(&said)), "{name}: {:?}", told(&found));
        // It is found again, and stays found until it is accepted; what is accepted is that alone.
        let found = store.keep_walk(found, NOW_MS).await.unwrap();
        let found = pass(store, found, &key).await;
        assert!(!told(&found).is_empty(), "{name}");
        store.keep_walk(found.clone(), NOW_MS).await.unwrap();
        let accepted = AcceptedRestore {
            actor: Actor::Local,
            floors: vec![(BaseDate::Y2014, tid(5_000))],
            requests_from_ms: 0,
            lost_from: 0,
            details: BTreeMap::new(),
            now_ms: NOW_MS,
        };
        if name.contains("head") || name.contains("end") || name.contains("the last row") {
            // The chain goes on from a wrong end, so what is found next is another damage.
            continue;
        }
        let seen = store.kept_walk().await.unwrap().unwrap().damages();
        assert_eq!(
            store.accept_damage(accepted.clone(), Vec::new()).await,
            Ok(seen.clone()),
            "{name}: not looked at"
        );
        assert_eq!(store.accept_damage(accepted, seen).await, Ok(Vec::new()), "{name}");
        let accepted = store.keep_walk(found, NOW_MS).await.unwrap();
        assert_eq!(told(&pass(store, accepted.clone(), &key).await), [""; 0], "{name}");
        scene.factory.forge("UPDATE issued_tokens SET issued_ms = issued_ms + 5 WHERE sequence = 9");
        assert!(!told(&pass(store, accepted, &key).await).is_empty(), "{name}, and another");
    }
}

pub(in crate::store) async fn nobody_else_says_how_far_the_walk_has_come<F: Forgeable>() {
    let (scene, _) = issued::<F>().await;
    let store = &scene.store;
    let key = checkpoint(store, 1).await;
    assert_eq!(store.kept_walk().await, Ok(None));
    let part = store.walk_on(Walk::default(), 4, key.clone(), NOW_MS).await.unwrap();
    assert_eq!((part.read, part.whole, part.walk.records()), (4, false, 4));
    let kept = store.keep_walk(part.walk, NOW_MS).await.unwrap();
    assert_eq!(store.kept_walk().await, Ok(Some(kept.clone())));
    // It goes on there, and notices that the place is another since.
    let went_on = store.walk_on(kept.clone(), 4, key.clone(), NOW_MS).await.unwrap();
    assert_eq!(went_on.walk.records(), 8);
    let further = serde_json::to_string(&went_on.walk).unwrap();
    scene.factory.forge(&format!("UPDATE ledger_walk SET state = '{further}'"));
    assert_eq!(store.kept_walk().await, Ok(None), "it bears no seal of ours: the walk begins anew");
    scene.factory.forge(&format!("UPDATE acts SET hash = {} WHERE position = 4", F::bytes(&[3; 32])));
    let found = store.walk_on(kept, 4, key, NOW_MS).await.unwrap();
    assert!(told(&found.walk)[0].contains("record 4 is another than when it was walked"), "{found:?}");
    assert!(store.verify_seals().await.unwrap().is_sound(), "the row is none of those that decide");
}

pub(in crate::store) async fn nobody_takes_back_what_the_walk_has_found<F: Forgeable>() {
    let (scene, rows) = issued::<F>().await;
    let store = &scene.store;
    let key = checkpoint(store, 1).await;
    let sound = store.keep_walk(pass(store, Walk::default(), &key).await, NOW_MS).await.unwrap();
    scene.factory.forge("CREATE TABLE kept AS SELECT * FROM ledger_walk");
    let row = rows[2].sequence.value();
    let later =
        |by: i64| format!("UPDATE issued_tokens SET issued_ms = issued_ms + {by} WHERE sequence = {row}");
    scene.factory.forge(&later(5));
    let found = store.keep_walk(pass(store, sound, &key).await, NOW_MS).await.unwrap();
    assert!(!told(&found).is_empty());
    assert_eq!(kinds_on_record(&scene).await.matches("ledger.damaged").count(), told(&found).len());
    assert_eq!(store.kept_walk().await, Ok(Some(found)));
    for sql in [
        "UPDATE ledger_walk SET state = '{}'",
        "DELETE FROM ledger_walk; INSERT INTO ledger_walk SELECT * FROM kept",
        "DELETE FROM ledger_walk",
    ] {
        scene.factory.forge(sql);
        let kept = store.kept_walk().await.unwrap().expect("something was found, and nobody knows what");
        assert!(told(&kept)[0].starts_with("table ledger_walk"), "{sql}: {kept:?}");
    }
    // What was put right is found to be so when the whole ledger was walked.
    scene.factory.forge(&later(-5));
    let kept = store.kept_walk().await.unwrap().unwrap();
    let part = store.walk_on(kept, 4, key.clone(), NOW_MS).await.unwrap();
    assert_eq!((part.whole, told(&part.walk).len()), (false, 1));
    let kept = store.keep_walk(part.walk, NOW_MS).await.unwrap();
    let whole = store.keep_walk(pass(store, kept, &key).await, NOW_MS).await.unwrap();
    assert_eq!(told(&whole), [""; 0]);
    assert_eq!(store.kept_walk().await, Ok(Some(whole)));
}

/// What is done to rows that decide, and what the look at all seals says of it: the table of a row
/// that does not bear its seal, or none, where rows are missing or older than they were.
const OF_ROWS: [(&str, &str, Option<&str>); 9] = [
    ("a raised limit", "UPDATE clients SET limits = '{\"tokens_per_day\":99999}'", Some("clients")),
    ("a right", "UPDATE clients SET rights = replace(rights, 'vend', 'ledger')", Some("clients")),
    (
        "a credential more",
        "INSERT INTO credentials (key_id, client, kind, secret_sha256, enabled, expires_ms, created_ms,
             version, seal_key, seal)
         SELECT 'thief', client, kind, secret_sha256, enabled, expires_ms, created_ms, version, seal_key, seal
         FROM credentials WHERE key_id = 'till-1'",
        Some("credentials"),
    ),
    (
        "another secret",
        "UPDATE credentials SET secret_sha256 = (SELECT fingerprint FROM configurations)",
        Some("credentials"),
    ),
    ("an enabled configuration", "UPDATE configurations SET state = 'ENABLED'", Some("configurations")),
    ("an approved act", "UPDATE approvals SET state = 'APPROVED'", Some("approvals")),
    ("a credential less", "DELETE FROM credentials WHERE key_id = 'spare'", None),
    (
        "a row of then with its seal",
        "UPDATE configurations SET state = (SELECT state FROM kept), version = (SELECT version FROM kept),
             updated_ms = (SELECT updated_ms FROM kept), seal = (SELECT seal FROM kept)",
        None,
    ),
    ("the index of seals", "DELETE FROM roll", None),
];

pub(in crate::store) async fn a_forged_row_that_decides_is_told_whatever_was_done<F: Forgeable>() {
    for (name, sql, table) in OF_ROWS {
        let scene = Scene::<F>::new().await;
        let store = &scene.store;
        client(store, "spare").await;
        scene.ask(b"an act").await;
        scene.factory.forge("CREATE TABLE kept AS SELECT * FROM configurations");
        store.set_configuration_enabled(scene.configuration, false, Actor::Local, NOW_MS + 5).await.unwrap();
        assert!(store.verify_seals().await.unwrap().is_sound());
        scene.factory.forge(sql);
        let report = store.verify_seals().await.unwrap();
        match table {
            Some(table) => {
                assert!(report.forged.iter().any(|row| row.starts_with(table)), "{name}: {report:?}")
            }
            None => assert!(report.rows_missing, "{name}: {report:?}"),
        }
    }
}

async fn kinds_on_record<F: Forgeable>(scene: &Scene<F>) -> String {
    let records = scene.store.records(Cursor::default(), 1_000, false).await.unwrap();
    format!("{:?}", records.lines)
}

pub(in crate::store) async fn a_lowered_sum_gives_nobody_more<F: Forgeable>() {
    for sql in ["DELETE FROM usage", "UPDATE usage SET tokens = 0, least_units = '0'"] {
        let scene = under::<F>(limit_of_tokens(9, None)).await;
        let asked = credits(&scene, 20);
        let (first, rest) = asked.split_at(6);
        assert!(scene.store.record_tokens(first.to_vec()).await.iter().all(Result::is_ok));
        // The server that gave it knows, while it runs ...
        scene.factory.forge(sql);
        let passed = scene.store.record_tokens(rest[..2].to_vec()).await;
        assert!(passed.iter().all(Result::is_ok), "{sql}: {passed:?}");
        assert_eq!(kinds_on_record(&scene).await.matches("usage.raised").count(), 1, "{sql}");
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert!(
            found.iter().all(|found| matches!(found.of, SumOf::Hour(..))),
            "it is right again: {found:?}"
        );
        // ... and one that has just started has compared them with the rows.
        scene.factory.forge(sql);
        let scene = scene.reopen();
        let found = scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
        assert_eq!((found[0].of, found[0].counted.tokens), (SumOf::Client(scene.client), 8), "{sql}");
        let passed = scene.store.record_tokens(rest[2..].to_vec()).await;
        assert_eq!(passed.iter().filter(|one| one.is_ok()).count(), 1, "{sql}");
    }
}

pub(in crate::store) async fn a_bent_report_is_told_and_mended<F: Forgeable>() {
    let (scene, _) = issued::<F>().await;
    let hours = CountedDay::of(NOW_MS).hours();
    let reported = scene.store.vended(hours).await.unwrap().hours;
    let correct = async || scene.store.correct_usage(CountedDay::of(NOW_MS), NOW_MS).await.unwrap();
    assert_eq!(correct().await, []);
    for sql in ["DELETE FROM vended_hours", "UPDATE vended_hours SET tokens = 1, least_units = '7'"] {
        scene.factory.forge(sql);
        let found = correct().await;
        assert_eq!((found.len(), found[0].counted.tokens, found[0].raised()), (1, 6, "report.raised"));
        assert_eq!(scene.store.vended(hours).await.unwrap().hours, reported, "{sql}");
        assert_eq!(correct().await, []);
    }
    assert_eq!(kinds_on_record(&scene).await.matches("report.raised").count(), 2);
    scene.factory.forge("UPDATE vended_hours SET tokens = 99");
    let found = correct().await;
    assert_eq!((found[0].kept.tokens, found[0].above()), (99, "report.above_ledger"));
    assert_eq!(correct().await, found, "nobody knows what else is bent: it stays, and is told");
}

pub(in crate::store) async fn a_head_that_somebody_moved_stops_the_server_whose_it_is<F: Forgeable>() {
    for set in ["position = position + 1", "position = position - 1"] {
        let (scene, rows) = issued::<F>().await;
        scene.factory.forge(&format!("UPDATE {} SET {set}", F::CHAINS));
        let refused = scene.store.record_token(scene.credit(50, meter(0), 100)).await;
        assert!(
            matches!(refused, Err(LedgerError::Store(StoreError::LostCommits { .. }))),
            "{set}: {refused:?}"
        );
        let lost = scene.store.lost_commits().unwrap();
        assert_eq!(lost.found > lost.written, set.contains('+'), "{lost}");
        let replay = scene.store.record_token(scene.credit(3, meter(0), 100)).await;
        assert_eq!(replay, Ok(Recorded::Replay(rows[2].clone())), "{set}");
    }
}
