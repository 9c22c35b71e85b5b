//! A record of one version as a reader of another version has it, by Avro's schema resolution.
//!
//! Needed where serde alone cannot serve: fields that a *newer* version added must be passed over, and the library's
//! serde reader cannot pass over every type. Its own resolution takes the first branch of a union that looks alike, where the
//! specification (and every other reader) goes by the record's name; unions of a record's own fields are resolved by
//! name here.

use std::collections::BTreeSet;

use apache_avro::{
    Schema,
    schema::{RecordField, ResolvedSchema, UnionSchema},
    types::Value,
};

/// `value`, written by `writer`, as `reader` has it.
///
/// # Errors
/// Why it has it not, in words that name fields and types, never values.
pub fn resolved(value: Value, writer: &Schema, reader: &Schema) -> Result<Value, String> {
    let (Value::Record(fields), Schema::Record(writer), Schema::Record(record)) = (value, writer, reader) else {
        return Err("not a record".to_owned());
    };
    let names = ResolvedSchema::new(reader).map_err(|error| error.to_string())?;
    let mut fields: Vec<(String, Option<Value>)> =
        fields.into_iter().map(|(name, value)| (name, Some(value))).collect();
    let mut read = |field: &RecordField| {
        let written = fields.iter_mut().find(|(name, _)| *name == field.name).and_then(|(_, value)| value.take());
        let written_as = writer.lookup.get(&field.name).and_then(|place| writer.fields.get(*place));
        let value = match (written, written_as.map(|field| &field.schema), &field.schema) {
            (Some(Value::Union(place, inner)), Some(Schema::Union(writer)), Schema::Union(reader)) => {
                branch(place, *inner, writer, reader, &names)?
            }
            (Some(value), _, schema) => as_told(value, schema, &names)?,
            (None, _, schema) => {
                let default = field.default.as_ref().ok_or_else(|| format!("{} has no default", field.name))?;
                as_told(apache_avro::to_value(default).map_err(|error| error.to_string())?, schema, &names)?
            }
        };
        Ok((field.name.clone(), value))
    };
    record.fields.iter().map(&mut read).collect::<Result<_, String>>().map(Value::Record)
}

fn as_told(value: Value, schema: &Schema, names: &ResolvedSchema<'_>) -> Result<Value, String> {
    // The library's words may hold the value.
    value.resolve_with_names(schema, names.get_names()).map_err(|_| "a value does not fit its type".to_owned())
}

fn branch(
    place: u32,
    inner: Value,
    writer: &UnionSchema,
    reader: &UnionSchema,
    names: &ResolvedSchema<'_>,
) -> Result<Value, String> {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let Some(name) = writer.variants().get(place).and_then(Schema::name) else {
        // No record: told apart by its type alone.
        let schema = Schema::Union(reader.clone());
        return as_told(inner, &schema, names);
    };
    let variants = reader.variants().iter().enumerate();
    let mut same = variants.filter(|(_, variant)| variant.name().is_some_and(|found| found.name() == name.name()));
    let (found, variant) = same.next().ok_or_else(|| format!("no branch is named {}", name.name()))?;
    let inner = as_told(inner, variant, names)?;
    Ok(Value::Union(u32::try_from(found).unwrap_or(u32::MAX), Box::new(inner)))
}

/// Whether every field of every record of `writer` is one that `reader` has too: then serde reads it as it is.
#[must_use]
pub fn is_known(writer: &Schema, reader: &Schema) -> bool {
    fields(writer).is_subset(&fields(reader))
}

/// Names of all records with those of their fields.
fn fields(schema: &Schema) -> BTreeSet<(&str, &str)> {
    let mut found = BTreeSet::new();
    let mut left = vec![schema];
    while let Some(schema) = left.pop() {
        // A named type is met in full once; a reference to it adds nothing. Other types hold no records.
        if let Schema::Record(record) = schema {
            found.extend(record.fields.iter().map(|field| (record.name.name(), field.name.as_str())));
            left.extend(record.fields.iter().map(|field| &field.schema));
        } else if let Schema::Union(union) = schema {
            left.extend(union.variants());
        } else if let Schema::Array(array) = schema {
            left.push(&array.items);
        } else if let Schema::Map(map) = schema {
            left.push(&map.types);
        }
    }
    found
}
