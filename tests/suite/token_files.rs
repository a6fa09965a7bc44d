//! Files of tokens that other systems wrote: `vendkey tokens`, from outside.

use std::{fs, process::Output};

use tonic::{Code, Request, metadata::MetadataMap};
use tonic_types::StatusExt as _;
use vendkey::api::v1::{ReadTokenFilesRequest, TokenFile, token_file_service_client::TokenFileServiceClient};

use crate::harness::{DKGA04, DRN, Home, Server, ten_kwh, violations};

const FILES: [&str; 5] =
    ["kenya-sms.txt", "south-africa-whatsapp.txt", "gateway-fr.csv", "gateway-mdy.csv", "slips.txt"];

fn case(name: &str) -> String {
    format!("{}/tests/cases/token-logs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the program; it needs no server and no HSM.
fn tokens(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_vendkey")).arg("tokens").args(arguments).output().unwrap()
}

#[test]
fn a_clean_table_and_a_workbook_come_out_and_every_other_line_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let files = FILES.map(case);
    let mut arguments: Vec<&str> = vec!["clean"];
    arguments.extend(files.iter().map(String::as_str));
    let (csv, xlsx) = (path("clean.csv"), path("clean.xlsx"));
    arguments.extend(["--out", &csv, "--xlsx", &xlsx]);
    let done = tokens(&arguments);
    let told = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{told}");
    for said in [
        "slips.txt: line 1: the token is no number",
        "slips.txt: line 5: it has digits",
        "gateway-fr.csv: line 5: the token is no number: this is a number with an exponent",
        "gateway-mdy.csv: dates such as 03/11/2026 are read as month/day/year, as line 3 shows",
        "15 tokens in 5 files",
        "2 double",
        "1 check_digit",
        "1 impossible",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let table = fs::read_to_string(&csv).unwrap();
    assert!(
        table.starts_with("file,line,time,meter,token,class,units,unit,amount,currency,marks,notes\n"),
        "{table}"
    );
    assert!(
        table.contains(",1,2026-11-03T10:22:00,37308023003,41750778938890399076,0,21.52,,500,,,\n"),
        "{table}"
    );
    // Nothing that people read on the way holds a token.
    for row in csv::Reader::from_path(&csv).unwrap().records() {
        assert!(!told.contains(&row.unwrap()[4]), "{told}");
    }
    assert!(fs::read(&xlsx).unwrap().starts_with(b"PK"));
    // What came out is read again, to the same table but for the names and lines of the file.
    let again = tokens(&["clean", &csv]);
    let columns = |table: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let wanted = |row: csv::StringRecord| row.iter().skip(2).take(8).map(str::to_owned).collect();
        reader.records().map(|row| wanted(row.unwrap())).collect()
    };
    assert_eq!(columns(&text(&again.stdout)), columns(&table), "{}", text(&again.stderr));
}

#[test]
fn the_report_is_one_page_without_tokens_and_without_anything_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let html = dir.path().join("report.html").display().to_string();
    let files = FILES.map(case);
    let mut arguments: Vec<&str> = vec!["report", "--html", &html];
    arguments.extend(files.iter().map(String::as_str));
    let done = tokens(&arguments);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.matches("<svg ").count() >= 4, "{page}");
    for said in
        ["doubles, left out of all sums", "Transferred by day", "Price of a unit", "What was not understood"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("41750778938890399076") && page.contains("…8092"), "the last four digits alone");
    let without_namespaces = page.replace("http://www.w3.org/2000/svg", "");
    for elsewhere in ["http:", "https:", "<script", "src=", "url("] {
        assert!(!without_namespaces.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn a_file_of_something_else_and_a_wrong_profile_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.txt");
    fs::write(&file, "Dear Sir,\nthank you.\n").unwrap();
    let none = tokens(&["clean", file.to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(65), "{}", text(&none.stderr));
    assert!(text(&none.stderr).contains("no token was found"));
    let profile = dir.path().join("profile.toml");
    fs::write(&profile, "colour = 1\n").unwrap();
    let wrong = tokens(&["clean", &case("kenya-sms.txt"), "--profile", profile.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(65));
    assert!(text(&wrong.stderr).contains("colour"), "{}", text(&wrong.stderr));
    let missing = tokens(&["clean", "nowhere.csv"]);
    assert_eq!(missing.status.code(), Some(66));
    // What opens a file in a spreadsheet runs no formula of a message.
    fs::write(&file, "meter,token,units,unit\n47500150231,26202996473183413273,5,=1+1\n").unwrap();
    let defused = tokens(&["clean", file.to_str().unwrap()]);
    assert!(text(&defused.stdout).contains(",'=1+1,"), "{}", text(&defused.stdout));
}

#[tokio::test]
async fn tokens_that_the_ledger_has_are_marked() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let issued = api.issue(ten_kwh(&configuration)).await.unwrap().token;
    let file = home.path("log.csv");
    fs::write(
        &file,
        format!(
            "meter,token,units\n{DRN},{issued},10\n{DRN},26202996473183413273,10\n12345678903,{issued},10\n"
        ),
    )
    .unwrap();
    let credential = home.text("till");
    let done = server.vendkey(
        &home,
        &["tokens", "clean", file.to_str().unwrap(), "--with-ledger", "--credential-file", &credential],
    );
    assert!(done.status.success(), "{}", text(&done.stderr));
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_reader(done.stdout.as_slice()).into_records().map(Result::unwrap).collect();
    let marks: Vec<&str> = rows.iter().map(|row| &row[10]).collect();
    assert_eq!(marks, ["in_ledger", "not_in_ledger", "other_meter not_in_ledger"]);
}

#[tokio::test]
async fn a_server_reads_files_as_the_command_does_within_bounds() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut client = TokenFileServiceClient::connect(server.endpoint.clone()).await.unwrap();
    let bearer = format!("Bearer {}", home.credential());
    let asked = |files: Vec<TokenFile>, profile: &str| {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", bearer.parse().unwrap());
        let wanted = ReadTokenFilesRequest { files, profile: profile.to_owned() };
        Request::from_parts(metadata, Default::default(), wanted)
    };
    let file = |name: &str, content: Vec<u8>| TokenFile { name: name.to_owned(), content };
    let files: Vec<TokenFile> = FILES.iter().map(|name| file(name, fs::read(case(name)).unwrap())).collect();
    let answer = client.read_token_files(asked(files.clone(), "")).await.unwrap().into_inner();
    let cases = FILES.map(case);
    let mut arguments: Vec<&str> = vec!["clean", "--json"];
    arguments.extend(cases.iter().map(String::as_str));
    let told = text(&tokens(&arguments).stdout);
    let rows: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own: Vec<_> =
        answer.entries.iter().map(|one| (one.token.as_str(), one.meter.as_str(), &one.marks)).collect();
    let field = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(own.len(), rows.len());
    for (own, row) in own.iter().zip(&rows) {
        assert_eq!((own.0, own.1), (field(row, "token").as_str(), field(row, "meter").as_str()));
        assert_eq!(serde_json::json!(own.2), row["marks"], "{row}");
    }
    let summary = answer.summary.unwrap();
    assert_eq!((summary.tokens, summary.doubles), (13, 2));
    assert!(answer.files.iter().any(|file| file.not_understood_count > 0));

    // All faults at once.
    let mut many = vec![file("", vec![b'x'; 2 * 1024 * 1024]); 1];
    many.extend(std::iter::repeat_n(file("more", vec![b'x']), 20));
    let refused = client.read_token_files(asked(many, "colour = 1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(violations(&refused), ["files", "files", "files[0].name", "profile"]);
    let long = "meter,token\n".to_owned() + &format!("{DRN},26202996473183413273\n").repeat(10_001);
    let refused = client.read_token_files(asked(vec![file("long", long.into())], "")).await.unwrap_err();
    let told = refused.get_error_details();
    let told = &told.bad_request().unwrap().field_violations[0].description;
    assert!(told.contains("10001 tokens") && told.contains("vendkey tokens clean"), "{told}");
    // Nobody without a credential has a file read.
    let nobody = Request::new(ReadTokenFilesRequest { files, profile: String::new() });
    assert_eq!(client.read_token_files(nobody).await.unwrap_err().code(), Code::Unauthenticated);
}
