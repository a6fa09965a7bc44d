//! Files of orders: what is refused before anything is issued, and how one that stopped or was
//! mended goes on.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vendkey::api::v1::{IssueTokenRequest, IssuedToken, ListIssuedTokensRequest};

use crate::{
    clock::{self, HOUR_MS, Played},
    harness::{Api, DKGA04, Home, Server, ten_kwh},
};

const METERS: [&str; 3] = ["47500150231", "11111111115", "00000000000"];
/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// All rows of the ledger, with digits.
async fn all(api: &mut Api) -> Vec<IssuedToken> {
    let mut request = ListIssuedTokensRequest { page_size: 1_000, digits: true, ..Default::default() };
    let mut rows = Vec::new();
    loop {
        let page = api.tokens.list_issued_tokens(request.clone()).await.unwrap().into_inner();
        rows.extend(page.tokens);
        if page.next_page_token.is_empty() {
            return rows;
        }
        request.page_token = page.next_page_token;
    }
}

/// The records of an output, its header first.
fn records(path: &Path, separator: u8) -> Vec<csv::StringRecord> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).delimiter(separator).from_path(path).unwrap();
    reader.records().map(Result::unwrap).collect()
}

/// The tokens of an output, each once.
fn tokens(records: &[csv::StringRecord]) -> BTreeSet<String> {
    let index = records[0].iter().position(|name| name == "token").unwrap();
    let tokens: Vec<String> = records[1..]
        .iter()
        .map(|record| record[index].to_owned())
        .filter(|token| !token.is_empty())
        .collect();
    let set: BTreeSet<String> = tokens.iter().cloned().collect();
    assert_eq!(set.len(), tokens.len(), "a token stands there twice");
    set
}

/// A batch of `in.csv` into `out.csv` with more arguments.
fn batch(home: &Home, endpoint: &str, more: &[&str]) -> Output {
    let (input, output) = (home.text("in.csv"), home.text("out.csv"));
    let arguments = [&["token", "batch", &input, &output], more].concat();
    home.command(&arguments).env("VENDKEY_ENDPOINT", endpoint).output().unwrap()
}

fn order(configuration: &str, line: usize, amount: &str) -> String {
    format!("{configuration},{},electricity,{amount},note {line}", METERS[line % 3])
}

const HEADER: &str = "configuration,meter,kind,amount,note\n";
const SOME: &str = "configurations/01a2002b-dd0b-7602-ba76-660a2c6950f5";

#[test]
fn a_hundred_faults_in_a_hundred_thousand_lines_are_all_named_before_anything() {
    const LINES: usize = 100_000;
    let home = Home::new();
    let mut input = HEADER.as_bytes().to_vec();
    let mut wrong = BTreeSet::new();
    for line in 0..LINES {
        if line % 1_000 != 777 {
            input.extend(format!("{}\n", order(SOME, line, "10")).bytes());
            continue;
        }
        wrong.insert(line + 2);
        let bad: Vec<u8> = match line / 1_000 % 10 {
            0 => order(SOME, line, "12,5").into(),
            1 => order(SOME, line, "\"1,000\"").into(),
            2 => format!("{SOME},4.75002E+10,electricity,5,").into(),
            3 => format!("{SOME},7500150231,electricity,5,").into(),
            4 => format!("{SOME},47500150231,electricity,5").into(),
            5 => format!("{SOME},\"47500150231,electricity,5,").into(),
            6 => [order(SOME, line, "5").as_bytes(), b"\xe9"].concat(),
            7 => order(SOME, line, "-5").into(),
            8 => order("configurations/7", line, "5").into(),
            _ => format!("{SOME},47500150232,electricity,5,").into(),
        };
        input.extend(bad);
        input.push(b'\n');
    }
    fs::write(home.path("in.csv"), input).unwrap();
    let refused = batch(&home, NOWHERE, &[]);
    assert_eq!(refused.status.code(), Some(65), "{}", said(&refused));
    let said = said(&refused);
    assert!(said.contains("100 faults; nothing was issued"), "{said}");
    let named: BTreeSet<usize> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  line ")?.split(':').next()?.parse().ok())
        .collect();
    assert_eq!(named, wrong);
    assert!(!home.path("out.csv").exists() && !home.path("out.csv.batch").exists());
}

