//! The clean table as a workbook: numbers and times are such, meters and tokens are text, so that no
//! spreadsheet rounds them.

use std::io;

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use super::row::{COLUMNS, row};
use crate::token_log::{Entry, Log};

/// The bytes of a workbook with the table, and a sheet of what was not understood.
pub(super) fn of(log: &Log) -> io::Result<Vec<u8>> {
    made(log).map_err(io::Error::other)
}

fn made(log: &Log) -> Result<Vec<u8>, XlsxError> {
    let bold = Format::new().set_bold();
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    sheet.set_name("tokens")?;
    for (column, name) in (0..).zip(COLUMNS) {
        sheet.write_string_with_format(0, column, name, &bold)?;
    }
    let time = Format::new().set_num_format("yyyy-mm-dd hh:mm:ss");
    let date = Format::new().set_num_format("yyyy-mm-dd");
    for (line, entry) in (1..).zip(&log.entries) {
        for (column, (name, cell)) in (0..).zip(COLUMNS.into_iter().zip(row(log, entry))) {
            match (name, number(name, entry)) {
                (_, Some(number)) => sheet.write_number(line, column, number)?,
                ("time", _) => match &entry.time {
                    // A spreadsheet's time has no zone: one that is told stays text.
                    Some(known) if known.offset.is_some() => sheet.write_string(line, column, cell)?,
                    Some(known) if known.has_clock => {
                        sheet.write_datetime_with_format(line, column, known.local, &time)?
                    }
                    Some(known) => {
                        sheet.write_datetime_with_format(line, column, known.local.date(), &date)?
                    }
                    None => sheet,
                },
                _ if cell.is_empty() => sheet,
                _ => sheet.write_string(line, column, cell)?,
            };
        }
    }
    sheet.set_freeze_panes(1, 0)?;
    let last = u32::try_from(log.entries.len()).unwrap_or(u32::MAX);
    sheet.autofilter(0, 0, last, u16::try_from(COLUMNS.len() - 1).unwrap_or(0))?;
    sheet.set_autofit_max_row(1_000);
    sheet.autofit();

    let sheet = workbook.add_worksheet();
    sheet.set_name("not understood")?;
    for (column, name) in (0..).zip(["file", "line", "why"]) {
        sheet.write_string_with_format(0, column, name, &bold)?;
    }
    let lines =
        log.files.iter().flat_map(|file| file.not_understood.iter().map(move |one| (&file.name, one)));
    for (row, (file, one)) in (1..).zip(lines) {
        sheet.write_string(row, 0, file)?;
        #[expect(clippy::cast_precision_loss, reason = "no file has so many lines")]
        sheet.write_number(row, 1, one.line as f64)?;
        sheet.write_string(row, 2, &one.why)?;
    }
    sheet.autofit();
    workbook.save_to_buffer()
}

/// The value of a column of numbers.
fn number(column: &str, entry: &Entry) -> Option<f64> {
    match column {
        #[expect(clippy::cast_precision_loss, reason = "no file has so many lines")]
        "line" => Some(entry.line as f64),
        "class" => entry.class().map(f64::from),
        "units" => entry.units.map(|units| units.approximate()),
        "amount" => entry.amount.map(|amount| amount.approximate()),
        _ => None,
    }
}
