//! The contract as tests: a suite that is a function of an engine's factory.
//!
//! `contract_suite!` makes a test of each function here for one engine. What an engine does beside
//! the contract is tested beside it.

pub(in crate::store) mod approvals;
pub(in crate::store) mod chain;
pub(in crate::store) mod clients;
pub(in crate::store) mod configurations;
pub(in crate::store) mod destruction;
pub(in crate::store) mod forgery;
pub(in crate::store) mod ledger;
pub(in crate::store) mod model;
pub(in crate::store) mod public_keys;
pub(in crate::store) mod reports;
pub(in crate::store) mod seals;
pub(in crate::store) mod servers;
pub(in crate::store) mod usage;
pub(in crate::store) mod verifications;

use std::sync::Arc;

use uuid::Uuid;

use crate::access::approval::{
    Approval, ApprovalRequested, ApprovalState, ApprovalStep, PENDING_PER_CLIENT, Vote,
};
use crate::access::client::{
    ClientAct, ClientChange, ClientRefusal, CredentialChange, NewClient, NewCredential, Proof,
};
use crate::access::limits::Limits;
use crate::access::rights::Rights;
use crate::audit::{Actor, NewAct};
use crate::configuration::{
    Begun, Configuration, ConfigurationRefusal, ConfigurationState, FinishedState, ImportedFields,
    KeyChangePair, KeyState, MaskedKey, NewConfiguration, PublicKey, Registered, TokenKey, Warning,
};
use crate::hsm::TokenId;
use crate::id::{ApprovalId, ClientId, ConfigurationId, PublicKeyId};
use crate::ledger::{
    AcceptedRestore, Content, Cursor, LowerRefused, NewToken, Recorded, Refused, RowContent, Seed,
    TokenFilter, TokenRow,
};
use crate::store::database::Database;
use crate::store::engine::Engine;
use crate::store::{
    ApprovalStore as _, AuditStore as _, ClientStore as _, ConfigurationError, ConfigurationStore as _,
    KeyChangeStore as _, LedgerError, LedgerStore as _, Listing, Outcome, PageRequest, PublicKeyStore as _,
    SealReport, ServerStore as _, SoftwareSealer, StoreError,
};
use crate::sts::amount::UnitAmount;
use crate::sts::attributes::{Attributes, BaseDate, KeyExpiry, TariffIndex};
use crate::sts::meter::MeterPan;
use crate::sts::tid::{Tid, TidWindow};
use crate::sts::token::{Display, DisplayForm, Payload, Rnd, Service};

/// A database of its own for each test, opened once or one time after another.
pub(in crate::store) trait Factory: Default + Send + Sync + 'static {
    /// The engine.
    type Engine: Engine;

    /// Opens the store over the database, which nobody else has open. Its seals are those of
    /// [`sealer`].
    fn open(&self) -> Database<Self::Engine>;
}

/// Makes a test of each function of the suite, for the engine of a factory.
macro_rules! contract_suite {
    ($factory:ty) => {
        $crate::store::contract::tests::contract_suite! { @tests $factory;
            approvals {
                the_same_act_waits_once_for_each_client,
                a_limited_number_waits_for_each_client,
                a_client_has_one_vote_and_may_turn_against_it,
                a_step_is_taken_once_and_is_on_record,
                an_act_is_found_by_its_approval,
                time_and_a_restored_database_end_what_waits,
                lists_are_of_those_that_wait_or_of_all,
                the_record_holds_the_hash_and_not_the_content,
            }
            chain {
                every_act_and_every_token_is_a_record,
                what_is_taken_back_takes_its_records_along,
                many_tokens_are_recorded_in_order_and_each_for_itself,
                an_old_request_is_refused_and_never_issued_anew,
                an_accepted_restore_leaves_a_gap_that_is_told_and_raises_the_floors,
                rows_are_listed_by_filter_and_page,
            }
            clients {
                a_credential_leads_to_its_client,
                a_client_may_have_two_credentials_and_a_stranger_none,
                a_client_is_created_once,
                two_administrators_do_not_overwrite_each_other,
                nobody_locks_everybody_out,
                every_change_is_on_record_with_its_actor,
                hashes_of_secrets_do_not_print,
            }
            configurations {
                an_import_begins_is_resumed_and_ends,
                only_an_import_that_did_not_end_is_forgotten,
                further_tokens_hold_a_key,
                a_nonce_serves_one_upload,
                enabling_and_disabling,
                what_cannot_be_served_is_never_enabled,
                pages_list_all_in_order_once,
            }
            destruction {
                the_way_to_the_end_and_back,
                each_token_is_told_apart,
            }
            ledger {
                callers_of_one_meter_get_distinct_growing_tids,
                a_credential_that_does_not_count_records_and_replays_nothing,
                seeding_only_raises,
                a_last_tid_is_lowered_to_the_last_token_and_no_further,
                a_row_holds_all_that_an_answer_needs,
                one_minute_serves_many_tokens,
                each_base_date_has_its_own_sequence,
                another_request_under_the_same_id_is_refused,
                a_rotated_credential_doubles_nothing,
                a_disabled_configuration_replays_and_issues_nothing_new,
                a_tid_that_the_key_does_not_reach_is_refused_and_leaves_no_trace,
                a_passed_deadline_leaves_no_row,
                class_1_needs_neither_meter_nor_configuration,
                a_key_change_names_both_configurations_and_no_key,
                a_batch_holds_replays_and_refusals_beside_new_tokens,
            }
            public_keys {
                the_same_key_is_registered_once,
                only_enabled_keys_open_uploads,
            }
            usage {
                exactly_the_limit_of_a_day_passes_whatever_comes_at_once,
                a_restart_forgets_nothing_and_the_next_day_begins_anew,
                what_a_token_transfers_is_limited_alone,
                what_is_refused_or_taken_back_is_not_counted,
                an_alarm_comes_once_when_the_share_is_passed,
                a_changed_limit_counts_at_once,
                a_multiple_of_the_usual_pace_is_an_alarm,
            }
            reports {
                sums_by_the_hour_are_what_was_recorded,
                what_is_refused_or_taken_back_is_in_no_sum,
                sums_are_exact_beyond_64_bits,
                what_was_vended_before_sums_were_kept_is_added_once,
                refused_calls_are_counted_with_their_record,
            }
            seals {
                what_the_store_wrote_bears_its_seals,
            }
            verifications {
                looks_at_a_meter_are_limited_by_the_hour,
                looks_of_a_client_are_limited_by_the_day,
            }
        }

        #[test]
        fn any_acts_give_what_the_rules_say() {
            $crate::store::contract::tests::model::any_acts_give_what_the_rules_say::<$factory>();
        }
    };
    (@tests $factory:ty; $($module:ident { $($test:ident),* $(,)? })*) => {$(
        mod $module {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    $crate::store::contract::tests::$module::$test::<$factory>().await;
                }
            )*
        }
    )*};
}

