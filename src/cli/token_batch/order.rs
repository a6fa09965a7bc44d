//! A row of the input as a request, checked as far as that goes without the server.

use super::content::{KINDS, content, unknown_kind};
use crate::{
    api::v1::{IssueTokenRequest, issue_token_request::Content},
    cli::meter_cell,
    id::ConfigurationId,
    table::{Column, Columns, DecimalMark, Fault, Presence, Problem, Row, Table, digits},
};

const fn column(name: &'static str, presence: Presence) -> Column {
    Column { name, also: &[], presence }
}

const CONFIGURATION: usize = 0;
const METER: usize = 1;
const KIND: usize = 2;
const AMOUNT: usize = 3;
const TIME: usize = 4;
const COLUMNS: [Column; 5] = [
    column("configuration", Presence::Needed),
    column("meter", Presence::Needed),
    column("kind", Presence::Needed),
    column("amount", Presence::Wanted),
    column("time", Presence::Optional),
];

/// The names of the columns.
pub(super) const NAMES: [&str; 5] = ["configuration", "meter", "kind", "amount", "time"];

/// How amounts are read.
#[derive(Clone, Copy)]
pub(super) struct Amounts {
    /// None: nobody said it. Then it is a point, and one that may separate thousands is refused.
    pub(super) mark: Option<DecimalMark>,
    pub(super) round_up: bool,
}

/// What a row asks for.
#[derive(Debug)]
pub(super) struct Order {
    /// Without its id.
    pub(super) request: IssueTokenRequest,
    /// The same for all spellings of the same order, such as 10 and 10.0 or a meter's number and
    /// its PAN.
    pub(super) key: String,
}

/// Reads rows under a header.
pub(super) struct Orders {
    pub(super) header: Row,
    columns: Columns,
    amounts: Amounts,
    separator: u8,
}

/// What a file holds.
pub(super) struct Checked {
    pub(super) orders: Orders,
    pub(super) count: u64,
    pub(super) empty: u64,
}

/// Checks the whole table.
///
/// # Errors
/// All faults that can be told without the server.
pub(super) fn check(table: &Table, amounts: Amounts) -> Result<Checked, Vec<Fault>> {
    let mut faults = table.faults().to_vec();
    let nothing = |what| Fault { line: 1, problem: Problem::Nothing(what) };
    let mut rows = table.rows();
    let Some(header) = rows.next() else {
        if faults.is_empty() {
            faults.push(nothing("the file is empty"));
        }
        return Err(faults);
    };
    let output = header.cells.iter().any(|name| name.trim() == "token");
    if output {
        faults.push(Fault { line: header.line, problem: Problem::OutputColumn("token") });
    }
    let columns = match Columns::find(&header, &COLUMNS) {
        Ok(columns) => columns,
        Err(more) => {
            faults.extend(more);
            return Err(faults);
        }
    };
    let orders = Orders { header, columns, amounts, separator: table.separator() };
    let mut count = 0;
    for row in rows.by_ref() {
        count += 1;
        if let Err(problems) = orders.order(&row) {
            faults.extend(problems.into_iter().map(|problem| Fault { line: row.line, problem }));
        }
    }
    if count == 0 && faults.is_empty() {
        faults.push(nothing("the file has a header and no rows"));
    }
    if faults.is_empty() { Ok(Checked { orders, count, empty: rows.empty() }) } else { Err(faults) }
}