#[test]
fn people_s_files_are_refused_or_read_before_the_server_is_asked() {
    let home = Home::new();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/csv");
    for (file, more, code, parts) in [
        (
            "batch-excel-semicolons.csv",
            &[][..],
            65,
            &["line 2: amount \"12,5\"", "line 3: amount \"1.234,5\""][..],
        ),
        // All is read: then nobody answers.
        ("batch-excel-semicolons.csv", &["--decimal-comma"], 69, &["no connection"]),
        ("batch-numbers.csv", &[], 65, &["5 faults", "line 6: a quote opens here and does not close"]),
        ("batch-notes.csv", &[], 65, &["1 fault;", "line 5: 4 fields where 5 are wanted"]),
    ] {
        let text = fs::read_to_string(cases.join(file)).unwrap().replace("CONFIGURATION", SOME);
        fs::write(home.path("in.csv"), text).unwrap();
        let output = batch(&home, NOWHERE, more);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{file}: {said}");
        for part in parts {
            assert!(said.contains(part), "{file}: {said}");
        }
        assert!(!home.path("out.csv").exists(), "{file}");
    }
    for (text, part) in
        [("", "the file is empty"), (HEADER, "a header and no rows"), (";;;\n,,\n", "no line to work on")]
    {
        fs::write(home.path("in.csv"), text).unwrap();
        for arguments in [
            &["token", "batch", &home.text("in.csv"), &home.text("out.csv")][..],
            &["ledger", "seed", &home.text("in.csv")],
        ] {
            let output = home.command(arguments).env("VENDKEY_ENDPOINT", NOWHERE).output().unwrap();
            assert_eq!(output.status.code(), Some(65), "{text:?}: {}", said(&output));
            if arguments[0] == "token" {
                assert!(said(&output).contains(part), "{text:?}: {}", said(&output));
            }
        }
    }
    let seed = ["ledger", "seed", cases.join("seed-slips.csv").to_str().unwrap()].map(str::to_owned);
    let output =
        home.command(&seed.each_ref().map(String::as_str)).env("VENDKEY_ENDPOINT", NOWHERE).output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{}", said(&output));
    assert!(said(&output).contains("no meter was seeded"), "{}", said(&output));
}

