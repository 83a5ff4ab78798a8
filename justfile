# `just` alone lists the commands. CI runs `.ci/run`; the steps named here are its steps.
_list:
    @just --list --unsorted

# All checks that run no test: format, lints, docs, spelling, dependencies
check:
    .ci/run format typos deny clippy doc fences

# All tests that need no Kafka
test:
    cargo test --workspace

# Check only the repository's own rules
tidy:
    .ci/run tidy

# Fix what a tool can fix
fix:
    cargo clippy --workspace --all-targets --all-features --fix --allow-dirty --allow-staged
    cargo fmt --all

# Run the guarantee suite and the fixtures on a real Apache Kafka, which it starts and stops
test-kafka:
    .ci/run kafka

# Run `seeds` simulations of streams under faults; a failure prints its seed
sim seeds="5000":
    SEEDS={{ seeds }} cargo test --release -p kafka-direct-integration-tests --test stream_simulation

# Write and read a million records in this process
demo *args:
    cargo run --release -- demo {{ args }}

# Build and open the documentation of the library
doc:
    cargo doc --no-deps -p kafka-direct --open

# Check licences, banned crates, sources, and advisories, which need the network
deny:
    cargo deny --all-features check

typos:
    .ci/run typos

# Check what each crate must not depend on
fences:
    .ci/run fences

# Time our own kernels: just bench plan
bench *args:
    CARGO_TARGET_DIR=target/bench cargo bench --locked --manifest-path benches/kernels/Cargo.toml {{ args }}

# Compare the counted work of our own kernels with the baseline: just guard --accept
guard *args:
    benches/kernels/guard.sh {{ args }}

# Compare our reader with other clients on a cluster: just compare -b localhost:9092 -t orders
compare *args:
    benches/compare/run.sh {{ args }}

# Build the packages as they would be published, and a crate outside that uses them
package:
    cargo package --workspace
    .ci/run consumer

# Run all steps, as CI does
ci:
    .ci/run
