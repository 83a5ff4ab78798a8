//! `plan`: prints the plan of `read` as a table or as JSON, and reads no record.

use kafka_direct::PlanTable;

use crate::{cli::PlanArgs, connect, exit::Failure, output, selection};

/// Runs `plan`.
pub(crate) async fn run(args: PlanArgs) -> Result<(), Failure> {
    selection::names_topics(&args.selection)?;
    let cluster = connect::connect(&args.connection).await?;
    let rdd = selection::builder(&cluster, &args.selection)?.build().await?;
    if args.json {
        return output::data(&rdd.plan().to_json());
    }
    let table = PlanTable(rdd.plan());
    match output::stdout_width() {
        Some(width) => output::data(&format!("{table:width$}\n", width = usize::from(width))),
        None => output::data(&format!("{table}\n")),
    }
}
