//! Arrow and Parquet outputs, opened by programs that people open them with.

use tokio::process::Command;

use crate::driven::{at, broker, fill};

/// Opens files and a stream with pyarrow, Polars and DuckDB, and filters, sorts and takes rows.
const SCRIPT: &str = include_str!("readers.py");

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Python with pyarrow, Polars and DuckDB; the CI step `readers` installs them"]
async fn pyarrow_polars_and_duckdb_read_what_is_written() {
    let python = std::env::var_os("KAFKA_DIRECT_PYTHON").expect("names a Python with the packages");
    let broker = broker("orders", 2).await;
    broker.create_topic("logs", 1).unwrap();
    broker.create_topic("empty", 1).unwrap();
    fill(&broker, "orders", 2, 100);
    fill(&broker, "logs", 1, 50);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let writes: [(&str, &str, &[&str]); 9] = [
        ("orders,logs", "arrow", &["--output", &path("all.arrow")]),
        ("orders,logs", "arrow", &["--output", &path("views.arrow"), "--arrow-types", "view"]),
        ("empty", "arrow", &["--output", &path("empty.arrow")]),
        ("orders,logs", "arrow", &["--output", &path("folder/")]),
        ("orders,logs", "arrows", &["--output", &path("all.arrows")]),
        ("orders,logs", "parquet", &["--output", &path("all.parquet")]),
        ("empty", "parquet", &["--output", &path("empty.parquet")]),
        ("orders,logs", "arrow", &["--arrow-types", "plain"]),
        ("orders,logs", "arrow", &[]),
    ];
    for (topics, format, more) in writes {
        let args = [&["read", "-t", topics, "--format", format, "--quiet"], more].concat();
        let read = at(&broker, &args).await;
        assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""), "{args:?}");
        match more {
            [] => std::fs::write(path("stdout.views"), read.stdout).unwrap(),
            [_, "plain"] => std::fs::write(path("stdout.plain"), read.stdout).unwrap(),
            _ => assert!(read.stdout.is_empty(), "{args:?}"),
        }
    }
    let ran = Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "all of it was read\n", "{said}");
}
