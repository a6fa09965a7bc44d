//! The output: the input's rows with what became of each, in their order.
//!
//! How far a batch got is what stands here. What is the start of what the input gives is gone on
//! with; anything else is set aside and written anew, every row being asked for again under its id,
//! which answers the token that it has.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord, Writer};

use crate::table::{self, Format, Row, Table, defused};

/// What is added to a row.
const ADDED: [&str; 5] = ["token", "tid", "name", "reason", "message"];
/// The reason of a row that the input has no more.
const NOT_IN_INPUT: &str = "NOT_IN_INPUT";

/// What an output that may be there is to this input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its start, whole up to `end` bytes: `answered` rows are answered, `refused` of them with a
    /// refusal.
    Start { answered: u64, refused: u64, end: u64 },
    /// Another one, or a whole one with refusals, which may pass now.
    Other,
}

/// Compares the output at `path` with what the rows of the input give.
pub(super) fn standing(path: &Path, header: &Row, table: &Table, count: u64) -> io::Result<Standing> {
    let nothing = Standing::Start { answered: 0, refused: 0, end: 0 };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(nothing);
    }
    // A last row without its end was not written whole.
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    file.rewind()?;
    let has_end = last == *b"\n";

    let mut reader = reader(BufReader::new(file), table.separator());
    let (mut record, mut next) = (ByteRecord::new(), ByteRecord::new());
    let mut has_next = reader.read_byte_record(&mut next)?;
    let mut end = reader.position().byte();
    let mut rows = table.rows().skip(1);
    let wanted = named(header);
    let (mut at, mut answered, mut refused, mut is_behind) = (0_u64, 0, 0, false);
    let mut whole_end = 0;
    while has_next {
        std::mem::swap(&mut record, &mut next);
        let record_end = end;
        has_next = reader.read_byte_record(&mut next)?;
        end = reader.position().byte();
        let is_whole = record.len() == wanted.len();
        let is_torn = !(is_whole && has_end);
        if is_torn && !has_next {
            break;
        }
        if !is_whole {
            return Ok(Standing::Other);
        }
        if at == 0 {
            if record != ByteRecord::from(wanted.clone()) {
                return Ok(Standing::Other);
            }
        } else if &record[wanted.len() - 2] == NOT_IN_INPUT.as_bytes() {
            is_behind = true;
        } else {
            match rows.next() {
                Some(row) if !is_behind && is_of(&record, &row) => {}
                _ => return Ok(Standing::Other),
            }
            answered += 1;
            refused += u64::from(record[wanted.len() - ADDED.len()].is_empty());
        }
        at += 1;
        whole_end = record_end;
    }
    if is_behind && answered < count || answered == count && refused > 0 {
        return Ok(Standing::Other);
    }
    Ok(Standing::Start { answered, refused, end: whole_end })
}

/// Whether a row of the output is of this row of the input. Earlier versions copied cells as they
/// are.
fn is_of(record: &ByteRecord, row: &Row) -> bool {
    row.cells.iter().zip(record).all(|(cell, written)| {
        let written = std::str::from_utf8(written).unwrap_or_default();
        table::trimmed(written) == table::trimmed(cell) || written == defused(cell)
    })
}

fn reader<R: io::Read>(from: R, separator: u8) -> Reader<R> {
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(from)
}

/// The output's header: the input's, and what is added under names that the input has not.
fn named(header: &Row) -> StringRecord {
    let mut names: StringRecord = header.cells.iter().map(defused).collect();
    for name in ADDED {
        let is_taken = header.cells.iter().any(|cell| table::trimmed(cell).eq_ignore_ascii_case(name));
        names.push_field(&if is_taken { format!("token_{name}") } else { name.to_owned() });
    }
    names
}

/// An output that is written to.
pub(super) struct Output {
    path: PathBuf,
    header: StringRecord,
    separator: u8,
    writer: Writer<BufWriter<File>>,
}

/// What becomes of a row.
pub(super) enum Answer {
    Token { token: String, tid: String, name: String },
    Refusal { reason: String, message: String },
}

impl Output {
    /// Opens an output behind what it holds whole.
    pub(super) fn open(path: &Path, header: &Row, separator: u8, end: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.set_len(end)?;
        file.seek(SeekFrom::End(0))?;
        let header = named(header);
        let mut writer = table::writer(BufWriter::new(file), separator);
        if end == 0 {
            writer.write_record(&header)?;
        }
        Ok(Self { path: path.to_owned(), header, separator, writer })
    }

