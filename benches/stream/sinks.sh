#!/usr/bin/env bash
# Measures the CPU, time and memory of `kafka-direct stream --trigger available-now` into each kind of sink: two million
# JSON records of about 260 bytes in four partitions, as bytes, as checked JSON and with typed fields. Apache Kafka is
# started and stopped here. Prints a table in Markdown.
#
#   sinks.sh [ROUNDS]     default: 3
#
# Needs GNU time and the programs listed in ../../integration-tests/kafka/README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$repo/target}/release/kafka-direct

if [[ ${1:-} != --measure ]]; then
  (cd "$repo" && cargo build --release --quiet -p kafka-direct-cli --features full)
  exec "$repo/integration-tests/kafka/kafka.sh" run "$here/sinks.sh" --measure "$@"
fi
shift
rounds=${1:-3}
export KAFKA_DIRECT_BROKERS=$KAFKA_DIRECT_BOOTSTRAP

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

"$binary" topics create json --partitions 4 2>/dev/null
awk 'BEGIN {
  for (i = 0; i < 2000000; i++)
    printf "{\"id\":%d,\"user\":\"user-%06d\",\"amount\":%.2f,\"currency\":\"EUR\",\"at\":%d,\"tags\":[\"a\",\"bb\"],\"customer\":{\"name\":\"Customer %d\",\"country\":\"DE\"},\"note\":\"lorem ipsum dolor sit amet consectetur\"}\n",
      i, i % 50000, (i * 37 % 100000) / 100, 1764500000000 + i, i % 1000
}' | "$binary" produce -t json >/dev/null
echo '{"id":"Int64!","user":"Utf8","amount":"Float64","currency":"Utf8","at":"Timestamp(ms)","tags":["Utf8"],"customer":{"name":"Utf8","country":"Utf8"},"note":"Utf8"}' >schema.json

measure() { # NAME FLAGS..
  local name=$1 user sys real memory
  shift
  for ((round = 0; round < rounds; round++)); do
    rm -rf out checkpoint
    read -r user sys real memory < <(
      command time -f '%U %S %e %M' "$binary" stream -t json --trigger available-now -q "$@" 2>&1 | tail -1
    )
    awk -v u="$user" -v s="$sys" -v r="$real" -v m="$memory" -v n="$name" \
      'BEGIN { printf "| %s | %.2f | %.1f | %.0f |\n", n, (u + s) / 2, r, m / 1024 }'
  done
}

echo "| sink | CPU, µs per record | seconds | peak MiB |"
echo "|---|---|---|---|"
measure "null" --sink null
measure "null, JSON checked" --sink null --value-format json
measure "null, typed fields" --sink null --value-format json --value-schema schema.json
measure "Parquet" --sink parquet:out --checkpoint checkpoint
measure "Parquet, typed fields" --sink parquet:out --checkpoint checkpoint --value-format json --value-schema schema.json
measure "JSON lines" --sink jsonl:out --checkpoint checkpoint
measure "JSON lines, --coalesce off" --sink jsonl:out --checkpoint checkpoint --coalesce off
