//! `vendkey ledger seed`: the last token identifiers of meters that another system served.

use std::path::PathBuf;

use clap::Args;

use super::{
    connection::Connection,
    csv::{self, Reading},
    meter_cell,
    output::{self, Failure},
    token_batch::progress,
};
use crate::{
    api::v1::{MeterSeed, SeedMetersRequest, ledger_service_client::LedgerServiceClient},
    sts::{attributes::BaseDate, tid::Tid},
    table::{Column, Columns, Fault, Presence, Problem, Row, Table, whole},
};

#[derive(Args)]
#[command(after_help = "Example: vendkey ledger seed last-tids.csv

The file's lines are: meter (PAN, 18 digits), base date (1993, 2014 or 2035), last token identifier.
A first line may name the columns meter, base_date and last_tid; they may then stand in any order,
with others between them. The whole file is checked first: if anything is wrong with it, every
fault is told by its line, nothing is done, and the exit code is 65. Meters only rise; the same
file again changes nothing.")]
pub(super) struct Seed {
    /// CSV: meter, base date, last token identifier
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    connection: Connection,
}

/// Seeds of one call.
const SEEDS: usize = 5_000;

const METER: usize = 0;
const BASE_DATE: usize = 1;
const LAST_TID: usize = 2;
const COLUMNS: [Column; 3] = [
    Column { name: "meter", also: &["meter_pan", "pan"], presence: Presence::Needed },
    Column { name: "base_date", also: &["base"], presence: Presence::Needed },
    Column {
        name: "last_tid",
        also: &["tid", "last_token_identifier", "token_identifier"],
        presence: Presence::Needed,
    },
];
const NAMES: [&str; 8] =
    ["meter", "meter_pan", "pan", "base_date", "base", "last_tid", "tid", "last_token_identifier"];

impl Seed {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let table = self.reading.table(&self.file, &NAMES)?;
        let (seeds, empty) =
            read(&table).map_err(|faults| csv::refused(&self.file, faults, "no meter was seeded"))?;
        let mut client = LedgerServiceClient::new(self.connection.open().await?);
        let bar = progress(seeds.len() as u64, "meters");
        let mut raised = 0;
        for seeds in seeds.chunks(SEEDS) {
            let reply = client.seed_meters(SeedMetersRequest { seeds: seeds.to_vec() }).await;
            raised += reply.map_err(Failure::refused(self.connection.json))?.get_ref().raised;
            bar.inc(seeds.len() as u64);
        }
        bar.finish();
        output::print_text(format!("{} meters, {raised} raised{}", seeds.len(), csv::passed_over(empty)))?;
        Ok(())
    }
}