    /// Writes a row with what became of it.
    pub(super) fn answer(&mut self, row: &Row, answer: &Answer) -> io::Result<()> {
        let mut record: StringRecord = row.cells.iter().map(defused).collect();
        match answer {
            Answer::Token { token, tid, name } => {
                [token, tid, name, "", ""].map(|field| record.push_field(field))
            }
            Answer::Refusal { reason, message } => {
                let message = message.replace(['\r', '\n'], " ");
                ["", "", "", reason, &defused(&message)].map(|field| record.push_field(field))
            }
        };
        Ok(self.writer.write_record(&record)?)
    }

    /// Hands all that was written to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Writes the tokens of outputs that were set aside and whose rows the input has no more, and
    /// makes all durable. Says how many those are, and which files could not be read.
    pub(super) fn finish(mut self) -> io::Result<(u64, Vec<PathBuf>)> {
        self.flush()?;
        let (mut carried, mut unread) = (0, Vec::new());
        let aside = set_asides(&self.path)?;
        if !aside.is_empty() {
            let mut names = self.names()?;
            for file in aside.into_iter().map(|(_, path)| path) {
                match Before::read(&file) {
                    Some(before) => carried += self.carry(&before, &mut names)?,
                    None => unread.push(file),
                }
            }
        }
        let file = self.writer.into_inner().map_err(|error| io::Error::from(error.error().kind()))?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((carried, unread))
    }

    /// The names of all tokens in the output.
    fn names(&self) -> io::Result<HashSet<String>> {
        let mut reader = reader(BufReader::new(File::open(&self.path)?), self.separator);
        let (mut names, mut record) = (HashSet::new(), StringRecord::new());
        while reader.read_record(&mut record)? {
            names.extend(record.get(self.header.len() - 3).map(str::to_owned));
        }
        Ok(names)
    }

    fn carry(&mut self, before: &Before, names: &mut HashSet<String>) -> io::Result<u64> {
        let mut carried = 0;
        for row in before.table.rows().skip(1) {
            let added = |index: usize| row.cells.get(before.own + index).unwrap_or_default();
            if added(0).is_empty() || row.cells.len() != before.own + ADDED.len() || names.contains(added(2))
            {
                continue;
            }
            names.insert(added(2).to_owned());
            let own = self.header.len() - ADDED.len();
            let mut record = StringRecord::new();
            for name in self.header.iter().take(own) {
                let place = before.header.cells.iter().take(before.own).position(|before| before == name);
                record.push_field(place.and_then(|place| row.cells.get(place)).unwrap_or_default());
            }
            let message = "issued, and its line is not in the input any more";
            for field in [added(0), added(1), added(2), NOT_IN_INPUT, message] {
                record.push_field(field);
            }
            self.writer.write_record(&record)?;
            carried += 1;
        }
        Ok(carried)
    }
}

/// An output that was set aside.
struct Before {
    table: Table,
    header: Row,
    /// How many columns were the input's.
    own: usize,
}

impl Before {
    fn read(path: &Path) -> Option<Self> {
        let table =
            Table::new(fs::read(path).ok()?, Format::default(), &["token", "tid", "reason", "message"]);
        let header = table.rows().next()?;
        let own = header.cells.len().checked_sub(ADDED.len())?;
        (header.cells.get(own) == Some(ADDED[0])).then_some(Self { table, header, own })
    }
}

