#!/usr/bin/env bash
# Records small fixtures from a real Kafka into integration-tests/recorded, for the tests that run without one.
# It stores the batches of each partition from the broker's log, which are the bytes of a Fetch response, and the
# records that the reference Java consumer reads from them. See README.md next to this file.
#
#   record.sh        records everything again; review the difference before you commit it
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
  partitions=1 # one partition is enough for a codec fixture
  [[ $name != tx* ]] || partitions=2
  for isolation in read_uncommitted read_committed; do
    "$kafka" java Dump "$BOOTSTRAP" "$isolation" "$DIR/dump" "$topic"
    awk -v last="$((partitions - 1))" 'match($0, /"partition":[0-9]+/) && substr($0, RSTART + 12, RLENGTH - 12) + 0 <= last' \
      "$DIR/dump" >"$out/$name.$isolation.jsonl"
  done
  for ((p = 0; p < partitions; p++)); do
    cat "$DIR/data-1/$topic-$p"/*.log >"$out/$name-$p.batches" # segment files are named by their first offset
  done
done
du -b --max-depth=0 "$out"