impl Orders {
    /// The order of a row.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn order(&self, row: &Row) -> Result<Order, Vec<Problem>> {
        row.fits(&self.header).map_err(|problem| vec![problem])?;
        let cell = |index: usize| self.columns.position(index).map(|at| row.cell(at)).unwrap_or_default();
        let mut problems = Vec::new();
        let mut refuse = |index: usize, reason: String| {
            problems.push(Problem::value(NAMES[index], cell(index), reason));
        };
        let configuration = cell(CONFIGURATION);
        let id = configuration.strip_prefix("configurations/").map(str::parse::<ConfigurationId>);
        if !matches!(id, Some(Ok(_))) {
            refuse(CONFIGURATION, "expected configurations/ and a UUID in lower case".to_owned());
        }
        let drn = meter_cell::drn(cell(METER)).map_err(|error| refuse(METER, error.to_string())).ok();
        let time = match cell(TIME) {
            "" => None,
            text => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Some(time.as_second()),
                Err(_) => {
                    refuse(TIME, "not a time with its offset, such as 2026-11-21T10:00:00Z".to_owned());
                    None
                }
            },
        };
        let kind = cell(KIND).to_ascii_lowercase();
        let content = match KINDS.contains(&kind.as_str()) {
            true => self.content(&kind, cell(AMOUNT)).map_err(|reason| refuse(AMOUNT, reason)).ok(),
            false => {
                refuse(KIND, unknown_kind(&kind));
                None
            }
        };
        let (Some(drn), Some((content, exact)), true) = (drn, content, problems.is_empty()) else {
            return Err(problems);
        };
        let key = format!(
            "{configuration}\n{drn}\n{kind}\n{exact}\n{}",
            time.map(|time| time.to_string()).unwrap_or_default()
        );
        let request = IssueTokenRequest {
            configuration: configuration.to_owned(),
            meter: cell(METER).to_owned(),
            request_id: String::new(),
            token_time: time.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            content: Some(content),
        };
        Ok(Order { request, key })
    }

    fn content(&self, kind: &str, amount: &str) -> Result<(Content, String), String> {
        let Amounts { mark, round_up } = self.amounts;
        // Spreadsheets write semicolons where decimals have commas.
        if mark.is_none() && self.separator == b';' && may_be_thousands(amount) {
            let text = "ambiguous where semicolons separate fields: say --decimal-point, or --decimal-comma if points separate \
                        thousands, and write 1234 for those";
            return Err(text.to_owned());
        }
        content(kind, amount, mark.unwrap_or(DecimalMark::Point), round_up)
    }
}

