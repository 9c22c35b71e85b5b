//! Flags and verbs.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The telephony core of a hospital call-centre platform.
#[derive(Debug, Parser)]
#[command(name = "helix", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file [default: .helix/helix.toml, where there is one].
    #[arg(long, global = true, env = "HELIX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The stack's verbs need the main thread to themselves, all others a runtime.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Stack(StackVerb),
    #[command(flatten)]
    Service(ServiceVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Serve the HTTP edge: webhooks in, facts out; the directory.
    Ingest,
    /// Run a projector.
    Project {
        /// Which.
        projection: Projection,
    },
    /// Decide what nobody says: wrap-ups that expired, calls that nobody ended, agents who went silent, days that ended.
    Automation {
        /// Instead: forget what is remembered, so that the log is read anew. What was decided stays decided.
        #[arg(long)]
        rebuild: bool,
    },
    /// Serve one workspace's supervisors: board, events, web monitor.
    Sidecar {
        /// The workspace's slug.
        workspace: String,
    },
    /// Read the log: facts, exports, past boards.
    #[command(subcommand)]
    Replay(ReplayVerb),
    /// Prove stored rows by the log.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Look after projections.
    #[command(subcommand)]
    Projection(ProjectionVerb),
    /// Make facts of what was set aside, now that it can be attributed or read.
    #[command(subcommand)]
    Redrive(RedriveVerb),
    /// Look at events whose workspace is not known.
    #[command(subcommand)]
    Unrouted(UnroutedVerb),
    /// Look at bodies that could not be read or were refused.
    #[command(subcommand)]
    Rejected(RejectedVerb),
    /// Post a simulated hospital day through the ingest.
    Simulate(SimulateOptions),
    /// Make topics, schemas and tables as this build needs them; the local stack does it by itself.
    Init,
    /// Read and check the configuration, and show it with secrets removed.
    CheckConfig,
    /// Ask a service whether it is ready; for containers.
    Healthcheck {
        /// Its readiness URL.
        #[arg(long, default_value = "http://127.0.0.1:4200/readyz")]
        url: String,
    },
    /// Serve the schema registry of the local stack.
    #[command(hide = true)]
    Registry(RegistryOptions),
    /// Serve the embedded ClickHouse engine of the local stack.
    #[command(hide = true)]
    ClickhouseLocal(ClickhouseLocalOptions),
}