/// Sets an output aside as `OUTPUT.1`, or under the next number.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let number = set_asides(path)?.last().map_or(1, |(number, _)| number + 1);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    let aside = PathBuf::from(name);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// The outputs that were set aside, in their order.
fn set_asides(path: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let start = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(&*start)?.strip_prefix('.')?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = "a,note\n1,x\n2,\"two\nlines\"\n3,=1\n";

    struct Rig {
        dir: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("out.csv")
        }

        fn standing(&self, input: &str) -> Standing {
            let table = table(input);
            let header = table.rows().next().unwrap();
            let count = table.rows().count() as u64 - 1;
            standing(&self.path(), &header, &table, count).unwrap()
        }

        /// Writes rows from `end` on: tokens, and a refusal for rows whose first cell is `refused`.
        fn write(
            &self,
            input: &str,
            end: u64,
            skip: usize,
            take: usize,
            refused: &str,
        ) -> (u64, Vec<PathBuf>) {
            let table = table(input);
            let header = table.rows().next().unwrap();
            let mut output = Output::open(&self.path(), &header, table.separator(), end).unwrap();
            let a = header.cells.iter().position(|name| name == "a").unwrap();
            for row in table.rows().skip(1 + skip).take(take) {
                let name = format!("issuedTokens/{}", row.cell(a));
                let answer = if row.cell(a) == refused {
                    Answer::Refusal { reason: "NO".into(), message: "two\nlines".into() }
                } else {
                    Answer::Token { token: "t".into(), tid: "7".into(), name }
                };
                output.answer(&row, &answer).unwrap();
            }
            output.finish().unwrap()
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).unwrap()
        }
    }

    fn table(text: &str) -> Table {
        Table::new(text.as_bytes().to_vec(), Format::default(), &["a", "note"])
    }

    #[test]
    fn every_cut_of_an_output_is_gone_on_with() {
        let rig = Rig::new();
        rig.write(INPUT, 0, 0, 3, "none");
        let whole = rig.text();
        assert!(whole.contains("3,'=1,t,7,issuedTokens/3,,\n"), "{whole}");
        for length in 0..=whole.len() {
            fs::write(rig.path(), &whole[..length]).unwrap();
            let Standing::Start { answered, refused: 0, end } = rig.standing(INPUT) else {
                panic!("{:?}", &whole[..length])
            };
            rig.write(INPUT, end, usize::try_from(answered).unwrap(), 9, "none");
            assert_eq!(rig.text(), whole, "cut at {length}");
        }
    }

    #[test]
    fn another_input_or_refusals_begin_anew() {
        let rig = Rig::new();
        rig.write(INPUT, 0, 0, 2, "1");
        // Not whole: the refused row waits until all were asked.
        assert!(matches!(rig.standing(INPUT), Standing::Start { answered: 2, refused: 1, .. }));
        for other in
            ["a,note\n9,x\n2,\"two\nlines\"\n3,=1\n", "a,note\n1,x\n", "a,b\n1,x\n", "a;note\n1;x\n2;y\n"]
        {
            assert_eq!(rig.standing(other), Standing::Other, "{other}");
        }
        // Rows behind may change and grow.
        let more = INPUT.replace("3,=1", "4,x\n5,y");
        assert!(matches!(rig.standing(&more), Standing::Start { answered: 2, .. }));
        fs::remove_file(rig.path()).unwrap();
        rig.write(INPUT, 0, 0, 3, "2");
        assert_eq!(rig.standing(INPUT), Standing::Other);
    }

    #[test]
    fn tokens_of_rows_that_are_gone_are_carried_once() {
        let rig = Rig::new();
        rig.write(INPUT, 0, 0, 3, "none");
        let aside = set_aside(&rig.path()).unwrap();
        assert!(aside.ends_with("out.csv.1"));
        let fewer = "note;a\nx;1\nz;9\n";
        assert_eq!(rig.write(fewer, 0, 0, 2, "none").0, 2);
        let text = rig.text();
        assert!(text.contains("\"two\nlines\";2;t;7;issuedTokens/2;NOT_IN_INPUT;"), "{text}");
        assert!(text.contains("'=1;3;t;7;issuedTokens/3;NOT_IN_INPUT;"), "{text}");
        let Standing::Start { answered: 2, refused: 0, end } = rig.standing(fewer) else { panic!("{text}") };
        // Again, and from a cut: nothing comes twice.
        assert_eq!(rig.write(fewer, end, 2, 9, "none").0, 0);
        assert_eq!(rig.text(), text);
        fs::write(rig.path(), &text[..text.len() - 9]).unwrap();
        let Standing::Start { answered: 2, end, .. } = rig.standing(fewer) else { panic!("{text}") };
        assert_eq!(rig.write(fewer, end, 2, 9, "none").0, 1);
        assert_eq!(rig.text(), text);
        assert!(set_aside(&rig.path()).unwrap().ends_with("out.csv.2"));
        assert_eq!(rig.write(INPUT, 0, 0, 3, "none").0, 1);
        fs::write(rig.dir.path().join("out.csv.3"), "no output\n").unwrap();
        assert_eq!(rig.write(INPUT, 0, 0, 3, "none").1.len(), 1);
    }

    #[test]
    fn added_names_are_those_that_the_input_has_not() {
        let table = table("Name,tid,a\n1,2,3\n");
        let names = named(&table.rows().next().unwrap());
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            ["Name", "tid", "a", "token", "token_tid", "token_name", "reason", "message"]
        );
    }
}