#[tokio::test]
async fn a_file_is_read_in_other_encodings_and_its_notes_stay_records() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let name = api.configuration(DKGA04).await.name;
    let text = format!(
        "configuration;meter;kind;amount;note\r\n{name};47500150231;electricity;12,5;José\r\n;;;;\r\n\
         {name};47500150231;gas_currency;-1,25;=1+1\r\n{name};47500150231;electricity;5;\"two\r\nlines\"\r\n"
    );
    let windows: Vec<u8> = text.chars().map(|c| if c == 'é' { 0xe9 } else { c as u8 }).collect();
    fs::write(home.path("in.csv"), &windows).unwrap();
    let refused = batch(&home, &server.endpoint, &["--decimal-comma"]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(said(&refused).contains("say --encoding windows-1252"), "{}", said(&refused));
    let issued = batch(&home, &server.endpoint, &["--decimal-comma", "--encoding", "windows-1252"]);
    assert!(
        issued.status.success() && said(&issued).contains("1 empty row passed over"),
        "{}",
        said(&issued)
    );
    let written = records(&home.path("out.csv"), b';');
    assert_eq!(written.len(), 4);
    assert_eq!(&written[1][4], "José");
    assert_eq!((&written[2][3], &written[2][4]), ("-1,25", "'=1+1"));
    assert_eq!(&written[3][4], "two\r\nlines");
    assert_eq!(tokens(&written).len(), 3);

    // Saved as UTF-16 it is the same file: every order has its token.
    let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(home.path("in.csv"), wide).unwrap();
    let again = batch(&home, &server.endpoint, &["--decimal-comma"]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(records(&home.path("out.csv"), b';'), written);
    assert_eq!(all(&mut api).await.len(), 3);
}

#[tokio::test]
async fn a_mended_file_goes_on_and_nothing_is_doubled_or_lost() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let name = api.configuration(DKGA04).await.name;
    // Equal lines are sales of their own. Line 20 is of a configuration that is not there.
    let mut lines: Vec<String> =
        (0..40).map(|line| order(if line == 20 { SOME } else { &name }, line, "10")).collect();
    let write =
        |lines: &[String]| fs::write(home.path("in.csv"), format!("{HEADER}{}\n", lines.join("\n"))).unwrap();
    write(&lines);
    let refused = batch(&home, &server.endpoint, &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert_eq!(all(&mut api).await.len(), 39);
    let first = tokens(&records(&home.path("out.csv"), b','));

    // As it is, it is asked for again: the refused line may pass now, the others keep their tokens.
    let again = batch(&home, &server.endpoint, &[]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    assert_eq!(tokens(&records(&home.path("out.csv"), b',')), first);

    // Mended: the refused line, another note, another spelling, lines before, between and behind,
    // one away, two exchanged.
    lines[20] = order(&name, 20, "10");
    lines[3].push_str(", again");
    lines[3] = lines[3].replace("note 3, again", "\"note 3, again\"");
    lines[4] = order(&name, 4, "10.0");
    lines.swap(5, 30);
    lines.remove(39);
    lines.insert(0, order(&name, 0, "11"));
    lines.insert(15, order(&name, 1, "10"));
    lines.push(order(&name, 2, "12"));
    write(&lines);
    let mended = batch(&home, &server.endpoint, &[]);
    assert!(mended.status.success(), "{}", said(&mended));
    let rows = all(&mut api).await;
    let written = records(&home.path("out.csv"), b',');
    // 39 lines were issued; the mended one and three new ones came, of which one of the meter of
    // the line that went takes its token or not.
    let ledger: BTreeSet<String> = rows.iter().map(|row| row.token.clone()).collect();
    assert_eq!(tokens(&written), ledger, "every token of the ledger stands in the output, once");
    assert!(first.is_subset(&ledger));
    assert_eq!(rows.len(), 39 + 4);
    let gone: Vec<_> = written.iter().filter(|record| &record[8] == "NOT_IN_INPUT").collect();
    assert_eq!((gone.len(), written.len() - 1), (1, lines.len() + 1), "{}", said(&mended));

    // Once more: nothing is left to do.
    let last = batch(&home, &server.endpoint, &[]);
    assert!(last.status.success(), "{}", said(&last));
    assert_eq!(records(&home.path("out.csv"), b','), written);
    assert_eq!(all(&mut api).await.len(), 43);
}

#[tokio::test]
async fn orders_that_are_older_than_the_retention_are_not_issued_again() {
    let home = Home::new();
    home.write_settings("[vending]\nrequest_retention_days = 1\n");
    let played = Played::new(&home);
    let server = played.start(&home, &[]);
    let configuration = server.api(&home).await.configuration(DKGA04).await.name;
    let line = |line, amount| order(&configuration, line, amount) + "\n";
    let text = format!("{HEADER}{}{}", line(0, "10"), line(1, "20"));
    fs::write(home.path("in.csv"), &text).unwrap();
    let first = batch(&home, &server.endpoint, &[]);
    assert!(first.status.success(), "{}", said(&first));
    let issued = tokens(&records(&home.path("out.csv"), b','));

    // Two days later the file is mended, and the output written anew.
    played.set(&format!("{} synchronised", 48 * HOUR_MS));
    let give_up = Instant::now() + Duration::from_secs(60);
    while clock::acts(&home, "clock.believed") == 0 {
        assert!(Instant::now() < give_up, "the clock is not believed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::write(home.path("in.csv"), text.replacen(HEADER, &format!("{HEADER}{}", line(2, "30")), 1)).unwrap();
    let again = batch(&home, &server.endpoint, &[]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    let written = records(&home.path("out.csv"), b',');
    let place = written[0].iter().position(|name| name == "reason").unwrap();
    let reasons: Vec<&str> = written[1..].iter().map(|record| &record[place]).collect();
    assert_eq!(reasons, ["", "REQUEST_ID_TOO_OLD", "REQUEST_ID_TOO_OLD", "NOT_IN_INPUT", "NOT_IN_INPUT"]);
    // None is lost and none is doubled.
    let now = tokens(&written);
    assert!(now.is_superset(&issued) && now.len() == 3, "{now:?}");
    assert_eq!(all(&mut server.api(&home).await).await.len(), 3);
}

#[tokio::test]
async fn a_killed_batch_goes_on_though_its_file_was_mended_meanwhile() {
    const LINES: usize = 3_000;
    let home = Home::new();
    let server = Server::start(&home);
    let name = server.api(&home).await.configuration(DKGA04).await.name;
    let mut lines: Vec<String> = (0..LINES).map(|line| order(&name, line, "10")).collect();
    let write =
        |lines: &[String]| fs::write(home.path("in.csv"), format!("{HEADER}{}\n", lines.join("\n"))).unwrap();
    write(&lines);
    let written = || fs::read_to_string(home.path("out.csv")).unwrap_or_default().lines().count();

    // The command dies in the middle, then the server does.
    let arguments = ["token", "batch", &home.text("in.csv"), &home.text("out.csv")];
    let mut first = home.command(&arguments).env("VENDKEY_ENDPOINT", &server.endpoint).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while written() < 200 && Instant::now() < give_up && first.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = first.kill();
    first.wait().unwrap();
    drop(server);

    let server = Server::start(&home);
    lines.insert(0, order(&name, 0, "20"));
    lines.insert(100, order(&name, 1, "10"));
    lines[2_000] = order(&name, 2_000, "15");
    write(&lines);
    let mended = batch(&home, &server.endpoint, &[]);
    assert!(mended.status.success(), "{}", said(&mended));
    let rows = all(&mut server.api(&home).await).await;
    let output = tokens(&records(&home.path("out.csv"), b','));
    // The order that was changed may have been issued before: then it stands at the end, or, in
    // flight at the kill, in the ledger alone.
    assert!((LINES + 2..=LINES + 3).contains(&rows.len()), "{} rows", rows.len());
    assert!((LINES + 2..=rows.len()).contains(&output.len()), "{} tokens", output.len());
    let ledger: BTreeSet<String> = rows.into_iter().map(|row| row.token).collect();
    assert!(output.is_subset(&ledger));
}

#[tokio::test]
async fn an_output_of_an_earlier_version_is_gone_on_with_by_line_numbers() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let configuration = api.configuration(DKGA04).await;
    let lines: Vec<String> = (0..20).map(|line| order(&configuration.name, line, "10")).collect();
    let input = format!("{HEADER}{}\n", lines.join("\n"));
    fs::write(home.path("in.csv"), &input).unwrap();
    // Ten were asked for, seven stand in the output, one of those half.
    let batch_id = Uuid::now_v7();
    let mut output = format!("{},token,tid,name,reason,message\n", HEADER.trim());
    for (index, line) in lines.iter().enumerate().take(10) {
        let id = Uuid::new_v5(&batch_id, (index + 1).to_string().as_bytes());
        let request = IssueTokenRequest {
            meter: METERS[index % 3].to_owned(),
            request_id: id.to_string(),
            ..ten_kwh(&configuration)
        };
        let token = api.issue(request).await.unwrap();
        if index < 7 {
            let tid = token.tid.unwrap().value;
            output.push_str(&format!("{line},{},{tid},{},,\n", token.token, token.name));
        }
    }
    output.truncate(output.len() - 5);
    fs::write(home.path("out.csv"), output).unwrap();
    let sha256 = hex::encode(Sha256::digest(&input));
    let kept = serde_json::json!({ "batch_id": batch_id, "input_sha256": sha256 });
    fs::write(home.path("out.csv.batch"), kept.to_string()).unwrap();

    fs::write(home.path("in.csv"), format!("{input}\n")).unwrap();
    let refused = batch(&home, &server.endpoint, &[]);
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert!(said(&refused).contains("earlier version"), "{}", said(&refused));
    fs::write(home.path("in.csv"), &input).unwrap();
    let resumed = batch(&home, &server.endpoint, &[]);
    assert!(resumed.status.success(), "{}", said(&resumed));
    let ledger: BTreeSet<String> = all(&mut api).await.into_iter().map(|row| row.token).collect();
    assert_eq!(ledger.len(), 20);
    assert_eq!(tokens(&records(&home.path("out.csv"), b',')), ledger);
}

#[tokio::test]
async fn an_output_that_cannot_be_written_ends_the_command_and_is_gone_on_with() {
    const LINES: usize = 400;
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let name = api.configuration(DKGA04).await.name;
    let lines: Vec<String> = (0..LINES).map(|line| order(&name, line, "10")).collect();
    fs::write(home.path("in.csv"), format!("{HEADER}{}\n", lines.join("\n"))).unwrap();
    // Files of 8 KiB at most, and no signal for it.
    let full = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_vendkey")])
        .args(["token", "batch", &home.text("in.csv"), &home.text("out.csv")])
        .env("VENDKEY_CREDENTIAL_FILE", home.path("till"))
        .env("VENDKEY_ENDPOINT", &server.endpoint)
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(74), "{}", said(&full));
    assert!(said(&full).contains("run the same command again"), "{}", said(&full));
    let resumed = batch(&home, &server.endpoint, &[]);
    assert!(resumed.status.success(), "{}", said(&resumed));
    let ledger: BTreeSet<String> = all(&mut api).await.into_iter().map(|row| row.token).collect();
    assert_eq!(ledger.len(), LINES);
    assert_eq!(tokens(&records(&home.path("out.csv"), b',')), ledger);
}

#[tokio::test]
async fn two_commands_do_not_share_an_output() {
    let home = Home::new();
    fs::write(home.path("in.csv"), format!("{HEADER}{}\n", order(SOME, 0, "10"))).unwrap();
    let file = fs::File::create(home.path("out.csv.batch")).unwrap();
    file.lock().unwrap();
    let output = batch(&home, NOWHERE, &[]);
    assert!(said(&output).contains("another command works on this output"), "{}", said(&output));
}
