//! Another row-seal key: every row that decides gets a seal by it, while no server runs.

use std::path::Path;
use std::sync::Arc;

use super::chain::{self, Writing};
use super::claim::Claim;
use super::lock::{DatabaseFile, DatabaseLock};
use super::sealed::{Reading, Seals, Table};
use super::{OpenError, SqliteSettings, configurations, connection, migrations};
use crate::store::{Configuration, NewAct, SealReport, Sealer};

/// A database that nobody else has, for the time of another row-seal key.
#[derive(Debug)]
pub struct Resealing {
    settings: SqliteSettings,
    lock: DatabaseLock,
}

impl Resealing {
    /// Takes the database for itself.
    ///
    /// # Errors
    /// [`OpenError::InUse`].
    pub fn begin(settings: SqliteSettings) -> Result<Self, OpenError> {
        let lock = DatabaseLock::acquire(&settings.path)?;
        Ok(Self { settings, lock })
    }

    /// Seals every row that decides by the new key, in one transaction together with the act. Does nothing where all bear seals by the
    /// new key already. Blocking.
    ///
    /// # Errors
    /// [`OpenError::Forged`] unless every row bears a seal by the old key: another hand's rows are not made good.
    pub fn reseal(&self, old: Arc<dyn Sealer>, new: Arc<dyn Sealer>, act: &NewAct) -> Result<(), OpenError> {
        let path = &self.settings.path;
        let mut writer = connection::open_writer(path)?;
        migrations::migrate(&mut writer)?;
        let claim = Claim::take(&writer, self.lock.identity())?;
        if look(path, new.clone())?.is_sound() {
            return Ok(());
        }
        let SealReport { forged, roll_broken } = look(path, old)?;
        if !forged.is_empty() || roll_broken {
            return Err(OpenError::Forged { rows: forged, taken_out_or_put_back: roll_broken });
        }
        let seals = Arc::new(Seals::new(new));
        let writing = Writing::new(Reading::new(writer, seals, Arc::default()), &self.settings).under(claim);
        Ok(chain::reseal_rows(&writing, act)?)
    }
}

fn look(path: &Path, sealer: Arc<dyn Sealer>) -> Result<SealReport, OpenError> {
    let reading = Reading::new(connection::open_reader(path)?, Arc::new(Seals::new(sealer)), Arc::default());
    Ok(reading.verify()?)
}

/// All configurations of a database, beside the server that may have it open. Reads alone. Blocking.
///
/// # Errors
/// [`OpenError`]; a row that does not bear its seal.
pub fn all_configurations(path: &Path, sealer: Arc<dyn Sealer>) -> Result<Vec<Configuration>, OpenError> {
    // Dropped behind the connection, as it must be.
    let _file = DatabaseFile::look(path)?;
    let reading = Reading::new(connection::open_reader(path)?, Arc::new(Seals::new(sealer)), Arc::default());
    let rows = reading.all(Table::Configurations, "1 ORDER BY number", (), configurations::read)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}
