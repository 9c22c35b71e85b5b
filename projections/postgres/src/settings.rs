//! Settings of all workspaces.

use std::{collections::BTreeMap, sync::LazyLock};

use helix_fold::settings::Settings;
use helix_schemas::names::WorkspaceId;

/// Settings of every workspace; those that are not named have the defaults.
#[derive(Debug, Clone, Default)]
pub struct AllSettings(pub BTreeMap<WorkspaceId, Settings>);

static DEFAULT: LazyLock<Settings> = LazyLock::new(Settings::default);

impl AllSettings {
    /// Settings of one workspace.
    #[must_use]
    pub fn of(&self, workspace: &WorkspaceId) -> Settings {
        self.get(workspace).clone()
    }

    pub(crate) fn get(&self, workspace: &WorkspaceId) -> &Settings {
        self.0.get(workspace).unwrap_or(&DEFAULT)
    }

    /// The zone of workspaces that are not named.
    pub(crate) fn default_zone() -> &'static str {
        DEFAULT.zone.name()
    }
}
