#!/usr/bin/env bash
# kafka-direct, floor and rskafka on the same topics in interleaved rounds; tables in Markdown on standard output.
#
#   run.sh [--write] [OPTION...]                  on an Apache Kafka that is started, filled and stopped here
#   run.sh [--write] -b HOST:PORT -t TOPIC[,..]   on a cluster and topics of yours, which are only read
#
# --write puts the tables into docs/benchmarks.md, between its two `compare` comments, instead.
# The other options are those of the program `compare`: run.sh --help. All is built into target/bench.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
cd "$repo"
kafka=integration-tests/kafka
document=docs/benchmarks.md
begin='<!-- compare: begin -->'
end='<!-- compare: end -->'
command="benches/compare/run.sh${*:+ $*}"
export CARGO_TARGET_DIR=$repo/target/bench
compare=$CARGO_TARGET_DIR/release/compare

write=no starts_kafka=yes arguments=()
for argument; do
  case $argument in
  --write) write=yes && continue ;;
  -b* | --bootstrap | --bootstrap=* | -h | --help | --list) starts_kafka=no ;;
  esac
  arguments+=("$argument")
done

for package in floor compare; do
  cargo build --release --quiet --manifest-path "benches/$package/Cargo.toml"
done

notes=(--note "Rust=$(rustc --version)" --note "Command=\`$command\`")
measure() {
  if [[ $starts_kafka == no ]]; then
    "$compare" "${notes[@]}" ${arguments[@]+"${arguments[@]}"}
    return
  fi
  local version
  version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$kafka/pom.xml")
  notes+=(--note "Broker=Apache Kafka $version, one broker on the same machine, page cache warm")
  # shellcheck disable=SC2016 # the variable is set where the inner shell runs
  "$kafka/kafka.sh" run bash -c 'exec "$0" --bootstrap "$KAFKA_DIRECT_BOOTSTRAP" --load "$@"' \
    "$compare" "${notes[@]}" ${arguments[@]+"${arguments[@]}"}
}

if [[ $write == no ]]; then
  measure
  exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
measure >"$scratch/tables"
if ! [[ -f $document ]]; then
  printf '# Benchmarks\n\n%s\n%s\n' "$begin" "$end" >"$document"
elif ! { grep -qxF -e "$begin" "$document" && grep -qxF -e "$end" "$document"; }; then
  printf '\n%s\n%s\n' "$begin" "$end" >>"$document"
fi
awk -v begin="$begin" -v end="$end" -v tables="$scratch/tables" '
  $0 == end { inside = 0 }
  !inside { print }
  $0 == begin { inside = 1; while ((getline line < tables) > 0) print line }
' "$document" >"$scratch/document"
cat "$scratch/document" >"$document"
echo "$command: wrote $document" >&2
