//! Files of several countries (tests/cases/token-logs), as people send them.

use super::*;

fn read(name: &str, profile: &Profile) -> Log {
    let path = format!("{}/tests/cases/token-logs/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut log = Log::default();
    log.read(name, std::fs::read(path).unwrap(), profile, || {});
    log.mark();
    log
}

fn text(bytes: &str, profile: &Profile) -> Log {
    let mut log = Log::default();
    log.read("text", bytes.as_bytes().to_vec(), profile, || {});
    log.mark();
    log
}

/// An entry without its digits: line, last four digits, what is known, marks.
fn shown(entry: &Entry) -> String {
    let known = |value: Option<Decimal>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let marks: Vec<&str> = entry.marks.iter().map(|mark| mark.name()).collect();
    format!(
        "{} …{} {} {} {} {} {} {} {}",
        entry.line,
        entry.token.last(),
        entry.meter.as_deref().unwrap_or("-"),
        known(entry.units),
        entry.unit,
        known(entry.amount),
        entry.currency,
        entry.time.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        marks.join(","),
    )
}

/// The whole way of a file: what was found, what was not understood, what was decided.
fn check(name: &str, entries: &[&str], not_understood: &[&str], decisions: &[&str]) {
    let log = read(name, &Profile::default());
    let found: Vec<String> = log.entries.iter().map(shown).collect();
    assert_eq!(found, entries, "{name}");
    let lines: Vec<String> =
        log.files[0].not_understood.iter().map(|one| format!("{}: {}", one.line, one.why)).collect();
    assert_eq!(lines, not_understood, "{name}");
    assert_eq!(log.files[0].decisions, decisions, "{name}");
}

#[test]
fn files_of_many_countries() {
    check(
        "kenya-sms.txt",
        &[
            "1 …9076 37308023003 21.52  500  2026-11-03T10:22:00 ",
            "8 …0320 37308023003 43.1  1000  2026-11-14T19:05:00 ",
            "16 …8160 14253157540 8.6  200  2026-11-15T08:00:00 ",
        ],
        &[],
        &[],
    );
    check(
        "south-africa-whatsapp.txt",
        &[
            "1 …3273 04819652514 45.6 kWh 100 ZAR 2026-11-03T10:22:15 ",
            "2 …8092 04819652514 228.1 kWh 500 ZAR 2026-11-09T18:40:02 ",
            "4 …1824 07557989790 2.5 kl 75.5 ZAR 2026-11-21T07:02:44 ",
            "5 …8092 04819652514 228.1 kWh 500 ZAR 2026-11-09T18:40:02 double",
        ],
        &[],
        &[],
    );
    check(
        "tanzania-luku.txt",
        &[
            "1 …3382 24169012721 28.1 kWh 10000 TZS 2026-11-03T10:22:00 ",
            "2 …4915 24169012721 14 kWh 5000 TZS 2026-11-17T21:15:00 ",
        ],
        &[],
        &[
            "dates such as 03/11/2026 are read as day/month/year, as line 2 shows",
            "numbers such as 1,000 are read with a decimal point, as line 1 shows",
        ],
    );
    check(
        "mocambique-credelec.txt",
        &[
            "1 …4695 0139889556383 45.6 kWh 500 MZN 2026-11-03T10:22:00 ",
            "9 …5857 0139889556383 1045.6 kWh 11500 MZN 2026-11-21T09:10:00 ",
        ],
        &[],
        &[],
    );
    check(
        "senegal-woyofal.txt",
        &[
            "1 …4742 14818792575 45.6 kWh 5000 FCFA 2026-11-03T10:22:00 ",
            "2 …7517 14818792575 91.3 kWh 10000 FCFA 2026-11-18T18:05:00 ",
        ],
        &["4: meter, amount, and no token"],
        &["dates such as 03/11/2026 are read as day/month/year, as line 2 shows"],
    );
    check(
        "nigeria-disco.txt",
        &[
            "2 …1765 0101996045247 71.6 kWh 5000 NGN 2026-11-03T14:05:00 ",
            "9 …1694 0101996045247 171.9 kWh 12000 NGN 2026-11-15T09:30:00 ",
            "9 …4856 0101996045247 -  -  2026-11-15T09:30:00 ",
        ],
        &[],
        &[],
    );
    check(
        "gateway-fr.csv",
        &[
            "2 …6293 14079311438 45.6 kWh 5000 XOF 2026-11-03T10:22:00 ",
            "3 …8659 14178235298 12.5 kWh 1250 XOF 2026-11-03T10:23:00 ",
            "4 …4884 14056362595 3 kWh 300 XOF 2026-11-21T08:00:00 check_digit",
        ],
        &[
            "5: the token is no number: this is a number with an exponent (E+..): a spreadsheet has rounded it to 15 digits and the last ones are lost; take it from where it was before, into a column that is formatted as text",
            "6: a token of 19 digits, and a token has 20 (a spreadsheet drops zeros in front and rounds what is long)",
        ],
        &[
            "dates such as 03/11/2026 are read as day/month/year, as line 4 shows",
            "numbers such as 1,000 are read with a decimal comma, as line 2 shows",
        ],
    );
    check(
        "gateway-mdy.csv",
        &[
            "2 …4895 47282777797 100.5  23  2026-11-03T14:15:00 ",
            "3 …2635 47282777797 50.25  11.5  2026-11-21T09:00:00 ",
            "4 …2635 47282777797 50.25  11.5  2026-11-21T09:00:00 double",
            "5 …9999 47282777797 50.25  11.5  2026-11-22T09:00:00 impossible",
        ],
        &[],
        &["dates such as 03/11/2026 are read as month/day/year, as line 3 shows"],
    );
    check(
        "ambiguous.csv",
        &[
            "2 …0835 47261647300 12  -  - ambiguous_date,ambiguous_number",
            "3 …3482 47261647300 15  -  - ambiguous_date,ambiguous_number",
        ],
        &[],
        &[
            "no date shows the order of day and month: say --date-order dmy or mdy",
            "no number shows the decimal mark: say --decimal-point or --decimal-comma",
            "2 dates are left out (ambiguous_date)",
            "2 numbers are left out (ambiguous_number)",
        ],
    );
    check(
        "phone-export.csv",
        &[
            "2 …4793 37756209096 21.5  500  2026-11-03T10:22:05 ",
            "7 …5747 37756209096 8.6  200  2026-11-05T10:58:00 ",
        ],
        &[],
        &[],
    );
    check(
        "slips.txt",
        &["3 …5307 47770577949 12 kWh -  - "],
        &[
            "1: the token is no number: character 4, where digit 4 should be, is the letter o (the digit 0?)",
            "2: a token of 19 digits, and a token has 20",
            "4: it has digits, and nothing that is known to be a token",
            "5: it has digits, and nothing that is known to be a token",
        ],
        &[],
    );
}

#[test]
fn what_a_person_says_settles_what_is_open() {
    let said = |text: &str| Profile::parse(text).unwrap();
    let both = said("date_order = \"dmy\"\ndecimal_mark = \"point\"\ncurrency = \"USD\"");
    let log = read("ambiguous.csv", &both);
    let times: Vec<String> = log.entries.iter().map(|entry| entry.time.unwrap().to_string()).collect();
    assert_eq!(times, ["2026-11-03", "2026-06-05"]);
    assert_eq!(log.entries[0].amount.unwrap().to_string(), "1000");
    assert_eq!(log.entries[0].currency, "USD");
    assert!(log.entries.iter().all(|entry| entry.marks.is_empty()) && log.files[0].decisions.is_empty());
    let other = read("ambiguous.csv", &said("date_order = \"mdy\"\ndecimal_mark = \"comma\""));
    assert_eq!(other.entries[0].time.unwrap().to_string(), "2026-03-11");
    assert_eq!(other.entries[0].amount.unwrap().to_string(), "1");
}

/// One token, for texts that differ in all else.
const TOKEN: &str = "26202996473183413273";

#[test]
fn dates_that_contradict_one_another_settle_nothing() {
    let log = text(
        &format!(
            "meter,token,date\n47500150231,{TOKEN},25/11/2026\n47500150231,{TOKEN},11/25/2026\n47500150231,{TOKEN},03/11/2026\n"
        ),
        &Profile::default(),
    );
    assert!(log.entries[0].time.is_some() && log.entries[1].time.is_some() && log.entries[2].time.is_none());
    assert!(log.entries[2].marks.contains(&Mark::AmbiguousDate));
    assert!(
        log.files[0].decisions[0]
            .contains("line 2 has a date in the order day/month/year, line 3 one in month/day/year")
    );
}

#[test]
fn tokens_in_any_grouping_are_one() {
    let groups = |size: usize, mark: &str| {
        let parts: Vec<&str> =
            TOKEN.as_bytes().chunks(size).map(|part| std::str::from_utf8(part).unwrap()).collect();
        parts.join(mark)
    };
    for (size, mark) in [
        (20, ""),
        (4, " "),
        (4, "-"),
        (4, "."),
        (5, " "),
        (10, "-"),
        (2, " "),
        (3, "-"),
        (4, "\u{a0}"),
        (4, "\u{2013}"),
        (4, "  "),
    ] {
        for around in
            ["Mtr 47500150231 Token: {} 12 kWh", "Jeton n° {} pour 12,0 kWh", "token 1 of 1: {}. 12 units"]
        {
            let log = text(&around.replace("{}", &groups(size, mark)), &Profile::default());
            let found: Vec<&str> = log.entries.iter().map(|entry| entry.token.as_str()).collect();
            assert_eq!(found, [TOKEN], "{size} {mark:?} {around}");
            assert_eq!(log.entries[0].units.unwrap().to_string(), "12", "{size} {mark:?} {around}");
        }
    }
}

#[test]
fn numbers_of_other_things_are_no_tokens_and_no_meters() {
    for line in [
        "Call +254 711 070 000 or 0711070000",
        "Receipt No 12345678901234567890",
        "Ref: 47500150231 paid KES 500.00",
        "IBAN DE89 3704 0044 0532 0130 00",
        "1234 5678 9012 3456 7890 1234",
    ] {
        let log = text(line, &Profile::default());
        assert!(log.entries.is_empty(), "{line}: {:?}", log.entries);
    }
}

#[test]
fn a_profile_teaches_words_and_columns() {
    let profile = Profile::parse(
        "unit = \"kWh\"\n[labels]\nmeter = [\"Rel\u{e9}ve\"]\ntoken = [\"cl\u{e9} de charge\"]\n",
    )
    .unwrap();
    let log = text(&format!("Relève 47500150231 clé de charge {TOKEN} unités 12,5"), &profile);
    assert_eq!(shown(&log.entries[0]), "1 …3273 47500150231 12.5 kWh -  - ");
    let columns = Profile::parse("columns = [\"-\", \"units\", \"token\", \"meter\", \"amount\"]").unwrap();
    let log = text(&format!("x;12,5;{TOKEN};47500150231;100\ny;13,5;{TOKEN};47500150249;100\n"), &columns);
    assert_eq!(shown(&log.entries[0]), "1 …3273 47500150231 12.5  100  - ");
    assert_eq!(log.entries[1].marks, [Mark::OtherMeter]);
}

#[test]
fn a_table_without_a_header_shows_its_tokens_and_says_what_it_does_not_show() {
    let log = text(
        &format!("47500150231,{TOKEN},2026-11-03,12.5\n47500150231,{TOKEN},2026-11-04,13\n"),
        &Profile::default(),
    );
    assert_eq!(shown(&log.entries[0]), "1 …3273 47500150231 -  -  2026-11-03 ");
    assert!(log.files[0].decisions[0].contains("no header"));
}

#[test]
fn doubles_are_told_over_files_and_a_pan_is_the_meter_of_its_drn() {
    let mut log = Log::default();
    for (name, meter) in [("one", "47500150231"), ("two", "600727475001502312"), ("three", "14253157540")] {
        log.read(name, format!("Meter {meter} Token {TOKEN}").into_bytes(), &Profile::default(), || {});
    }
    log.mark();
    assert_eq!(log.entries[1].marks, [Mark::Double]);
    assert_eq!(log.entries[1].notes, ["the same token stands on one, line 1"]);
    assert_eq!(log.entries[2].marks, [Mark::OtherMeter]);
}

#[test]
fn what_is_written_clean_is_read_again() {
    let csv = format!(
        "file,line,time,meter,token,class,units,unit,amount,currency,marks,notes\n\
         a,1,2026-11-03T10:22:00,47500150231,{TOKEN},0,12.5,kWh,1000,KES,,\n\
         a,2,2026-11-03T10:22:00Z,47500150231,{TOKEN},0,12.5,m3,1000.5,TZS,double,\n"
    );
    let log = text(&csv, &Profile::default());
    assert_eq!(shown(&log.entries[0]), "2 …3273 47500150231 12.5 kWh 1000 KES 2026-11-03T10:22:00 ");
    assert_eq!(shown(&log.entries[1]), "3 …3273 47500150231 12.5 m3 1000.5 TZS 2026-11-03T10:22:00Z double");
    assert!(log.files[0].decisions.is_empty(), "{:?}", log.files[0].decisions);
}

#[test]
fn sums_count_doubles_once_and_see_gaps() {
    let mut lines = String::from("meter,token,units,amount,date\n");
    for (index, day) in [1, 2, 3, 4, 5, 6, 28].into_iter().enumerate() {
        // The class stays 0: its bits are not among the last ones of these numbers.
        let token = format!("{:020}", 26_202_996_473_183_413_273_u128 + index as u128);
        lines.push_str(&format!("47500150231,{token},10,25.50,2026-11-{day:02}\n"));
    }
    lines.push_str(&format!("47500150231,{TOKEN},10,25.50,2026-11-01\n"));
    let log = text(&lines, &Profile::default());
    let summary = Summary::of(&log);
    assert_eq!((summary.tokens, summary.doubles), (7, 1));
    assert_eq!(summary.units[0].total.to_string(), "70");
    assert_eq!(summary.amounts[0].total.to_string(), "178.5");
    let meter = &summary.meters[0];
    assert_eq!(meter.gap.map(|(_, _, days)| days), Some(22));
    assert!(meter.gap_is_strange);
    let (amount, units) = summary.prices[0].total;
    assert!((amount.approximate() / units.approximate() - 2.55).abs() < 1e-9);
}

#[test]
fn no_output_of_ours_for_people_holds_a_token() {
    let log = text(&format!("Token {TOKEN}\nToken {}\n", &TOKEN[..19]), &Profile::default());
    let told = format!("{log:?}");
    assert!(!told.contains(&TOKEN[..10]), "{told}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text: String) {
        let mut log = Log::default();
        log.read("any", text.into_bytes(), &Profile::default(), || {});
        log.mark();
        Summary::of(&log);
    }

    #[test]
    fn any_bytes_with_words_are_read(parts: Vec<(u8, u32, char)>) {
        const PIECES: [&str; 24] = [
            "meter", "token: ", "units", " ", "\n", ",", "47500150231", "26202996473183413273", "03/11/2026", "10:22",
            "Amt", "KES", "kWh", "m3", "-", ".", "1 of 3", "n°", ":", "5 000", "1,234.5", "nov", "+", "/",
        ];
        let text: String = parts
            .iter()
            .map(|(piece, number, other)| match piece % 26 {
                24 => number.to_string(),
                25 => other.to_string(),
                known => PIECES[usize::from(known)].to_owned(),
            })
            .collect();
        let mut log = Log::default();
        log.read("any", text.into_bytes(), &Profile::default(), || {});
        log.mark();
        Summary::of(&log);
    }
}
