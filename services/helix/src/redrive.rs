//! Verbs about what was set aside: redrive, unrouted, rejected.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Mutex,
};

use helix_ingest::redrive::{
    RedriveError,
    command::{Installation, Watcher},
    listing::{self, Listing, RejectedLine, Shown, UnroutedLine},
    rejected, unrouted,
};
use helix_kit::config::Config;
use helix_replay::log::Stop;
use helix_schemas::{id::FactId, names::WorkspaceId};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::{ListArgs, RedriveVerb, RejectedVerb, ShowArgs, UnroutedVerb},
    failure::Failure,
    setup::load,
    table::{Column, Table},
};

impl From<RedriveError> for Failure {
    fn from(error: RedriveError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}

/// Shows progress on a terminal, and listens for Ctrl-C.
struct Terminal {
    stop: Stop,
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    fn new() -> Self {
        Self { stop: Stop::on_ctrl_c(), bar: Mutex::new(None) }
    }

    fn with_bar(&self, then: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.bar.lock() {
            then(&mut bar);
        }
    }
}

impl Watcher for Terminal {
    fn begin(&self, what: &'static str, total: u64) {
        let new = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
        new.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        new.set_message(what);
        self.with_bar(|bar| *bar = Some(new));
    }

    fn step(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar {
                bar.inc(1);
            }
        });
    }

    fn end(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn stopped(&self) -> bool {
        self.stop.stopped()
    }
}

impl Drop for Terminal {
    /// A bar that was left by an error would stand in the way of its sentence.
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes to stdout; whoever reads us and has enough, as `head` does, is no failure.
fn tell(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::of(1, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn tell_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::of(1, &error))?;
    tell(&(text + "\n"))
}

fn fact_id(text: &str) -> Result<FactId, Failure> {
    FactId::try_from(text.to_owned()).map_err(|_| Failure::usage(format!("{text} is no id, as {}", uuid_example())))
}

const fn uuid_example() -> &'static str {
    "0b7c1d3e-58a2-5f0e-9c41-7d2e6a8b9c10"
}

async fn open(config: Option<&Path>) -> Result<(Config, Installation), Failure> {
    let config = load(config)?;
    let installation = Installation::open(&config).await?;
    Ok((config, installation))
}

fn count_of<N: ToString>(
    counts: impl IntoIterator<Item = (N, usize)>,
    what: &'static str,
    number: &'static str,
) -> Table {
    let mut table = Table::new([Column::Text(what), Column::Number(number)]);
    for (name, count) in counts {
        table.row([name.to_string(), count.to_string()]);
    }
    table
}

pub(crate) async fn redrive(config: Option<&Path>, verb: RedriveVerb) -> Result<ExitCode, Failure> {
    match verb {
        RedriveVerb::Unrouted { dry_run, workspace, json } => {
            let only = workspace.as_deref().map(WorkspaceId::new).transpose();
            let only = only.map_err(|error| Failure::of(2, &error))?;
            redrive_unrouted(config, dry_run, only, json).await
        }
        RedriveVerb::Rejected { dry_run, code, id, include_refused, json } => {
            let id = id.as_deref().map(fact_id).transpose()?;
            let choice = rejected::Choice { code, id, include_refused };
            redrive_rejected(config, dry_run, &choice, json).await
        }
    }
}

