#!/usr/bin/env bash
# Records small fixtures from a real Kafka into integration-tests/recorded, for the tests that run without one:
# the batches of each partition as they lie in the broker's log, which is what a Fetch answers, and what the reference
# Java consumer reads of them. See README.md next to this file.
#
#   record.sh        records everything anew; look at the difference before committing it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kafka=$here/kafka.sh
out=$here/../recorded
fixtures=(gzip snappy lz4 zstd log-append-time tx tx-open compacted compacted-tail)

line=$("$kafka" start)
BOOTSTRAP=${line#BOOTSTRAP=} DIR=${line#*DIR=}
BOOTSTRAP=${BOOTSTRAP%% *}
trap '"$kafka" stop "$DIR"' EXIT

"$kafka" java -Dsmall=true Fixtures "$BOOTSTRAP" recorded "${fixtures[@]}"
rm -rf "$out"
mkdir -p "$out"
for name in "${fixtures[@]}"; do
  topic=recorded-$name
  partitions=1 # of the codecs one partition is enough
  [[ $name != tx* ]] || partitions=2
  for isolation in read_uncommitted read_committed; do
    "$kafka" java Dump "$BOOTSTRAP" "$isolation" "$DIR/dump" "$topic"
    awk -v last="$((partitions - 1))" 'match($0, /"partition":[0-9]+/) && substr($0, RSTART + 12, RLENGTH - 12) + 0 <= last' \
      "$DIR/dump" >"$out/$name.$isolation.jsonl"
  done
  for ((p = 0; p < partitions; p++)); do
    cat "$DIR/data-1/$topic-$p"/*.log >"$out/$name-$p.batches" # segments sort by their first offset
  done
done
du -b --max-depth=0 "$out"
