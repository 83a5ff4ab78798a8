#!/usr/bin/env bash
# Prints the instructions per record of kafka-direct and floor as a table in Markdown. Each reads the same topics once,
# on one thread; user mode only. A busy machine does not change the counts, but instructions are not time.
#
#   instructions.sh HOST:PORT TOPIC...
#
# Needs valgrind, and what run.sh builds (run.sh --list is enough).
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
built=$repo/target/bench/release
(($# >= 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2 && exit 2; }
bootstrap=$1 && shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Prints "RECORDS INSTRUCTIONS" of a client that prints its round as JSON.
count() {
  TOKIO_WORKER_THREADS=1 valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$@" >"$scratch/round" 2>"$scratch/log" ||
    { cat "$scratch/log" >&2 && return 1; }
  sed -n 's/.*"records":\([0-9]*\).*/\1/p' "$scratch/round" | tr '\n' ' '
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/log"
}

echo "| topic | records | floor views | kafka-direct | kafka-direct / floor views |"
echo "|---|--:|--:|--:|--:|"
for topic; do
  floor=$(count "$built/floor" "$bootstrap" "$topic" views)
  ours=$(count "$built/ours" "$bootstrap" "$topic")
  awk -v topic="$topic" -v floor="$floor" -v ours="$ours" 'BEGIN {
    split(floor, f, " "); split(ours, o, " ")
    if (f[1] != o[1] || f[1] == 0) { print "instructions.sh: " topic ": records differ" > "/dev/stderr"; exit 1 }
    printf "| %s | %d | %.0f | %.0f | %.2f |\n", topic, f[1], f[2] / f[1], o[2] / o[1], o[2] / o[1] / (f[2] / f[1])
  }'
done
