#!/usr/bin/env bash
# Measures the peak resident memory of `kafka-direct bench`, one process per measurement, on an Apache Kafka that is
# started, filled and stopped here. Prints a table in Markdown.
#
#   bench.sh [CODEC...]     default: none lz4 zstd, each with batches of 1 MiB in 1, 4, 64 and 1,000 partitions and of
#                           10 MiB in 1, 4 and 64, with zstd in 1,000 too, which writes 9 GB of logs
#
# Needs Python 3 and the programs listed in ../../integration-tests/kafka/README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$repo/target}/release/kafka-direct

if [[ ${1:-} != --measure ]]; then
  (cd "$repo" && cargo build --release --quiet -p kafka-direct-cli)
  exec "$repo/integration-tests/kafka/kafka.sh" run "$here/bench.sh" --measure "$@"
fi
shift
(($#)) || set -- none lz4 zstd

# Measures records of 1,000 bytes in batches of MIB mebibytes, with BATCHES batches in each partition.
measure() { # CODEC MIB PARTITIONS BATCHES
  local codec=$1 mib=$2 partitions=$3 batches=$4 topic=memory-$1-$2-$3
  java -Xmx1g -XX:+UseSerialGC -cp "$KAFKA_DIRECT_KAFKA_CP" "$here/Topics.java" \
    "$KAFKA_DIRECT_BOOTSTRAP" "$topic" "$partitions" "$codec" "$batches" $((1040 * mib)) 1000 >&2
  "$binary" bench --brokers "$KAFKA_DIRECT_BOOTSTRAP" --topic "$topic" --all --json - 2>/dev/null |
    python3 -c '
import json, sys
last = json.load(sys.stdin)["rounds"][-1]
cells = [last["records"], last["peak_rss_kib"] // 1024, last["requests"], last["wire_bytes"] >> 20]
print("|", " | ".join(sys.argv[1:] + [str(cell) for cell in cells]), "|")
' "$codec" "$mib" "$partitions"
}

echo "- Date: $(date -u '+%F %R UTC')"
echo "- Commit: $(git -C "$repo" describe --always --dirty --abbrev=12)"
echo "- CPU: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
echo "- Kernel: $(uname -sr)"
echo
echo '| codec | MiB a batch | partitions | records | peak MiB | requests a round | MiB on the wire |'
echo '|---|--:|--:|--:|--:|--:|--:|'
for codec; do
  measure "$codec" 1 1 200
  measure "$codec" 1 4 100
  measure "$codec" 1 64 10
  measure "$codec" 1 1000 2
  measure "$codec" 10 1 40
  measure "$codec" 10 4 10
  measure "$codec" 10 64 2
  # Compressed with other codecs, the 10 GB would need too much disk space.
  [[ $codec != zstd ]] || measure "$codec" 10 1000 1
done
