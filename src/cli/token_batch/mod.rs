//! `vendkey token batch`: a file of any length, checked whole before the first token, resumable and
//! mendable without a double.
//!
//! The request id of a row is made of the batch's id, its order, and how many equal orders stand
//! before it (`batch.rs`). So whatever is done to the file, an order that was asked for is asked
//! for again under its id and gets the token that it has.

mod batch;
mod content;
mod order;
mod output;
mod stream;

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    connection::{Connection, NoServer, Servers},
    csv::{self, Decimals, Reading},
    exit::Exit,
    interruption,
    output::{Failure, print_text},
};
use crate::{
    api::v1::{IssueTokenRequest, token_service_client::TokenServiceClient},
    connection::Authorized,
    table::Table,
};
use batch::Batch;
use order::{Amounts, Checked};
use output::{Answer, Output, Standing};
use stream::{Asked, Stop, WINDOW};

#[derive(Args)]
#[command(after_help = "Example: vendkey token batch monday.csv monday-tokens.csv

The input's first line names its columns: configuration, meter, kind, amount, and if wanted time;
others are copied. Kinds: electricity, water, gas, time and each with _currency behind it,
maximum_power_limit (W), phase_unbalance (W), tariff_rate, water_meter_factor, clear_credit (the
register, or all), clear_tamper.

The whole file is checked first. If anything is wrong with it, every fault is told by its line,
nothing is issued, and the exit code is 65. The output has the same rows with token, tid, name,
reason and message. Interrupted, the same command goes on where it stopped; so it does with a
mended file: what was issued is known by what its line orders. A line that the server refuses has
its reason and no token; the exit code is 2 then, and the same command asks for it again.

With several servers in --endpoint it goes on at the next one when one stops or is lost.")]
pub(super) struct Arguments {
    /// CSV with a line for each token
    input: PathBuf,
    /// Where the tokens go; FILE.batch beside it keeps what going on needs
    output: PathBuf,
    /// Round amounts finer than the unit up instead of refusing them
    #[arg(long)]
    round_up: bool,
    #[command(flatten)]
    decimals: Decimals,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    connection: Connection,
}

