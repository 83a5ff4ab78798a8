# `just` alone lists what there is. CI runs `.ci/run`; the steps named here are its steps.
_list:
    @just --list --unsorted

# All that can be said without running anything: format, lints, docs, spelling, dependencies
check:
    .ci/run format typos deny clippy doc fences

# Everything that runs without a Kafka
test:
    cargo test --workspace

# The repository's own rules only
tidy:
    .ci/run tidy

# Mend what a tool can mend
fix:
    cargo clippy --workspace --all-targets --all-features --fix --allow-dirty --allow-staged
    cargo fmt --all

# The guarantee suite and the fixtures on a real Apache Kafka, which it starts and stops
test-kafka:
    .ci/run kafka

# Write and read a million records in this process
demo *args:
    cargo run --release -- demo {{ args }}

# Build and open the pages of the library
doc:
    cargo doc --no-deps -p kafka-direct --open

# Licences, banned crates, sources; and advisories, which need the network
deny:
    cargo deny --all-features check

typos:
    .ci/run typos

# What each crate must not depend on
fences:
    .ci/run fences

# Our own kernels by time: just bench plan
bench *args:
    CARGO_TARGET_DIR=target/bench cargo bench --locked --manifest-path benches/kernels/Cargo.toml {{ args }}

# Our own kernels by counted work, against what was accepted: just guard --accept
guard *args:
    benches/kernels/guard.sh {{ args }}

# Our reader and other clients on a cluster: just compare -b localhost:9092 -t orders
compare *args:
    benches/compare/run.sh {{ args }}

# The packages as they would be published, and a crate outside that uses them
package:
    cargo package --workspace
    .ci/run consumer

# All of it, as CI does
ci:
    .ci/run
