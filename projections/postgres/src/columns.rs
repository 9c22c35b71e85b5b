//! Rows as one array a column, bound to one statement.
//!
//! A row tells its columns ([`helix_fold::row::Row::tell`]); each value goes straight into the binary form of its column's
//! array, without a copy of its own. Names and types come with the values, so a table and its row cannot drift apart
//! unnoticed: the statement names every column.
//!
//! Who writes has read before, under the workspace's lock, and knows which keys are there: inserting and replacing are two
//! statements. `ON CONFLICT` would look every key up again, lock what it finds, and log each insert twice.

use helix_fold::row::Columns;
use helix_schemas::time::OccurredAt;
use sqlx::{
    Encode, PgConnection, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo},
    types::{Uuid, chrono},
};

use crate::{PostgresError, rows::to_sql};

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The same in days.
const POSTGRES_EPOCH_DAYS: i64 = 10_957;

/// The type of a column's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Text,
    Int,
    Truth,
    At,
    Day,
    /// A list of texts, as the text of an array: arrays of arrays would have to be of one length.
    Texts,
    Bytes,
    Id,
}

impl Element {
    const fn array(self) -> &'static str {
        match self {
            Self::Text | Self::Texts => "text[]",
            Self::Int => "bigint[]",
            Self::Truth => "boolean[]",
            Self::At => "timestamptz[]",
            Self::Day => "date[]",
            Self::Bytes => "bytea[]",
            Self::Id => "uuid[]",
        }
    }

    /// The object id of the element type, fixed in Postgres.
    const fn oid(self) -> u32 {
        match self {
            Self::Text | Self::Texts => 25,
            Self::Int => 20,
            Self::Truth => 16,
            Self::At => 1184,
            Self::Day => 1082,
            Self::Bytes => 17,
            Self::Id => 2950,
        }
    }

    fn type_info(self) -> PgTypeInfo {
        match self {
            Self::Text | Self::Texts => <Vec<String> as Type<Postgres>>::type_info(),
            Self::Int => <Vec<i64> as Type<Postgres>>::type_info(),
            Self::Truth => <Vec<bool> as Type<Postgres>>::type_info(),
            Self::At => <Vec<chrono::DateTime<chrono::Utc>> as Type<Postgres>>::type_info(),
            Self::Day => <Vec<chrono::NaiveDate> as Type<Postgres>>::type_info(),
            Self::Bytes => <Vec<Vec<u8>> as Type<Postgres>>::type_info(),
            Self::Id => <Vec<Uuid> as Type<Postgres>>::type_info(),
        }
    }
}

/// One column: the elements of an array in Postgres's binary form.
struct Column {
    name: &'static str,
    element: Element,
    count: i32,
    nulls: bool,
    bytes: Vec<u8>,
}

impl Column {
    fn null(&mut self) {
        self.count += 1;
        self.nulls = true;
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn value(&mut self, value: &[u8]) {
        self.count += 1;
        // A record has at most some hundred KiB; what is longer is cut by no one but refused by Postgres as malformed.
        self.bytes.extend_from_slice(&i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(value);
    }
}

/// A column, given away to be bound.
struct Bound(Column);

impl Type<Postgres> for Bound {
    fn type_info() -> PgTypeInfo {
        Element::Text.type_info()
    }
}

impl Encode<'_, Postgres> for Bound {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self(column) = self;
        let dimensions = i32::from(column.count > 0);
        buffer.extend_from_slice(&dimensions.to_be_bytes());
        buffer.extend_from_slice(&i32::from(column.nulls).to_be_bytes());
        buffer.extend_from_slice(&column.element.oid().to_be_bytes());
        if dimensions > 0 {
            buffer.extend_from_slice(&column.count.to_be_bytes());
            buffer.extend_from_slice(&1_i32.to_be_bytes());
            buffer.extend_from_slice(&column.bytes);
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.0.element.type_info())
    }

    fn size_hint(&self) -> usize {
        self.0.bytes.len() + 20
    }
}

/// Rows of one table, by column.
#[derive(Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    next: usize,
    rows: usize,
}

impl Table {
    fn column(&mut self, name: &'static str, element: Element) -> &mut Column {
        if self.next == self.columns.len() {
            self.columns.push(Column { name, element, count: 0, nulls: false, bytes: Vec::new() });
        }
        self.next += 1;
        &mut self.columns[self.next - 1]
    }

    /// A value of bytes.
    pub(crate) fn bytes(&mut self, name: &'static str, value: &[u8]) {
        self.column(name, Element::Bytes).value(value);
    }

    /// A UUID, or null.
    pub(crate) fn id(&mut self, name: &'static str, value: Option<Uuid>) {
        let column = self.column(name, Element::Id);
        match value {
            Some(id) => column.value(id.as_bytes()),
            None => column.null(),
        }
    }