pub(in crate::store) use contract_suite;

/// The same for several servers on one database.
macro_rules! several_servers_suite {
    ($factory:ty) => {
        $crate::store::contract::tests::contract_suite! { @tests $factory;
            servers {
                every_server_has_a_chain_and_keeps_it,
                one_request_at_two_servers_gives_one_token,
                the_tids_of_a_meter_rise_through_two_servers,
                a_daily_limit_is_exact_through_two_servers,
                what_two_servers_vend_and_refuse_is_one_sum,
                what_one_server_disables_the_other_refuses_at_once,
                a_listing_misses_and_repeats_nothing_while_two_servers_write,
                an_export_misses_and_repeats_nothing_while_two_servers_write,
                seals_hold_while_two_servers_change_rows,
                an_accepted_restore_raises_the_floors_of_all,
            }
        }
    };
}

pub(in crate::store) use several_servers_suite;

/// The same for a database to which another hand can write.
macro_rules! forgery_suite {
    ($factory:ty) => {
        $crate::store::contract::tests::contract_suite! { @tests $factory;
            forgery {
                no_token_is_made_again_from_a_row_that_was_forged,
                the_walk_finds_what_was_forged,
                nobody_else_says_how_far_the_walk_has_come,
                nobody_takes_back_what_the_walk_has_found,
                a_forged_row_that_decides_is_told_whatever_was_done,
                a_lowered_sum_gives_nobody_more,
                a_bent_report_is_told_and_mended,
                a_head_that_somebody_moved_stops_the_server_whose_it_is,
            }
        }
    };
}

pub(in crate::store) use forgery_suite;

/// A factory of a database that several servers have open at once.
pub(in crate::store) trait SeveralServers: Factory {
    /// Opens the store as another server. [`Factory::open`] opens it as the first.
    fn open_as(&self, name: &str) -> Database<Self::Engine>;
}

/// 2026-01-01 00:00 UTC.
pub(in crate::store) const NOW_MS: i64 = 1_767_225_600_000;

/// A store with a client that may vend and a configuration that issues.
pub(in crate::store) struct Scene<F: Factory> {
    pub(in crate::store) store: Database<F::Engine>,
    pub(in crate::store) factory: F,
    pub(in crate::store) client: ClientId,
    pub(in crate::store) configuration: ConfigurationId,
}

pub(in crate::store) const CREDENTIAL: &str = "till-1";

impl<F: Factory> Scene<F> {
    pub(in crate::store) async fn new() -> Self {
        let factory = F::default();
        let store = factory.open();
        let client = client(&store, CREDENTIAL).await;
        let configuration = imported(&store, 1).await.id;
        Self { store, factory, client, configuration }
    }

    pub(in crate::store) fn reopen(self) -> Self {
        let Self { store, factory, client, configuration } = self;
        drop(store);
        Self { store: factory.open(), factory, client, configuration }
    }

