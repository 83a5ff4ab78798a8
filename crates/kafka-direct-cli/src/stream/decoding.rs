//! The flags `--key-format`, `--value-format`, `--value-schema` and `--on-poison` as a [`Decoding`].

use std::{fs, path::Path, sync::Arc};

use kafka_direct::{Column, Columns};
use kafka_direct_values::{BatchDecoder, DeadLetters, Decoding, JsonSchema, OnPoison, ValueFormat};

use crate::{
    cli::{DecodingArgs, Encoding, PoisonPolicy},
    exit::Failure,
};

/// What is decoded of these columns. `letters` is where dead letters go, if they go anywhere.
pub(super) fn decoding(
    args: &DecodingArgs,
    columns: Columns,
    letters: Option<Arc<dyn DeadLetters>>,
) -> Result<Decoding, Failure> {
    let value = match &args.value_schema {
        None => format(args.value_format),
        Some(_) if args.value_format != Encoding::Json => {
            return Err(Failure::usage("--value-schema needs --value-format json"));
        }
        Some(file) => ValueFormat::TypedJson(Arc::new(schema(file)?)),
    };
    let decoder = BatchDecoder::new(format(args.key_format), value);
    for (column, flag) in [(Column::Key, "--key-format"), (Column::Value, "--value-format")] {
        if decoder.format(column).is_some() && !columns.contains(column) {
            return Err(Failure::usage(format!(
                "{flag} decodes the column `{column}`: name it in --columns, or leave the flag out"
            )));
        }
    }
    if args.on_poison != PoisonPolicy::Fail && !decoder.decodes() {
        return Err(Failure::usage(
            "--on-poison needs something to decode: pass --value-format or --key-format",
        ));
    }
    let on_poison = match (&args.on_poison, letters) {
        (PoisonPolicy::Skip, _) => OnPoison::Skip,
        (PoisonPolicy::Null, _) => OnPoison::Null,
        (PoisonPolicy::DeadLetter { .. }, Some(letters)) => OnPoison::DeadLetter(letters),
        (PoisonPolicy::Fail | PoisonPolicy::DeadLetter { .. }, _) => OnPoison::Fail,
    };
    Ok(Decoding::new(columns, decoder, on_poison))
}

const fn format(encoding: Encoding) -> ValueFormat {
    match encoding {
        Encoding::Binary => ValueFormat::Binary,
        Encoding::Utf8 => ValueFormat::Utf8,
        Encoding::Json => ValueFormat::Json,
    }
}

fn schema(file: &Path) -> Result<JsonSchema, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("--value-schema {}: {error}", file.display())))?;
    text.parse().map_err(|error: kafka_direct_values::Error| {
        Failure::usage(format!("--value-schema {}: {error}", file.display()))
    })
}
