//! Whole tables.

use super::*;

const KNOWN: [Column; 3] = [
    Column { name: "meter", also: &["pan"], presence: Presence::Needed },
    Column { name: "amount", also: &[], presence: Presence::Wanted },
    Column { name: "time", also: &[], presence: Presence::Optional },
];

fn table(text: &str) -> Table {
    Table::new(text.as_bytes().to_vec(), Format::default(), &["meter", "amount", "time"])
}

fn rows(text: &str) -> (Vec<(u64, Vec<String>)>, u64) {
    let table = table(text);
    assert_eq!(table.faults(), [], "{text:?}");
    let mut rows = table.rows();
    let read = rows.by_ref().map(|row| (row.line, row.cells.iter().map(str::to_owned).collect())).collect();
    (read, rows.empty())
}

fn row(line: u64, cells: [&str; 2]) -> (u64, Vec<String>) {
    (line, cells.map(str::to_owned).to_vec())
}

#[test]
fn separators_and_line_ends_are_understood() {
    for separator in [",", ";", "\t", "|"] {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["meter,amount", "1,2", "", "3,\"4\n5\"", "6,7", ",", " ,", ""];
            let text = text.join("\u{1}").replace(',', separator).replace('\u{1}', end);
            let expected = vec![
                row(1, ["meter", "amount"]),
                row(2, ["1", "2"]),
                row(4, ["3", "4\n5"]),
                row(6, ["6", "7"]),
            ];
            assert_eq!(rows(&text), (expected, 3), "{text:?}");
        }
    }
    // The last line needs no end; Excel's own line names the separator.
    assert_eq!(rows("meter,amount\n1,2").0.len(), 2);
    assert_eq!(
        rows("sep=;\r\nmeter;amount\r\n1,5;2\r\n").0,
        [row(2, ["meter", "amount"]), row(3, ["1,5", "2"])]
    );
    assert_eq!(rows(""), (vec![], 0));
    assert_eq!(rows("\n\n").1, 2);
    // Decimal commas do not outweigh names.
    assert_eq!(table("meter;amount (a, b, c, d)\n").separator(), b';');
}

#[test]
fn broken_quotes_take_their_own_line_alone() {
    let table = table("meter,amount\n1,2\n\"3,4\n5,6\n7,\"8\"\n");
    assert_eq!(table.faults().len(), 1);
    assert_eq!(table.faults()[0].line, 3);
    let lines: Vec<u64> = table.rows().map(|row| row.line).collect();
    assert_eq!(lines, [1, 2, 4, 5]);
}

#[test]
fn columns_are_found_or_told() {
    let find = |header: &str| {
        let table = table(header);
        let row = table.rows().next().unwrap();
        Columns::find(&row, &KNOWN)
            .map(|columns| (0..3).map(|index| columns.position(index)).collect::<Vec<_>>())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(find("note,Amount, METER \n"), Ok(vec![Some(2), Some(1), None]));
    assert_eq!(find("pan,name,sale time\n"), Ok(vec![Some(0), None, None]));
    for (header, said) in [
        ("a,b\n", "line 1: no column meter; the first line names \"a\", \"b\""),
        ("meter,meter,amount\n", "line 1: the column meter is there twice"),
        ("metre,amount\n", "line 1: the column \"metre\" is not known: is meter meant?"),
        ("meter,amuont\n", "line 1: the column \"amuont\" is not known: is amount meant?"),
        ("meter,Amount (kWh)\n", "line 1: the column \"Amount (kWh)\" is not known: is amount meant?"),
    ] {
        assert_eq!(find(header), Err(vec![said.to_owned()]), "{header}");
    }
}

#[test]
fn rows_of_another_width_are_told() {
    let table = table("meter,amount\n1,2,5\n1\n1,2,,\n1;2\nmeter,amount\n1,2\n");
    let mut rows = table.rows();
    let header = rows.next().unwrap();
    let said: Vec<String> = rows
        .map(|row| row.fits(&header).err().map(|problem| problem.to_string()).unwrap_or_default())
        .collect();
    assert_eq!(
        said,
        [
            "3 fields where 2 are wanted; a value that holds the separator (12,5 or a text) must stand in quotes",
            "1 fields where 2 are wanted; a field is missing",
            "4 fields where 2 are wanted; separators too many at its end",
            "1 fields where 2 are wanted; its fields are separated otherwise than the header's",
            "the header once more: were files put together?",
            "",
        ]
    );
}

proptest::proptest! {
    /// Whatever the bytes are, reading ends, lines only grow, and no row is given twice.
    #[test]
    fn no_bytes_stop_the_reading(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            &b"meter"[..], b"amount", b"12", b",", b";", b"\t", b"\"", b"\"\"", b"\r", b"\n", b"\r\n", b" ", b"\xe9", b"\xe2\x82",
            "é".as_bytes(), b"\0", b"\xef\xbb\xbf", b"sep=;", b"\x1a", b"=1",
        ]), 0..60),
        encoding in proptest::sample::select(vec![None, Some("windows-1252"), Some("utf-16le")]),
    ) {
        let format = Format { encoding: encoding.map(|name| name.parse().unwrap()), separator: None };
        let bytes = parts.concat();
        let lines = bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() as u64 + 1;
        let table = Table::new(bytes, format, &["meter", "amount"]);
        let mut last = 0;
        for row in table.rows() {
            proptest::prop_assert!(row.line > last);
            last = row.line;
        }
        if encoding != Some("utf-16le") {
            proptest::prop_assert!(last <= lines);
            proptest::prop_assert!(table.faults().iter().all(|fault| (1..=lines).contains(&fault.line)));
        }
    }
}