    /// A credit for a meter, asked for at a minute of the configuration's base date.
    pub(in crate::store) fn credit(&self, request: u8, meter: MeterPan, minute: u32) -> NewToken {
        NewToken {
            client: self.client,
            credential: CREDENTIAL.into(),
            request_id: Uuid::from_bytes([request; 16]),
            request_hash: [request; 32],
            now_ms: NOW_MS,
            content: Content::Sequenced {
                configuration: self.configuration,
                meter,
                base_date: BaseDate::Y2014,
                window: window(minute),
                payload: payload(),
                rnd: Rnd::try_from(5).unwrap(),
            },
            requests_from_ms: 0,
            deadline: None,
        }
    }
}

pub(in crate::store) fn sealer() -> Arc<SoftwareSealer> {
    Arc::new(SoftwareSealer([1; 32]))
}

pub(in crate::store) async fn client<E: Engine>(store: &Database<E>, key_id: &str) -> ClientId {
    client_under(store, ClientId::generate(), key_id, Rights::till(), Limits::default()).await
}

/// A client with these rights and limits, and its credential.
pub(in crate::store) async fn client_under<E: Engine>(
    store: &Database<E>,
    id: ClientId,
    key_id: &str,
    rights: Rights,
    limits: Limits,
) -> ClientId {
    let display_name = "a till".into();
    let new = NewClient { id, display_name, rights, limits, actor: Actor::Local, now_ms: NOW_MS };
    store.create_client(new).await.unwrap();
    let credential = NewCredential {
        key_id: key_id.into(),
        client: id,
        proof: Proof::Secret([7; 32]),
        expires_ms: None,
        actor: Actor::Local,
        now_ms: NOW_MS,
    };
    store.create_credential(credential).await.unwrap();
    id
}

pub(in crate::store) fn attributes() -> Attributes {
    Attributes {
        sgc: "000123".parse().unwrap(),
        ti: TariffIndex::try_from(7).unwrap(),
        ..Attributes::example()
    }
}

pub(in crate::store) fn upload(fingerprint: u8) -> NewConfiguration {
    NewConfiguration {
        id: ConfigurationId::generate(),
        fingerprint: [fingerprint; 32],
        nonce: None,
        display_name: format!("configuration {fingerprint}"),
        attributes: attributes(),
        key_length: 20,
        unservable: vec![],
        warnings: vec![Warning { code: "A_CODE".into(), message: "a \"message\"".into() }],
        signer: PublicKeyId::from_bytes([9; 16]),
        uploaded_by: ClientId::from_bytes([8; 16]),
        actor: Actor::Local,
        now_ms: NOW_MS,
    }
}

/// The token that holds what is imported.
pub(in crate::store) const FIRST_TOKEN: TokenId = TokenId([6; 8]);

pub(in crate::store) fn imported_fields() -> ImportedFields {
    ImportedFields {
        key: Some(TokenKey {
            token: Some(FIRST_TOKEN),
            kcv: [1, 2, 3],
            mask: Some(MaskedKey { iv: [4; 16], ciphertext: [5; 16] }),
            state: KeyState::Held,
        }),
        state: FinishedState::Enabled,
    }
}

pub(in crate::store) async fn imported<E: Engine>(store: &Database<E>, fingerprint: u8) -> Configuration {
    let Begun::Started(row) = store.begin_import(upload(fingerprint)).await.unwrap() else {
        panic!("not new")
    };
    store.finish_import(row.id, imported_fields(), Actor::Local, NOW_MS + 1).await.unwrap()
}

/// From this minute, with a horizon of a day.
pub(in crate::store) fn window(minute: u32) -> TidWindow {
    TidWindow { earliest: tid(minute), ken: KeyExpiry(255), horizon: tid(minute + 1_440) }
}

pub(in crate::store) fn tid(minute: u32) -> Tid {
    Tid::new(minute).unwrap()
}

pub(in crate::store) fn meter(index: usize) -> MeterPan {
    let drn = ["11111111115", "00000000000", "12345678903"][index];
    MeterPan::parse(drn, "600727".parse().unwrap()).unwrap()
}

pub(in crate::store) fn payload() -> Payload {
    Payload::Credit { service: Service::Electricity, amount: UnitAmount::from_code(25) }
}

pub(in crate::store) fn display() -> Display {
    Display::all(DisplayForm::TwoDigit)
}

pub(in crate::store) fn tid_of(row: &TokenRow) -> u32 {
    match &row.content {
        RowContent::Sequenced { tid, .. } => tid.value(),
        other => panic!("{other:?} has no TID"),
    }
}

/// How many rows the ledger has.
pub(in crate::store) async fn rows<E: Engine>(store: &Database<E>) -> usize {
    let (mut count, mut after) = (0, Cursor::default());
    loop {
        let page = store.list_issued_tokens(TokenFilter::default(), after, 1_000).await.unwrap();
        count += page.rows.len();
        match page.next {
            Some(next) => after = next,
            None => return count,
        }
    }
}