/// `1.234`: a point where one between thousands would stand.
fn may_be_thousands(amount: &str) -> bool {
    let amount = amount.strip_prefix('-').unwrap_or(amount);
    amount.split_once('.').is_some_and(|(whole, places)| {
        digits(whole) && whole.len() <= 3 && !whole.starts_with('0') && digits(places) && places.len() == 3
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::unit_credit;
    use crate::table::Format;

    const CONFIGURATION: &str = "configurations/01a2002b-dd0b-7602-ba76-660a2c6950f5";

    fn checked(text: &str, amounts: Amounts) -> Result<Vec<Order>, Vec<String>> {
        let text = text.replace("CONFIGURATION", CONFIGURATION);
        let table = Table::new(text.into_bytes(), Format::default(), &NAMES);
        match check(&table, amounts) {
            Ok(Checked { orders, count, .. }) => {
                let read: Vec<Order> = table.rows().skip(1).map(|row| orders.order(&row).unwrap()).collect();
                assert_eq!(read.len() as u64, count);
                Ok(read)
            }
            Err(mut faults) => {
                faults.sort_by_key(|fault| fault.line);
                Err(faults.iter().map(ToString::to_string).collect())
            }
        }
    }

    const PLAIN: Amounts = Amounts { mark: None, round_up: false };

    #[test]
    fn columns_are_found_by_name() {
        let orders = checked(
            "Meter,kind,configuration,amount,note\n 47500150231 ,Electricity,CONFIGURATION,12.5,\"a, b\"\n",
            PLAIN,
        )
        .unwrap();
        let request = &orders[0].request;
        assert_eq!((request.meter.as_str(), request.configuration.as_str()), ("47500150231", CONFIGURATION));
        let Some(Content::ElectricityCredit(credit)) = &request.content else { panic!("another content") };
        assert_eq!(credit.amount, Some(unit_credit::Amount::Decimal("12.5".into())));
    }

    #[test]
    fn spellings_of_one_order_have_one_key() {
        let rows = "configuration,meter,kind,amount\n\
             CONFIGURATION,47500150231,electricity,10\n\
             CONFIGURATION,600727475001502312,ELECTRICITY,10.00\n\
             CONFIGURATION,47500150231,electricity,10.1\n\
             CONFIGURATION,47500150231,electricity,10.04\n";
        let keys: Vec<String> = checked(rows, Amounts { round_up: true, ..PLAIN })
            .unwrap()
            .into_iter()
            .map(|order| order.key)
            .collect();
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        // Rounded up, it is the same order to the ledger too.
        assert_eq!(keys[2], keys[3]);
    }

    #[test]
    fn all_that_is_wrong_with_a_row_is_said_at_once() {
        let said =
            checked("configuration,meter,kind,amount,time\nc,1,electricty,5,tomorrow\n", PLAIN).unwrap_err();
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said.iter().all(|fault| fault.starts_with("line 2: ")), "{said:#?}");
        assert!(said.iter().any(|fault| fault.contains("is electricity meant?")), "{said:#?}");
    }

    #[test]
    fn amounts_are_checked_as_the_server_does() {
        let amount = |kind: &str, amount: &str| {
            let text =
                format!("configuration;meter;kind;amount\nCONFIGURATION;47500150231;{kind};{amount}\n");
            checked(&text, PLAIN).map(|_| ()).map_err(|faults| faults.concat())
        };
        for (kind, good) in [
            ("electricity", "1820162.4"),
            ("electricity", "0.500"),
            ("electricity", "25.5000"),
            ("gas_currency", "-5"),
            ("maximum_power_limit", "5000"),
            ("tariff_rate", "65535"),
            ("clear_credit", "all"),
            ("clear_tamper", ""),
        ] {
            assert_eq!(amount(kind, good), Ok(()), "{kind} {good}");
        }
        for (kind, bad, said) in [
            ("electricity", "", "is missing; electricity needs it"),
            ("electricity", "-5", "negative"),
            ("electricity", "1820162.5", "more than a token"),
            ("water", "1.25", "--round-up"),
            ("water", "1.234", "ambiguous"),
            ("gas_currency", "-12.500", "ambiguous"),
            ("gas_currency", "0.000001", "--round-up"),
            ("maximum_power_limit", "5.5", "whole number"),
            ("maximum_power_limit", "18201625", "18201624 W"),
            ("tariff_rate", "65536", "0 to 65535"),
            ("clear_credit", "REGISTER_UNSPECIFIED", "expected electricity"),
            ("clear_tamper", "7", "takes none"),
            ("", "7", "is missing; one of"),
        ] {
            let error = amount(kind, bad).unwrap_err();
            assert!(error.contains(said), "{kind} {bad}: {error}");
        }
    }

    #[test]
    fn people_s_files() {
        let file = |name: &str| {
            std::fs::read_to_string(format!("{}/tests/cases/csv/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
        };
        let starts = |said: &[String], wanted: &[&str]| {
            assert_eq!(said.len(), wanted.len(), "{said:#?}");
            for (said, wanted) in said.iter().zip(wanted) {
                let (start, part) = wanted.split_once('|').unwrap();
                assert!(said.starts_with(start) && said.contains(part), "{said}: {wanted}");
            }
        };
        let excel = file("batch-excel-semicolons.csv");
        starts(
            &checked(&excel, PLAIN).unwrap_err(),
            &["line 2: amount \"12,5\"|--decimal-comma", "line 3: amount \"1.234,5\"|ambiguous"],
        );
        let orders = checked(&excel, Amounts { mark: Some(DecimalMark::Comma), ..PLAIN }).unwrap();
        let Some(Content::WaterCredit(credit)) = &orders[1].request.content else {
            panic!("another content")
        };
        assert_eq!(credit.amount, Some(unit_credit::Amount::Decimal("1234.5".into())));
        starts(
            &checked(&file("batch-numbers.csv"), PLAIN).unwrap_err(),
            &[
                "line 2: meter \"4.75002E+10\"|exponent: its last digits are lost",
                "line 3: meter \"7500150231\"|a leading zero may be lost",
                "line 4: amount \"1,000\"|thousands separator",
                "line 5: amount \"١٢\"|other digits",
                "line 6: |a quote opens here and does not close",
            ],
        );
        starts(
            &checked(&file("batch-notes.csv"), PLAIN).unwrap_err(),
            &["line 5: |4 fields where 5 are wanted"],
        );
    }

    #[test]
    fn a_file_of_which_nothing_is_done_is_a_fault() {
        for (text, said) in [
            ("", "the file is empty"),
            ("\r\n \r\n", "the file is empty"),
            ("configuration,meter,kind,amount\n", "a header and no rows"),
            ("configuration,meter,kind,amount\n,,,\n\n", "a header and no rows"),
            (
                "configuration,meter,kind,amount,token\nCONFIGURATION,47500150231,electricity,1,1\n",
                "the output of a batch",
            ),
        ] {
            let faults = checked(text, PLAIN).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(said), "{text:?}: {faults:?}");
        }
    }
}
