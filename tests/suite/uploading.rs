//! Uploads made with the openssl command line.

use tonic::Code;
use vendkey::api::v1::{
    EnableConfigurationRequest, ListConfigurationsRequest, UploadConfigurationRequest, configuration::State,
};

use crate::harness::{Blobs, DKGA04, Home, Server, reason, ten_kwh};

/// The example of the article, trailing blank after the name included.
const ARTICLE: &str = "---\nname: example_config \nkey_expiry_no: 255\nencryption_algorithm: sta\n\
    token_carrier_type: numeric\ndecoder_key_generation_algorithm: 04\ntariff_index: 01\nkey_revision_no: 1\n\
    vending_key: 0123456789abcdef\nsupply_group_code: 123456\nkey_type: 3\nbase_date: 2035\n\
    issuer_identification_no: 600727\n";

#[tokio::test]
async fn the_article_s_example_uploads_with_its_warnings_and_never_issues() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(ARTICLE).await;
    assert_eq!(configuration.display_name, "example_config");
    assert_eq!(configuration.state(), State::Disabled);
    assert_eq!(configuration.kcv, "");
    let codes: Vec<&str> = configuration.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["KEY_LENGTH", "BASE_DATE_IN_FUTURE"]);
    let request = EnableConfigurationRequest { name: configuration.name.clone() };
    let status = api.configurations.enable_configuration(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "CONFIGURATION_UNSERVABLE")
    );
    let status = api.issue(ten_kwh(&configuration)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "CONFIGURATION_UNSERVABLE")
    );
}

#[tokio::test]
async fn the_same_blobs_twice_are_one_configuration() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let blobs = administrator.encrypt(DKGA04);
    let first = api.upload(&blobs).await.unwrap();
    let second = api.upload(&blobs).await.unwrap();
    assert!(!first.existing && second.existing);
    assert_eq!(first.configuration, second.configuration);
    assert_eq!(first.configuration.unwrap().kcv.len(), 6);
    let listed = api.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().configurations.len(), 1);
}

#[tokio::test]
async fn validate_only_says_all_and_stores_nothing() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let Blobs { data, digest, key } = administrator.encrypt(DKGA04);
    let request = UploadConfigurationRequest { data, digest, key, validate_only: true };
    let preview = api.configurations.upload_configuration(request.clone()).await.unwrap().into_inner();
    let listed = api.configurations.list_configurations(ListConfigurationsRequest::default()).await.unwrap();
    assert!(listed.into_inner().configurations.is_empty());
    assert_eq!((preview.existing, preview.configuration.as_ref().unwrap().name.as_str()), (false, ""));
    let again = request.clone();
    let request = UploadConfigurationRequest { validate_only: false, ..request };
    let stored = api.configurations.upload_configuration(request).await.unwrap().into_inner();
    let known = api.configurations.upload_configuration(again).await.unwrap().into_inner();
    assert!(known.existing);
    assert_eq!(known.configuration, stored.configuration);
    let (preview, stored) = (preview.configuration.unwrap(), stored.configuration.unwrap());
    assert_eq!((preview.kcv, preview.attributes), (stored.kcv, stored.attributes));
    assert_eq!(preview.warnings, stored.warnings);
}
