//! `plan`: prints the plan of `read` as a table or as JSON, and reads no record.

use kafka_direct::{BatchPlan, PlanTable};
use kafka_direct_sinks::job::plan_file;

use crate::{
    cli::PlanArgs,
    connect,
    exit::Failure,
    output,
    remarks::note_small_ranges,
    selection::{self, words},
};

/// Runs `plan`.
pub(crate) async fn run(args: PlanArgs) -> Result<(), Failure> {
    let resolve = async || {
        selection::names_topics(&args.selection)?;
        let cluster = connect::connect(&args.connection).await?;
        let rdd = selection::builder(&cluster, &args.selection)?.build().await?;
        Ok::<BatchPlan, Failure>(rdd.plan().clone())
    };
    let plan = match &args.plan {
        None => resolve().await?,
        Some(path) => {
            let plan = Box::pin(plan_file::load_or_create(path, resolve)).await?;
            words::fit(&plan, &args.selection).map_err(Failure::usage)?;
            plan
        }
    };
    note_small_ranges(&plan);
    if args.json {
        return output::data(&plan.to_json());
    }
    let table = PlanTable(&plan);
    match output::stdout_width() {
        Some(width) => output::data(&format!("{table:width$}\n", width = usize::from(width))),
        None => output::data(&format!("{table}\n")),
    }
}