/// Tries without progress before it gives up.
const TRIES: u32 = 10;

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let table = self.reading.table(&self.input, &order::NAMES)?;
        let checked = order::check(&table, Amounts { mark: self.decimals.said(), round_up: self.round_up })
            .map_err(|faults| csv::refused(&self.input, faults, "nothing was issued"))?;
        let _interrupted = interruption::tell("the same command again goes on, without a double".to_owned());
        let batch = Batch::open(&self.input, &self.output)?;
        let header = &checked.orders.header;
        let unread = |error: io::Error| Failure::created("output", &self.output, &error);
        let standing = output::standing(&self.output, header, &table, checked.count).map_err(unread)?;
        let mut servers = self.connection.servers()?;
        let client = TokenServiceClient::new(servers.connect().await?);

        let bar = progress(checked.count, "lines");
        let (answered, refused, end) = match standing {
            Standing::Start { answered, refused, end } => {
                if answered > 0 {
                    say(&bar, &format!("going on behind row {answered}"));
                }
                (answered, refused, end)
            }
            Standing::Other => {
                let aside = output::set_aside(&self.output).map_err(unread)?;
                say(
                    &bar,
                    &format!(
                        "the output is written anew, tokens that were issued keep their rows; it is kept as {}",
                        aside.display()
                    ),
                );
                (0, 0, 0)
            }
        };
        bar.set_position(answered);
        let written = |error: &io::Error| self.not_written(error);
        let mut output =
            Output::open(&self.output, header, table.separator(), end).map_err(|error| written(&error))?;
        let mut done = Done { answered, refused };
        let calls = Calls { servers, client: Some(client) };
        self.issue(calls, &checked, &table, &batch, &mut output, &mut done, &bar).await?;
        let (carried, unread) = output.finish().map_err(|error| written(&error))?;
        bar.finish();
        for file in unread {
            say(
                &bar,
                &format!(
                    "{} is no output of a batch any more: its tokens were not looked for",
                    file.display()
                ),
            );
        }
        let gone = match carried {
            0 => String::new(),
            _ => format!(
                "; {carried} tokens of lines that are not in the input any more stand at the end (NOT_IN_INPUT)"
            ),
        };
        let Done { answered, refused } = done;
        print_text(format!(
            "{answered} lines, {refused} refused; batch {}{}{gone}",
            batch.id(),
            csv::passed_over(checked.empty)
        ))?;
        if refused == 0 {
            return Ok(());
        }
        let text =
            format!("{refused} lines were refused: see their reasons; the same command asks for them again");
        Err(Failure::exit(Exit::Partly, text))
    }

    /// Asks for all rows behind those that are answered.
    #[expect(clippy::too_many_arguments, reason = "the parts of one run")]
    async fn issue(
        &self,
        mut calls: Calls,
        checked: &Checked,
        table: &Table,
        batch: &Batch,
        output: &mut Output,
        done: &mut Done,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut ids = batch.ids();
        let mut asked = table.rows().skip(1).filter_map(|row| {
            // The whole table was checked.
            let order = checked.orders.order(&row).ok()?;
            let request_id = ids.next(row.line, &order.key).to_string();
            Some(Asked { row, request: IssueTokenRequest { request_id, ..order.request } })
        });
        // Those that are answered count among equal ones.
        for _ in 0..done.answered {
            asked.next();
        }
        // Read and not answered, in order: what a broken stream asks for again.
        let mut open: VecDeque<Asked> = VecDeque::new();
        let mut tries = 0;
        loop {
            open.extend(asked.by_ref().take(WINDOW - open.len()));
            if open.is_empty() {
                return Ok(());
            }
            let before = open.len();
            let ended = match calls.connected().await {
                Ok(client) => {
                    stream::ask(client, &mut open, |row, answer| {
                        output.answer(row, &answer)?;
                        done.refused += u64::from(matches!(answer, Answer::Refusal { .. }));
                        done.answered += 1;
                        bar.inc(1);
                        Ok(())
                    })
                    .await
                }
                Err(problem) => Err(Stop::Passing(problem.text)),
            };
            output.flush().map_err(|error| self.not_written(&error))?;
            let problem = match ended {
                Ok(()) => continue,
                Err(Stop::Output(error)) => return Err(self.not_written(&error)),
                Err(Stop::Refused(code, problem)) => {
                    bar.abandon();
                    return Err(Failure::exit(Exit::from(code), going_on(&problem, done.answered)));
                }
                Err(Stop::Passing(problem)) => problem,
            };
            tries = if open.len() < before { 1 } else { tries + 1 };
            if tries > TRIES {
                bar.abandon();
                return Err(Failure::exit(Exit::Later, going_on(&problem, done.answered)));
            }
            say(bar, &format!("{problem}; {}", calls.go_on()));
            tokio::time::sleep(Duration::from_millis(200 << tries.min(6))).await;
        }
    }

    fn not_written(&self, error: &io::Error) -> Failure {
        let text = format!(
            "output {}: {error}; tokens may be issued that do not stand in it yet. Make room, and run the same command again: \
             it goes on behind the last whole row, without a double",
            self.output.display()
        );
        Failure::exit(Exit::NotShown, text)
    }
}

/// Says something beside the bar, whether standard error is a terminal or not.
fn say(bar: &ProgressBar, text: &str) {
    bar.suspend(|| {
        let _ = writeln!(io::stderr(), "{text}");
    });
}

/// The server that is asked, and those that may be.
struct Calls {
    servers: Servers,
    /// None: the next one is to be connected to.
    client: Option<TokenServiceClient<Authorized>>,
}

impl Calls {
    async fn connected(&mut self) -> Result<TokenServiceClient<Authorized>, NoServer> {
        let client = match self.client.take() {
            Some(client) => client,
            None => TokenServiceClient::new(self.servers.connect().await?),
        };
        Ok(self.client.insert(client).clone())
    }

    /// Leaves a server that does not answer as it should for the next one, and says so.
    fn go_on(&mut self) -> String {
        self.client = None;
        match self.servers.next_of_several() {
            Some(next) => format!("going on at {next}"),
            None => "trying again".to_owned(),
        }
    }
}

/// How far a run came.
struct Done {
    answered: u64,
    refused: u64,
}

fn going_on(problem: &str, answered: u64) -> String {
    format!("{problem}; run the same command again to go on behind row {answered}")
}

/// A bar with rate and time left, on standard error if that is a terminal.
pub(super) fn progress(total: u64, of: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{human_pos}} of {{human_len}} {of}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