async fn redrive_unrouted(
    config: Option<&Path>,
    dry_run: bool,
    only: Option<WorkspaceId>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let (_, installation) = open(config).await?;
    let terminal = Terminal::new();
    let plan = unrouted::Plan::make(&installation, only.as_ref(), &terminal).await?;
    let summary = plan.summary().clone();
    if !json {
        tell(&unrouted_plan(&summary))?;
    }
    let nothing = summary.attributable.is_empty();
    let done = if dry_run { None } else { Some(plan.carry_out(&installation, &terminal).await) };
    drop(terminal);
    if json {
        let redriven = done.as_ref().map(|done| &done.redriven);
        tell_json(&json!({"dryRun": dry_run, "plan": summary, "redriven": redriven}))?;
    } else if dry_run {
        tell("dry run: nothing was written\n")?;
    } else if let Some(done) = done.as_ref().filter(|_| !nothing) {
        let total: usize = done.redriven.values().sum();
        tell(&format!("events that became facts, under their original ids and times: {total}\n"))?;
    }
    match done.and_then(|done| done.failed) {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn unrouted_plan(summary: &unrouted::Summary) -> String {
    let mut text = format!("unrouted events that are no facts yet: {}\n", summary.pending);
    if !summary.attributable.is_empty() {
        text += "\nattributable now:\n";
        text += &count_of(summary.attributable.iter().map(|(name, n)| (name, *n)), "workspace", "events").to_string();
    }
    let mut stay: Vec<(&str, usize)> = summary.stay.iter().map(|(reason, n)| (*reason, *n)).collect();
    stay.extend((summary.other_workspaces > 0).then_some(("of another workspace", summary.other_workspaces)));
    stay.extend((summary.unreadable > 0).then_some(("record cannot be decoded", summary.unreadable)));
    if !stay.is_empty() {
        text += "\nthese stay:\n";
        text += &count_of(stay, "reason", "events").to_string();
    }
    text + "\n"
}

async fn redrive_rejected(
    config: Option<&Path>,
    dry_run: bool,
    choice: &rejected::Choice,
    json: bool,
) -> Result<ExitCode, Failure> {
    let (config, installation) = open(config).await?;
    let terminal = Terminal::new();
    let plan = rejected::Plan::make(&installation, &config, choice, &terminal).await?;
    let summary = plan.summary().clone();
    if !json {
        tell(&rejected_plan(&summary))?;
    }
    let done = if dry_run { None } else { Some(plan.carry_out(&installation, &terminal).await) };
    drop(terminal);
    if json {
        let redriven =
            done.as_ref().map(|done| json!({"bodies": done.bodies, "facts": done.facts, "unrouted": done.unrouted}));
        tell_json(&json!({"dryRun": dry_run, "plan": summary, "redriven": redriven}))?;
    } else if dry_run {
        tell("dry run: nothing was written\n")?;
    } else if let Some(done) = done.as_ref().filter(|_| summary.readable > 0) {
        let facts: usize = done.facts.values().sum();
        tell(&format!("bodies redriven: {}; facts: {facts}; unrouted events: {}\n", done.bodies, done.unrouted))?;
    }
    match done.and_then(|done| done.failed) {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn rejected_plan(summary: &rejected::Summary) -> String {
    let mut text = format!("rejected bodies that are not redriven yet: {}\n", summary.pending);
    if summary.readable > 0 {
        text += &format!("\nreadable now: {}, with these events:\n", summary.readable);
        let mut events: Vec<(String, usize)> =
            summary.facts.iter().map(|(workspace, n)| (format!("facts of {workspace}"), *n)).collect();
        events.extend((summary.unrouted > 0).then(|| ("unrouted".to_owned(), summary.unrouted)));
        events.extend(
            (summary.kept > 0).then(|| ("still not understood, each kept for itself".to_owned(), summary.kept)),
        );
        text += &count_of(events, "become", "events").to_string();
    }
    let mut stay: Vec<(&str, usize)> = summary.stay.iter().map(|(why, n)| (why.as_str(), *n)).collect();
    stay.extend((summary.unreadable > 0).then_some(("record cannot be decoded", summary.unreadable)));
    if !stay.is_empty() {
        text += "\nthese stay:\n";
        text += &count_of(stay, "why", "bodies").to_string();
    }
    text + "\n"
}

pub(crate) async fn unrouted(config: Option<&Path>, verb: UnroutedVerb) -> Result<ExitCode, Failure> {
    match verb {
        UnroutedVerb::List(args) => {
            let (_, installation) = open(config).await?;
            let listing = listing::unrouted(&installation, args.all, args.limit, &Terminal::new()).await?;
            tell_listing(&args, &listing, &unrouted_table(&listing.records, args.all), "unrouted events")?;
        }
        UnroutedVerb::Show(ShowArgs { id, json }) => {
            let id = fact_id(&id)?;
            let (_, installation) = open(config).await?;
            let shown = listing::show_unrouted(&installation, id, &Terminal::new()).await?;
            tell_shown(&shown, json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rejected(config: Option<&Path>, verb: RejectedVerb) -> Result<ExitCode, Failure> {
    match verb {
        RejectedVerb::List(args) => {
            let (_, installation) = open(config).await?;
            let listing = listing::rejected(&installation, args.all, args.limit, &Terminal::new()).await?;
            tell_listing(&args, &listing, &rejected_table(&listing.records, args.all), "rejected bodies")?;
        }
        RejectedVerb::Show(ShowArgs { id, json }) => {
            let id = fact_id(&id)?;
            let (_, installation) = open(config).await?;
            let shown = listing::show_rejected(&installation, id, &Terminal::new()).await?;
            tell_shown(&shown, json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_listing<L: Serialize>(args: &ListArgs, listing: &Listing<L>, table: &Table, what: &str) -> Result<(), Failure> {
    if args.json {
        return tell_json(listing);
    }
    let which = if args.all { "in all" } else { "not redriven yet" };
    if listing.total == 0 {
        tell(&format!("no {what} {which}\n"))?;
    } else {
        tell(&table.to_string())?;
        let shown = listing.records.len();
        let cut = if shown < listing.total { format!(", the first {shown} shown (--limit)") } else { String::new() };
        tell(&format!("\n{what} {which}: {}{cut}\n", listing.total))?;
    }
    if listing.unreadable > 0 {
        tell(&format!("records that cannot be decoded: {}\n", listing.unreadable))?;
    }
    Ok(())
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

/// To the second: a table is for people.
fn to_second(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(second, _)| format!("{second}Z"))
}

fn unrouted_table(lines: &[UnroutedLine], all: bool) -> Table {
    let mut columns = ["id", "place", "received", "reason", "kind", "agent", "did"].map(Column::Text).to_vec();
    columns.extend(all.then_some(Column::Text("redriven")));
    let mut table = Table::new(columns);
    for line in lines {
        let mut cells = vec![
            line.id.to_string(),
            format!("{}/{}", line.place.partition, line.place.offset),
            to_second(&line.received_at),
            line.reason.clone(),
            line.kind.to_owned(),
            or_dash(line.agent.as_ref()),
            or_dash(line.did.as_ref()),
        ];
        if all {
            let to = line.redriven_to.as_ref().zip(line.redriven_at.as_ref());
            cells.push(to.map_or_else(|| "-".to_owned(), |(to, at)| format!("{to} {}", to_second(at))));
        }
        table.row(cells);
    }
    table
}

fn rejected_table(lines: &[RejectedLine], all: bool) -> Table {
    let mut columns = ["id", "place", "received", "code", "endpoint", "workspace"].map(Column::Text).to_vec();
    columns.push(Column::Number("bytes"));
    columns.extend(all.then_some(Column::Text("redriven")));
    let mut table = Table::new(columns);
    for line in lines {
        let mut cells = vec![
            line.id.to_string(),
            format!("{}/{}", line.place.partition, line.place.offset),
            to_second(&line.received_at),
            line.code.clone(),
            line.endpoint.clone(),
            or_dash(line.workspace.as_ref()),
            line.bytes.to_string(),
        ];
        if all {
            let done = line.redriven_events.zip(line.redriven_at.as_ref());
            cells.push(done.map_or_else(|| "-".to_owned(), |(n, at)| format!("{} (events: {n})", to_second(at))));
        }
        table.row(cells);
    }
    table
}

fn tell_shown(shown: &[Shown], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return tell_json(&shown.iter().map(Shown::to_json).collect::<Vec<Value>>());
    }
    for one in shown {
        let mut text = String::new();
        for (name, value) in one.fields.as_object().into_iter().flatten() {
            text += &format!("{name:<16} {}\n", on_one_line(value));
        }
        text += &format!("raw ({} bytes):\n{}\n\n", one.raw.len(), listing::escaped(&one.raw));
        tell(&text)?;
    }
    Ok(())
}

/// A text as it is, without what would move a terminal; anything else as JSON, which escapes that itself.
fn on_one_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
