//! The documented columns are those of the Arrow schema: names, order, types and which may be null.

use kafka_direct::{Columns, schema};

use super::{read, root};

/// Returns the first three cells of each row of the table of columns in `text`, without backticks.
///
/// `marker` is what each line of the documentation begins with.
fn documented(text: &str, marker: &str) -> Vec<[String; 3]> {
    let lines = text.lines().map(|line| line.strip_prefix(marker).unwrap_or(line));
    let rows = lines
        .skip_while(|line| !line.starts_with("| column | Arrow type |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().replace('`', ""));
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    rows.map(cells).collect()
}

#[test]
fn the_documented_columns_are_those_of_the_schema() {
    let schema = schema(Columns::all());
    let fields = schema.fields().iter().map(|field| {
        let nullable = if field.is_nullable() { "yes" } else { "no" };
        [field.name().clone(), field.data_type().to_string(), nullable.to_owned()]
    });
    let expected: Vec<_> = fields.collect();
    for (document, marker) in
        [("README.md", ""), ("crates/kafka-direct-worker/src/schema.rs", "/// ")]
    {
        assert_eq!(documented(&read(&root().join(document)), marker), expected, "{document}");
    }
}
