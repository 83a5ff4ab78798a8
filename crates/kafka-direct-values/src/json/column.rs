//! `Column`: one field of a schema under construction, and how JSON values are read into it.
//!
//! Contract: a JSON value of another type is an error, and nothing is appended then. Numbers are not
//! rounded to integers, and texts are not parsed as numbers.

use kafka_direct::arrow::{
    array::{
        ArrayRef, ListArray,
        builder::{BooleanBuilder, PrimitiveBuilder, StringViewBuilder},
        types::{
            Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
            UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer},
    schema::{ArrowError, DataType, FieldRef, TimeUnit},
};
use std::{fmt, sync::Arc};

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::{struct_column::StructColumn, types};

/// See the module.
#[derive(Debug)]
pub(super) struct Column {
    field: FieldRef,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Utf8(StringViewBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(TimeUnit, PrimitiveBuilder<Int64Type>),
    List { item: Box<Column>, field: FieldRef, ends: Vec<i32>, valid: NullBufferBuilder },
    Struct(Box<StructColumn>),
}

/// Runs `$body` with `$builder` bound to the builder of a column that has one.
macro_rules! with_builder {
    ($values:expr, $builder:ident => $body:expr, $list:pat => $on_list:expr, $fields:pat => $on_struct:expr) => {
        match $values {
            Values::Boolean($builder) => $body,
            Values::Int8($builder) => $body,
            Values::Int16($builder) => $body,
            Values::Int32($builder) => $body,
            Values::Int64($builder) => $body,
            Values::UInt8($builder) => $body,
            Values::UInt16($builder) => $body,
            Values::UInt32($builder) => $body,
            Values::UInt64($builder) => $body,
            Values::Float32($builder) => $body,
            Values::Float64($builder) => $body,
            Values::Utf8($builder) => $body,
            Values::Date($builder) => $body,
            Values::Timestamp(_, $builder) => $body,
            $list => $on_list,
            $fields => $on_struct,
        }
    };
}

impl Column {
    /// An empty column of a field of a schema.
    pub(super) fn new(field: &FieldRef, capacity: usize) -> Self {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBuilder::with_capacity(capacity)),
            DataType::Int8 => Values::Int8(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Int16 => Values::Int16(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Int32 => Values::Int32(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Int64 => Values::Int64(PrimitiveBuilder::with_capacity(capacity)),
            DataType::UInt8 => Values::UInt8(PrimitiveBuilder::with_capacity(capacity)),
            DataType::UInt16 => Values::UInt16(PrimitiveBuilder::with_capacity(capacity)),
            DataType::UInt32 => Values::UInt32(PrimitiveBuilder::with_capacity(capacity)),
            DataType::UInt64 => Values::UInt64(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Float32 => Values::Float32(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Float64 => Values::Float64(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Date32 => Values::Date(PrimitiveBuilder::with_capacity(capacity)),
            DataType::Timestamp(unit, _) => {
                Values::Timestamp(*unit, PrimitiveBuilder::with_capacity(capacity))
            }
            DataType::List(item) => Values::List {
                item: Box::new(Self::new(item, capacity)),
                field: Arc::clone(item),
                ends: Vec::with_capacity(capacity),
                valid: NullBufferBuilder::new(capacity),
            },
            DataType::Struct(fields) => {
                Values::Struct(Box::new(StructColumn::new(fields, capacity)))
            }
            // A schema has no other type: see `types`.
            _ => Values::Utf8(StringViewBuilder::with_capacity(capacity)),
        };
        Self { field: Arc::clone(field), values }
    }

    pub(super) fn is_nullable(&self) -> bool {
        self.field.is_nullable()
    }

    pub(super) fn len(&self) -> usize {
        use kafka_direct::arrow::array::builder::ArrayBuilder as _;
        with_builder!(&self.values, builder => builder.len(),
            Values::List { ends, .. } => ends.len(), Values::Struct(fields) => fields.len())
    }

    /// Appends a null, or what is nearest to it in a column without nulls: the row is null as a whole.
    pub(super) fn pad(&mut self) {
        let nullable = self.is_nullable();
        if nullable {
            with_builder!(&mut self.values, builder => builder.append_null(),
                Values::List { .. } => self.end_list(false), Values::Struct(fields) => fields.end_row(false));
            return;
        }
        match &mut self.values {
            Values::Boolean(builder) => builder.append_value(false),
            Values::Int8(builder) => builder.append_value(0),
            Values::Int16(builder) => builder.append_value(0),
            Values::Int32(builder) => builder.append_value(0),
            Values::Int64(builder) | Values::Timestamp(_, builder) => builder.append_value(0),
            Values::UInt8(builder) => builder.append_value(0),
            Values::UInt16(builder) => builder.append_value(0),
            Values::UInt32(builder) => builder.append_value(0),
            Values::UInt64(builder) => builder.append_value(0),
            Values::Float32(builder) => builder.append_value(0.0),
            Values::Float64(builder) => builder.append_value(0.0),
            Values::Utf8(builder) => builder.append_value(""),
            Values::Date(builder) => builder.append_value(0),
            Values::List { .. } => self.end_list(true),
            Values::Struct(fields) => fields.end_row(true),
        }
    }

    /// Ends a list, also one that failed in the middle of an item.
    fn end_list(&mut self, is_valid: bool) {
        if let Values::List { item, ends, valid, .. } = &mut self.values {
            if !is_valid {
                item.settle();
            }
            // A batch has less than 2 GiB of text, so fewer items.
            ends.push(i32::try_from(item.len()).unwrap_or(i32::MAX));
            valid.append(is_valid);
        }
    }

    /// Ends the row if a document failed in the middle of it.
    pub(super) fn settle(&mut self) {
        match &mut self.values {
            Values::List { item, ends, .. } => {
                item.settle();
                let ended = ends.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
                if item.len() > ended {
                    self.end_list(false);
                }
            }
            Values::Struct(fields) => fields.settle(),
            _ => {}
        }
    }

    /// Appends an integer, if the type has it.
    fn integer<E: Error>(&mut self, number: i128, shown: Unexpected<'_>) -> Result<(), E> {
        let fits = match &mut self.values {
            Values::Int8(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::Int16(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::Int32(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::Int64(builder) | Values::Timestamp(_, builder) => {
                number.try_into().map(|it| builder.append_value(it)).is_ok()
            }
            Values::UInt8(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::UInt16(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::UInt32(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::UInt64(builder) => number.try_into().map(|it| builder.append_value(it)).is_ok(),
            Values::Float32(builder) => {
                builder.append_value(number as f32);
                true
            }
            Values::Float64(builder) => {
                builder.append_value(number as f64);
                true
            }
            _ => return Err(self.wrong_type(shown)),
        };
        if fits { Ok(()) } else { Err(E::invalid_value(shown, &self.wanted().as_str())) }
    }

    fn wanted(&self) -> String {
        types::name(&self.field)
    }

    fn wrong_type<E: Error>(&self, shown: Unexpected<'_>) -> E {
        E::invalid_type(shown, &self.wanted().as_str())
    }

    /// The rest of the path to the field in which the last document failed: `.name`, `[].name` or
    /// nothing.
    pub(super) fn failed_path(&mut self) -> String {
        match &mut self.values {
            Values::List { item, .. } => match item.failed_path() {
                path if path.is_empty() => path,
                path => format!("[]{path}"),
            },
            Values::Struct(fields) => {
                fields.failed_path().map(|path| format!(".{path}")).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self.values {
            Values::Timestamp(unit, mut builder) => types::timestamps(unit, &builder.finish()),
            Values::List { item, field, ends, mut valid } => {
                let offsets = std::iter::once(0).chain(ends).collect::<Vec<i32>>();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(field, offsets, item.finish()?, valid.finish())?)
            }
            Values::Struct(fields) => Arc::new(fields.finish()?),
            mut other => with_builder!(&mut other, builder => Arc::new(builder.finish()),
                Values::List { .. } => return Err(unfinished()), Values::Struct(_) => return Err(unfinished())),
        })
    }
}

fn unfinished() -> ArrowError {
    ArrowError::ComputeError("a column was finished twice".to_owned())
}

impl<'de> DeserializeSeed<'de> for &mut Column {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Column {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wanted())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if !self.is_nullable() {
            return Err(self.wrong_type(Unexpected::Other("null")));
        }
        self.pad();
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let Values::Boolean(builder) = &mut self.values else {
            return Err(self.wrong_type(Unexpected::Bool(value)));
        };
        builder.append_value(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match &mut self.values {
            Values::Float64(builder) => builder.append_value(value),
            Values::Float32(builder) => {
                #[expect(clippy::cast_possible_truncation, reason = "the nearest value is wanted")]
                let nearest = value as f32;
                if nearest.is_infinite() {
                    let shown = Unexpected::Float(value);
                    return Err(E::invalid_value(shown, &self.wanted().as_str()));
                }
                builder.append_value(nearest);
            }
            // The only integer that serde_json reads as a float.
            _ if value == 0.0 && value.is_sign_negative() => return self.visit_u64(0),
            _ => return Err(self.wrong_type(Unexpected::Float(value))),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let fits = match &mut self.values {
            Values::Utf8(builder) => {
                builder.append_value(value);
                true
            }
            Values::Date(builder) => {
                types::date(value).map(|days| builder.append_value(days)).is_some()
            }
            Values::Timestamp(unit, builder) => {
                types::timestamp(value, *unit).map(|time| builder.append_value(time)).is_some()
            }
            _ => return Err(self.wrong_type(Unexpected::Str(value))),
        };
        let shown = Unexpected::Str(value);
        if fits { Ok(()) } else { Err(E::invalid_value(shown, &self.wanted().as_str())) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Values::List { item, .. } = &mut self.values else {
            return Err(self.wrong_type(Unexpected::Seq));
        };
        while items.next_element_seed(&mut **item)?.is_some() {}
        self.end_list(true);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error> {
        let Values::Struct(columns) = &mut self.values else {
            return Err(self.wrong_type(Unexpected::Map));
        };
        columns.object(fields)?;
        columns.end_row(true);
        Ok(())
    }
}
