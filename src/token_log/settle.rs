//! Decides how dates and numbers of a file are to be read, from those that can be read in one way
//! alone. What stays open is said and left out.

use std::collections::BTreeSet;

use super::{
    DateOrder,
    entry::{Entry, Mark},
    found::Found,
    moment,
    number::{self, Number},
};
use crate::table::DecimalMark;

/// What a person decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) order: Option<DateOrder>,
    pub(super) mark: Option<DecimalMark>,
    pub(super) unit: String,
    pub(super) currency: String,
}

/// What a file shows, and the first line that shows it.
struct Evidence {
    orders: Vec<(DateOrder, u64)>,
    marks: Vec<(DecimalMark, u64)>,
}

impl Evidence {
    fn of(found: &[Found]) -> Self {
        let (mut orders, mut marks) = (Vec::new(), Vec::new());
        for found in found {
            if let Some(moment::Shows::Order(order)) = found.time.as_ref().map(moment::Moment::shows)
                && !orders.iter().any(|(known, _)| *known == order)
            {
                orders.push((order, found.line));
            }
            for number in [&found.units, &found.amount].into_iter().flatten() {
                if let number::Shows::Mark(mark) = number.shows()
                    && !marks.iter().any(|(known, _)| *known == mark)
                {
                    marks.push((mark, found.line));
                }
            }
        }
        Self { orders, marks }
    }
}

/// Settles what was found in one file; and says what was decided for it, for people.
pub(super) fn settle(found: Vec<Found>, said: &Said) -> (Vec<Entry>, Vec<String>) {
    let evidence = Evidence::of(&found);
    let order = said.order.or(match evidence.orders.as_slice() {
        [(order, _)] => Some(*order),
        _ => None,
    });
    let mark = said.mark.or(match evidence.marks.as_slice() {
        [(mark, _)] => Some(*mark),
        _ => None,
    });
    let (mut open_dates, mut open_numbers, mut uses_order, mut uses_mark) = (0, 0, false, false);
    let mut entries = Vec::new();
    for mut found in found {
        let Some(token) = found.token.take() else { continue };
        let mut entry = Entry::new(found.line, token);
        entry.meter = found.meter.take();
        entry.notes = std::mem::take(&mut found.notes);
        if let Some(moment) = &found.time {
            uses_order |= moment.shows() == moment::Shows::Several;
            match moment.under(order) {
                Some(time) => entry.time = Some(time),
                None => {
                    open_dates += 1;
                    entry.marks.push(Mark::AmbiguousDate);
                    let dates: BTreeSet<String> = moment.dates().iter().map(ToString::to_string).collect();
                    let dates: Vec<String> = dates.into_iter().collect();
                    entry.notes.push(format!("the date {} may be {}", moment.text, dates.join(" or ")));
                }
            }
        }
        // What the same line shows goes before what the file shows.
        let own = own_mark(&found).or(mark);
        let mut take = |number: &Option<Number>, what: &str| {
            let number = number.as_ref()?;
            uses_mark |= number.shows() == number::Shows::Both;
            // A number that cannot be read as the others is one of its own.
            let value = number.under(own).or_else(|| match number.shows() {
                number::Shows::Mark(_) if said.mark.is_none() => number.under(None),
                _ => None,
            });
            if value.is_none() {
                open_numbers += 1;
                entry.marks.push(Mark::AmbiguousNumber);
                let text = |value: Option<super::Decimal>| value.map(|value| value.to_string());
                let (point, comma) = number.readings();
                let readings: Vec<String> = [text(point), text(comma)].into_iter().flatten().collect();
                entry.notes.push(format!("the {what} {} may be {}", number.text, readings.join(" or ")));
            }
            value
        };
        let units = take(&found.units, "quantity");
        let amount = take(&found.amount, "amount");
        (entry.units, entry.amount) = (units, amount);
        let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
        if found.units.is_some() {
            entry.unit = or(found.unit, &said.unit);
        }
        if found.amount.is_some() {
            entry.currency = or(found.currency, &said.currency);
        }
        entries.push(entry);
    }
    let mut decisions = Vec::new();
    if uses_order && said.order.is_none() {
        match (order, evidence.orders.as_slice()) {
            (Some(order), [(_, line)]) => decisions.push(format!(
                "dates such as 03/11/2026 are read as {}, as line {line} shows",
                order.words()
            )),
            (_, [(first, one), (second, other), ..]) => decisions.push(format!(
                "line {one} has a date in the order {}, line {other} one in {}: say --date-order",
                first.words(),
                second.words()
            )),
            _ => decisions
                .push("no date shows the order of day and month: say --date-order dmy or mdy".to_owned()),
        }
    }
    if uses_mark && said.mark.is_none() {
        match evidence.marks.as_slice() {
            [(mark, line)] => {
                let name = if *mark == DecimalMark::Point { "point" } else { "comma" };
                decisions.push(format!("numbers such as 1,000 are read with a decimal {name}, as line {line} shows"));
            }
            [(_, one), (_, other), ..] => decisions.push(format!(
                "lines {one} and {other} have different decimal marks: numbers such as 1,000 are open where their own line shows none"
            )),
            [] => decisions.push("no number shows the decimal mark: say --decimal-point or --decimal-comma".to_owned()),
        }
    }
    if open_dates > 0 {
        decisions.push(format!("{open_dates} dates are left out (ambiguous_date)"));
    }
    if open_numbers > 0 {
        decisions.push(format!("{open_numbers} numbers are left out (ambiguous_number)"));
    }
    (entries, decisions)
}

/// The decimal mark that the numbers of one record show, if they agree.
fn own_mark(found: &Found) -> Option<DecimalMark> {
    let shown: Vec<DecimalMark> = [&found.units, &found.amount]
        .into_iter()
        .flatten()
        .filter_map(|number| match number.shows() {
            number::Shows::Mark(mark) => Some(mark),
            _ => None,
        })
        .collect();
    match shown.as_slice() {
        [mark] => Some(*mark),
        [one, other] if one == other => Some(*one),
        _ => None,
    }
}