/// All seeds of a table, and how many rows were empty; or all its faults.
fn read(table: &Table) -> Result<(Vec<MeterSeed>, u64), Vec<Fault>> {
    let mut faults = table.faults().to_vec();
    let mut rows = table.rows().peekable();
    let Some(first) = rows.peek().cloned() else {
        if faults.is_empty() {
            faults.push(Fault { line: 1, problem: Problem::Nothing("the file is empty") });
        }
        return Err(faults);
    };
    let header = if Columns::are_in(&first, &COLUMNS) || !has_digits(&first) {
        rows.next();
        match Columns::find(&first, &COLUMNS) {
            Ok(columns) => Some(columns),
            Err(more) => {
                faults.extend(more);
                return Err(faults);
            }
        }
    } else {
        None
    };
    let places = [METER, BASE_DATE, LAST_TID]
        .map(|index| header.as_ref().map_or(Some(index), |columns| columns.position(index)).unwrap_or(index));
    // Without a header there are three columns.
    let shape = match header {
        Some(_) => first,
        None => Row { line: 0, cells: vec![""; COLUMNS.len()].into() },
    };
    let mut seeds = Vec::new();
    for row in rows {
        let seed = row.fits(&shape).map_err(|problem| vec![problem]).and_then(|()| seed(&row, places));
        match seed {
            Ok(seed) => seeds.push(seed),
            Err(problems) => {
                faults.extend(problems.into_iter().map(|problem| Fault { line: row.line, problem }));
            }
        }
    }
    if seeds.is_empty() && faults.is_empty() {
        faults.push(Fault { line: 1, problem: Problem::Nothing("the file has a header and no rows") });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut all = table.rows();
    all.by_ref().for_each(drop);
    Ok((seeds, all.empty()))
}

fn has_digits(row: &Row) -> bool {
    row.cells.iter().any(|cell| cell.contains(|c: char| c.is_numeric()))
}

fn seed(row: &Row, places: [usize; 3]) -> Result<MeterSeed, Vec<Problem>> {
    let cell = |index: usize| row.cell(places[index]);
    let mut problems = Vec::new();
    let mut refuse = |index: usize, reason: String| {
        problems.push(Problem::value(COLUMNS[index].name, cell(index), reason))
    };
    let meter = meter_cell::pan(cell(METER)).map_err(|error| refuse(METER, error.to_string())).ok();
    let base_date = whole(cell(BASE_DATE))
        .map_err(|error| error.to_string())
        .and_then(|year| {
            let year = u16::try_from(year).ok().and_then(|year| BaseDate::try_from(year).ok());
            year.ok_or_else(|| "a base date is 1993, 2014 or 2035".to_owned())
        })
        .map_err(|reason| refuse(BASE_DATE, reason))
        .ok();
    let last_tid = whole(cell(LAST_TID))
        .map_err(|error| error.to_string())
        .and_then(|tid| {
            let tid = u32::try_from(tid).ok().and_then(|tid| Tid::new(tid).ok());
            tid.ok_or_else(|| format!("has more than 24 bits; the largest is {}", Tid::LAST.value()))
        })
        .map_err(|reason| refuse(LAST_TID, reason))
        .ok();
    match (meter, base_date, last_tid) {
        (Some(meter), Some(base_date), Some(last_tid)) => Ok(MeterSeed {
            meter_pan: meter.to_string(),
            base_date: base_date.year().into(),
            last_tid: last_tid.value(),
        }),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;

    fn seeds(text: &str) -> Result<Vec<(String, u32, u32)>, Vec<String>> {
        read(&Table::new(text.as_bytes().to_vec(), Format::default(), &NAMES))
            .map(|(seeds, _)| {
                seeds.into_iter().map(|seed| (seed.meter_pan, seed.base_date, seed.last_tid)).collect()
            })
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn with_and_without_a_header_in_every_form() {
        let one = Ok(vec![("600727475001502312".to_owned(), 2014, 5_000_000)]);
        for text in [
            "600727475001502312,2014,5000000",
            " 600727475001502312 , 2014 , 5000000 \r\n",
            "600727475001502312;2014;5000000\r\r",
            "meter,base,tid\n600727475001502312,2014,5000000\n,,\n",
            "Meter PAN\tbase date\tlast TID\r600727475001502312\t2014\t5000000\r",
            "last_tid,note,base_date,meter\n5000000,\"a, b\",2014,600727475001502312\n",
            "\u{feff}\"600727475001502312\",\"2014\",\"5000000\"\n",
        ] {
            assert_eq!(seeds(text), one, "{text:?}");
        }
    }

    #[test]
    fn every_refused_line_is_named_with_value_and_reason() {
        let file = include_str!("../../tests/cases/csv/seed-slips.csv");
        let said = seeds(file).unwrap_err();
        assert_eq!(said.len(), 2, "{said:#?}");
        assert!(
            said[0].starts_with("line 2: meter \"475001502312\": a PAN without its issuer"),
            "{}",
            said[0]
        );
        assert!(said[1].starts_with("line 3: last_tid \"99999999\": has more than 24 bits"), "{}", said[1]);

        // A bad first meter is no header.
        let said = seeds("600727475001502313,2014,5\n600727475001502312,2014,5\n").unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with("line 1: meter \"600727475001502313\""), "{said:#?}");
        let said = seeds("600727475001502312,2015,x\n1,2\n").unwrap_err();
        assert_eq!(said.len(), 3, "{said:#?}");
    }

    #[test]
    fn headers_are_known_by_their_names() {
        for (text, part) in [
            ("Zähler,Basis,Nummer\n600727475001502312,2014,5\n", "no column meter, base_date, last_tid"),
            ("meter,base_date,lst_tid\n600727475001502312,2014,5\n", "is last_tid meant?"),
            ("meter,base_date\n600727475001502312,2014\n", "no column last_tid"),
            ("", "the file is empty"),
            ("\n,,\n", "the file is empty"),
            ("meter,base_date,last_tid\n", "a header and no rows"),
        ] {
            let said = seeds(text).unwrap_err();
            assert!(said.len() == 1 && said[0].contains(part), "{text:?}: {said:#?}");
        }
    }
}
