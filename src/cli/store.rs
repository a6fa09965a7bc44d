//! `vendkey store`.

use std::{
    path::{PathBuf, absolute},
    str::FromStr,
};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    exit::Exit,
    output::{self, Failure},
};
use crate::{
    custody::{self, CarryError, CheckpointFile},
    hsm::Hsm,
    settings::Settings,
    store::{DatabaseUrl, Migrated, MigrationError, Progress, Step, UnknownDatabase},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Carry the ledger into a database of another kind, while no server runs
    Migrate(Migrate),
}

#[derive(Args)]
#[command(
    after_help = "Example: vendkey store migrate --settings vendkey.toml --from /var/lib/vendkey/vendkey.db

where vendkey.toml is that of the new server and says store.url = \"postgresql://…\". One of --from and --to may be left out: it is \
the database of the settings. A PostgreSQL database that takes a password or TLS files must be the one of the settings.

Stop all servers first; the HSM stays as it is. The target must be new. Cut off in whatever way, the same command again goes on; \
until it has ended no server starts on the target, and from its end on none starts on the source. All is read again from the \
target before that, and counts, chains and seals are compared. A database of several servers does not go into a file."
)]
pub(super) struct Migrate {
    /// The settings file of a server on one of the two databases
    #[arg(long, env = "VENDKEY_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// The database that holds the ledger: a file, sqlite:FILE or postgresql://USER@HOST/DATABASE
    #[arg(long, value_name = "DATABASE")]
    from: Option<Database>,
    /// The new database, in the same forms
    #[arg(long, value_name = "DATABASE")]
    to: Option<Database>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A database as the command names it.
#[derive(Clone, Debug)]
struct Database(DatabaseUrl);

impl FromStr for Database {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        let is_url = text.starts_with("sqlite:") || text.contains("://");
        let url = if is_url { text.parse()? } else { DatabaseUrl::Sqlite(text.into()) };
        Ok(Self(url))
    }
}

impl Database {
    /// The database, with all that the settings say of it where it is theirs.
    fn of(self, settings: &Settings) -> DatabaseUrl {
        let own = &settings.store.url;
        let same = match (&self.0, own) {
            (DatabaseUrl::Sqlite(one), DatabaseUrl::Sqlite(other)) => {
                absolute(one).ok().is_some_and(|one| Some(one) == absolute(other).ok())
            }
            (one, other) => one.to_string() == other.to_string(),
        };
        if same { own.clone() } else { self.0 }
    }
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Migrate(migrate) = self;
        migrate.run()
    }
}

impl Migrate {
    fn run(self) -> Result<(), Failure> {
        let settings = Settings::load(&self.settings).map_err(Failure::settings)?;
        if self.from.is_none() && self.to.is_none() {
            return Err(Failure::usage(
                "--from or --to is missing: the settings name one of the two databases, name the other one",
            ));
        }
        let own = || Database(settings.store.url.clone());
        let from = self.from.unwrap_or_else(own).of(&settings);
        let to = self.to.unwrap_or_else(own).of(&settings);
        let hsm = Hsm::start(settings.hsm.clone()).map_err(Failure::hsm)?;
        let mut bars = Bars::default();
        let carried = custody::carry(&settings, &from, &to, &hsm, &mut |progress| bars.show(progress));
        bars.end();
        hsm.stop();
        let (migrated, checkpoint) = carried.map_err(failure)?;
        let shown = if self.json {
            format!("{:#}", as_json(&from, &to, &migrated, &checkpoint))
        } else {
            as_text(&to, &migrated, &checkpoint)
        };
        output::print_text(shown)
            .map_err(|failure| failure.again(|| format!("the migration is done: let servers run on {to}")))
    }
}

fn failure(error: CarryError) -> Failure {
    let exit = match &error {
        CarryError::Migration(MigrationError::Source(error) | MigrationError::Target(error)) => {
            Exit::from(error)
        }
        CarryError::Migration(MigrationError::Checkpoint(_)) => Exit::NotCreated,
        CarryError::File { .. } => Exit::NoInput,
        CarryError::Migration(_) | CarryError::Checkpoint { .. } => Exit::No,
    };
    Failure::exit(exit, error.to_string())
}

/// A bar for each step.
#[derive(Default)]
struct Bars(Option<(Step, ProgressBar)>);

impl Bars {
    fn show(&mut self, Progress { step, done, of }: Progress) {
        let bar = match &self.0 {
            Some((shown, bar)) if *shown == step => bar,
            _ => {
                self.end();
                &self.0.insert((step, bar(step, of))).1
            }
        };
        bar.set_position(done);
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish();
        }
    }
}

fn bar(step: Step, of: Option<u64>) -> ProgressBar {
    let template = match of {
        Some(_) => format!("{{bar:30}} {{human_pos}} of {{human_len}} {step}, {{per_sec}}, {{eta}} left"),
        None => format!("{{spinner}} {{human_pos}} {step}, {{per_sec}}"),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    of.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style)
}

fn as_text(to: &DatabaseUrl, migrated: &Migrated, checkpoint: &CheckpointFile) -> String {
    let counts = migrated.counts.iter().map(|(what, count)| [(*what).to_owned(), count.to_string()]);
    let seals = ["rows that bear their seals".to_owned(), migrated.seals.to_string()];
    let mut text = output::table(["in both databases", "rows"], counts.chain([seals]));
    text.push('\n');
    let chains = migrated.chains.iter().map(|chain| {
        [chain.server.clone(), chain.chain.to_string(), chain.position.to_string(), chain.hash.to_string()]
    });
    text.push_str(&output::table(["server", "chain, verified", "up to record", "its hash"], chains));
    for chain in &migrated.chains {
        for (from, to) in &chain.lost {
            text.push_str(&format!(
                "\nchain {}: records {from} to {to} were lost with a restored database, as an administrator accepted",
                chain.chain
            ));
        }
    }
    text.push_str(&format!(
        "\nthe ledger is in {to} from here on; no server starts on the other one any more"
    ));
    match checkpoint {
        CheckpointFile::Written(file) => {
            text.push_str(&format!("\nits last checkpoint is in {}", file.display()));
        }
        CheckpointFile::Unknown => text.push_str(
            "\ncopy the checkpoint file to where store.checkpoint_file of the new server's settings says, \
             before it starts",
        ),
        CheckpointFile::NoCheckpoint => {}
    }
    text
}

fn as_json(from: &DatabaseUrl, to: &DatabaseUrl, migrated: &Migrated, checkpoint: &CheckpointFile) -> Value {
    let counts: serde_json::Map<String, Value> =
        migrated.counts.iter().map(|(what, count)| ((*what).to_owned(), json!(count))).collect();
    let chains = migrated.chains.iter().map(|chain| {
        json!({
            "server": chain.server,
            "chain": chain.chain.to_string(),
            "position": chain.position.to_string(),
            "hash": chain.hash.to_string(),
            "lost": chain.lost.iter().map(|(from, to)| json!({"from": from, "to": to})).collect::<Value>(),
        })
    });
    let file = match checkpoint {
        CheckpointFile::Written(file) => json!(file.display().to_string()),
        CheckpointFile::Unknown | CheckpointFile::NoCheckpoint => Value::Null,
    };
    json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "rows": counts,
        "sealsVerified": migrated.seals,
        "chains": chains.collect::<Value>(),
        "checkpointFile": file,
    })
}