/// The local stack without containers.
#[derive(Debug, Subcommand)]
pub(crate) enum StackVerb {
    /// Start the local stack with two demo workspaces; twice is harmless.
    Up(UpArgs),
    /// Stop the local stack; data is kept.
    Down(HomeArgs),
    /// Show what runs where, and its health.
    Status {
        #[command(flatten)]
        home: HomeArgs,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the components' logs.
    Logs {
        /// One component; all where none is named.
        component: Option<String>,
        #[command(flatten)]
        home: HomeArgs,
        /// Go on with what is appended.
        #[arg(short, long)]
        follow: bool,
        /// Lines of each log's end.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
    },
    /// Stop the local stack and remove its data.
    Clean(HomeArgs),
    /// Supervise a home; `up --detach` starts it.
    #[command(hide = true)]
    Supervise(HomeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HomeArgs {
    /// Folder of the stack's data, logs and secrets.
    #[arg(long, default_value = ".helix", env = "HELIX_HOME", value_name = "DIR")]
    pub(crate) home: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// In the background.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Move a component's port, as `kafka=29092`. HELIX_PORT_<NAME> does the same.
    #[arg(long = "port", value_name = "NAME=PORT")]
    pub(crate) ports: Vec<String>,
    /// `auto`: choose free ports and remember them in the home.
    #[arg(long = "ports", value_name = "auto")]
    pub(crate) choose_ports: Option<String>,
    /// Only these components, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) only: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Projection {
    /// The read models.
    Postgres,
    /// The analytics facts.
    Clickhouse,
    /// The live boards of all workspaces.
    Live,
    /// Delivery to sidecars of the older contract.
    Forward,
}

#[derive(Debug, Args, Default)]
pub(crate) struct FilterArgs {
    /// Of this workspace.
    #[arg(long)]
    pub(crate) workspace: Option<String>,
    /// Of this agent.
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Of this call.
    #[arg(long)]
    pub(crate) call: Option<String>,
    /// Of this kind, as CallRang.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// That occurred at or after (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// That occurred before (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayVerb {
    /// Show facts as they come; Ctrl-C ends it.
    Tail {
        #[command(flatten)]
        filter: FilterArgs,
        /// Begin at the log's start.
        #[arg(long, conflicts_with = "last")]
        from_beginning: bool,
        /// Begin this many facts before the end of each partition.
        #[arg(long, default_value_t = 0, value_name = "COUNT")]
        last: i64,
        /// Stop at the end of the log as it is now.
        #[arg(long)]
        no_follow: bool,
        /// One JSON object a line, raw bytes included.
        #[arg(long)]
        json: bool,
    },
    /// Write facts as JSON Lines: to a file with a manifest, or to stdout.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        /// The file; `<file>.manifest.json` is written beside it. Stdout where none is named, or `-`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// With a file: tell the manifest as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a workspace's board as of any moment, as JSON.
    Board {
        /// The workspace.
        #[arg(long)]
        workspace: String,
        /// The moment (RFC 3339); the log's end where none is given.
        #[arg(long, value_name = "TIME")]
        as_of: Option<String>,
        /// By which clock: what had happened by then, or what we knew by then.
        #[arg(long, default_value = "event")]
        clock: Clock,
        /// As JSON; a board is always JSON, the flag is taken for uniformity.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The provider's.
    Event,
    /// Ours.
    Received,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Fold the log afresh and compare with the stored rows and roots. Exit code 1 with the first difference.
    Verify {
        /// Only this workspace.
        #[arg(long)]
        workspace: Option<String>,
        /// Only this projection; all that keep rows where none is named.
        #[arg(long)]
        projection: Option<Projection>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionVerb {
    /// Show where each partition of each projection stands.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build the rows of postgres or clickhouse, or the boards of live, again from the log, beside the live ones. An interrupted
    /// rebuild goes on where it was left.
    Rebuild {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// Only this workspace's rows. Those of all others stay as they are.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// Swap the rows at once when they are there.
        #[arg(long)]
        cut_over: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare the rebuilt rows with the live ones: roots, counts, rows that differ with their facts. Exit code 1 where
    /// they differ.
    Diff {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// Rows to show.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        limit: usize,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the rebuilt rows the live ones, in one atomic step. What was live is kept beside them.
    CutOver {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make what was live before the cut-over live again, brought up to date, in one atomic step.
    CutBack {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Drop the rows that stand beside the live ones.
    Discard {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
    },
    /// Show facts that were set aside because they, or one before them of their key, could not be applied.
    Parked {
        /// Only of this projection, as `postgres` or `forward:ramaiah`.
        #[arg(long)]
        projection: Option<String>,
        /// Only of this workspace.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// Only of this key, as `ramaiah/agent.one`.
        #[arg(long)]
        key: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Apply what is parked of a key, in order; nothing changes where one of it still cannot be applied.
    Unpark {
        /// Which.
        #[arg(default_value = "postgres")]
        projection: Projection,
        /// The key, as `helix projection parked` shows it.
        #[arg(long)]
        key: String,
        /// Only show the rows that would change.
        #[arg(long)]
        dry_run: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a projection rest: it keeps its partitions and applies nothing.
    Pause {
        /// Its name, as `helix projection list` shows it; `live` is every board.
        projection: String,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
    },
    /// Let a paused projection go on.
    Resume {
        /// Its name, as `helix projection list` shows it; `live` is every board.
        projection: String,
        /// Of live: only this workspace's board.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RedriveVerb {
    /// Events whose agent or DID the directory knows by now. Every running ingest does this by itself; the verb does it
    /// at once, and says what stays and why.
    Unrouted {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Only what goes to this workspace.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Kept bodies, read again by this build. They keep the time they were received at; what still cannot be read stays.
    Rejected {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Only of this code, as body_unreadable (docs/errors).
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
        /// Only this one.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Also bodies that were refused because their sender was not known (unauthorised, unknown_workspace,
        /// source_not_allowed). Anybody may have sent those: look at them first.
        #[arg(long)]
        include_refused: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UnroutedVerb {
    /// What is there, oldest first, without personal data.
    List(ListArgs),
    /// One event with all it says and its bytes, callers' numbers and names included.
    Show(ShowArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedVerb {
    /// What is there, oldest first, without personal data.
    List(ListArgs),
    /// One body with its bytes, callers' numbers and names included.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what is not redriven yet: the default.
    #[arg(long, conflicts_with = "all")]
    pub(crate) pending: bool,
    /// Also what was redriven.
    #[arg(long)]
    pub(crate) all: bool,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) limit: usize,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its id, as listed.
    pub(crate) id: String,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateOptions {
    /// Agents per workspace.
    #[arg(long, default_value_t = 12)]
    pub(crate) agents: usize,
    /// First-time calls an hour per workspace.
    #[arg(long, default_value_t = 90)]
    pub(crate) calls_per_hour: u32,
    /// Simulated seconds in a second; 0 is as fast as possible.
    #[arg(long, default_value_t = 60)]
    pub(crate) speed: u32,
    /// The same seed gives the same day.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Length of the day.
    #[arg(long, default_value_t = 10)]
    pub(crate) hours: u32,
    /// Local time at which the day begins, as 2026-03-24T08:00:00 [default: 08:00 of the first day that has not been
    /// seen yet].
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<chrono::NaiveDateTime>,
    /// Requests in flight per workspace; above 1 only each agent's order is kept.
    #[arg(long, default_value_t = 1)]
    pub(crate) concurrency: usize,
    /// Only this workspace.
    #[arg(long)]
    pub(crate) workspace: Option<String>,
    /// Without the provider's faults: no repeats, nothing late, nothing lost.
    #[arg(long)]
    pub(crate) clean: bool,
    /// The ingest [default: as configured].
    #[arg(long, value_name = "URL")]
    pub(crate) ingest: Option<String>,
    /// The summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryOptions {
    /// Folder of its file.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Where it listens.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct ClickhouseLocalOptions {
    /// libchdb.so
    #[arg(long)]
    pub(crate) library: PathBuf,
    /// Folder of its tables.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Where it listens.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// JSON file of users that see one workspace.
    #[arg(long)]
    pub(crate) users: Option<PathBuf>,
}