    /// Every column of a row has been told.
    pub(crate) fn end_row(&mut self) {
        self.next = 0;
        self.rows += 1;
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// `select unnest(…) as …` of the columns that `key` names, or of all. In the list of what is selected, for the elements
    /// then go from the arrays into the rows; `from unnest(…)` first stores each column apart, and reads it again.
    fn select(&self, key: Option<&[&str]>) -> String {
        let chosen = self.columns.iter().filter(|column| key.is_none_or(|key| key.contains(&column.name)));
        let values: Vec<String> = chosen
            .enumerate()
            .map(|(place, column)| {
                let (place, array, name) = (place + 1, column.element.array(), column.name);
                let as_list = if column.element == Element::Texts { "::text[]" } else { "" };
                format!("unnest(${place}::{array}){as_list} as {name}")
            })
            .collect();
        format!("select {}", values.join(", "))
    }

    /// Inserts rows whose keys are not there.
    pub(crate) async fn insert(self, tx: &mut PgConnection, table: &str) -> Result<(), PostgresError> {
        if self.is_empty() {
            return Ok(());
        }
        let statement = format!("insert into {table} ({}) {}", self.names(), self.select(None));
        self.execute(tx, statement, None).await?;
        Ok(())
    }

    /// Replaces rows whose keys are there.
    pub(crate) async fn update(
        self,
        tx: &mut PgConnection,
        table: &'static str,
        key: &[&str],
    ) -> Result<(), PostgresError> {
        if self.is_empty() {
            return Ok(());
        }
        let others = self.columns.iter().map(|column| column.name).filter(|name| !key.contains(name));
        let set: Vec<String> = others.map(|name| format!("{name} = given.{name}")).collect();
        let (set, given, same_key) = (set.join(", "), self.select(None), same_key(key));
        let statement = format!("update {table} as held set {set} from ({given}) as given where {same_key}");
        let expected = self.rows;
        let updated = self.execute(tx, statement, None).await?;
        if usize::try_from(updated).is_ok_and(|updated| updated == expected) {
            return Ok(());
        }
        Err(PostgresError::Stored { table, reason: "a row is gone that was read before".to_owned() })
    }

    /// Deletes the rows with these keys.
    pub(crate) async fn delete(self, tx: &mut PgConnection, table: &str, key: &[&str]) -> Result<(), PostgresError> {
        if self.is_empty() {
            return Ok(());
        }
        let statement =
            format!("delete from {table} as held using ({}) as given where {}", self.select(Some(key)), same_key(key));
        self.execute(tx, statement, Some(key)).await?;
        Ok(())
    }

    /// Gives how many rows it concerned.
    async fn execute(
        self,
        tx: &mut PgConnection,
        statement: String,
        key: Option<&[&str]>,
    ) -> Result<u64, PostgresError> {
        // Made of names in this crate alone; values are bound.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for column in self.columns.into_iter().filter(|column| key.is_none_or(|key| key.contains(&column.name))) {
            query = query.bind(Bound(column));
        }
        Ok(query.execute(tx).await?.rows_affected())
    }
}

fn same_key(key: &[&str]) -> String {
    let equal: Vec<String> = key.iter().map(|name| format!("held.{name} = given.{name}")).collect();
    equal.join(" and ")
}

impl Columns for Table {
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        let column = self.column(name, Element::Text);
        match value {
            Some(text) => column.value(text.as_bytes()),
            None => column.null(),
        }
    }

    fn int(&mut self, name: &'static str, value: Option<i64>) {
        let column = self.column(name, Element::Int);
        match value {
            Some(number) => column.value(&number.to_be_bytes()),
            None => column.null(),
        }
    }

    fn truth(&mut self, name: &'static str, value: bool) {
        self.column(name, Element::Truth).value(&[u8::from(value)]);
    }

    fn at(&mut self, name: &'static str, value: Option<OccurredAt>) {
        let column = self.column(name, Element::At);
        match value {
            Some(at) => column.value(&(to_sql(at).timestamp_micros() - POSTGRES_EPOCH_MICROS).to_be_bytes()),
            None => column.null(),
        }
    }

    fn day(&mut self, name: &'static str, value: i64) {
        // No provider's day is millions of years away; one that is ends at the ends of the calendar.
        let day = value.saturating_sub(POSTGRES_EPOCH_DAYS).clamp(-2_400_000, 2_000_000_000);
        let day = i32::try_from(day).unwrap_or(i32::MAX);
        self.column(name, Element::Day).value(&day.to_be_bytes());
    }

    fn texts<'a>(&mut self, name: &'static str, values: impl ExactSizeIterator<Item = &'a str>) {
        let mut literal = String::from("{");
        for (place, text) in values.enumerate() {
            literal.push_str(if place == 0 { "\"" } else { ",\"" });
            for letter in text.chars() {
                if letter == '"' || letter == '\\' {
                    literal.push('\\');
                }
                literal.push(letter);
            }
            literal.push('"');
        }
        literal.push('}');
        self.column(name, Element::Texts).value(literal.as_bytes());
    }
}
