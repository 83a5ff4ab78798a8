#!/usr/bin/env bash
# Measures the peak resident memory of `kafka-direct read` into a file and into a folder, on an Apache Kafka that is
# started, filled and stopped here. Prints a table in Markdown.
#
#   run.sh [PARTITIONS...]     default: 1 64 1000, which writes 2.5 GB of logs and needs 15 GB for the outputs
#
# Needs GNU time at /usr/bin/time and the programs listed in ../../integration-tests/kafka/README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$repo/target}/release/kafka-direct

# Prints the codec, records per batch and bytes per value of a load; title() prints its name in the table.
shape() { # LOAD
  case $1 in
  tiny) echo none 500 40 ;;
  batch) echo none 128 1000 ;;
  zstd) echo zstd 16384 248 ;;
  esac
}
title() { # LOAD
  case $1 in
  tiny) echo 'records of 40 B, none' ;;
  batch) echo 'batches of 128 KiB, none' ;;
  zstd) echo 'batches of 4 MiB, zstd' ;;
  esac
}
batches() { # LOAD PARTITIONS: batches per partition, enough to read for some time, or one of 4 MiB in each of 1,000
  local all
  case $1 in
  tiny) all=1000 && (($2 == 1)) || all=$((40 * $2)) ;;
  batch) all=4096 ;;
  zstd) all=$(($2 > 64 ? $2 : 128)) ;;
  esac
  echo $(((all + $2 - 1) / $2))
}

if [[ ${1:-} != --measure ]]; then
  [[ -x /usr/bin/time ]] || { echo "run.sh: needs GNU time (package time)" >&2; exit 2; }
  (cd "$repo" && cargo build --release --quiet -p kafka-direct-cli)
  exec "$repo/integration-tests/kafka/kafka.sh" run "$here/run.sh" --measure "$@"
fi
shift
(($#)) || set -- 1 64 1000

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

peak() { # TOPIC FORMAT OUTPUT: MiB
  /usr/bin/time -f %M -o "$scratch/peak" "$binary" read --brokers "$KAFKA_DIRECT_BOOTSTRAP" --topic "$1" \
    --format "$2" --quiet --output "$scratch/$3"
  rm -rf "${scratch:?}/$3"
  echo $(($(<"$scratch/peak") / 1024))
}

echo "- Date: $(date -u '+%F %R UTC')"
echo "- CPU: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
echo "- Kernel: $(uname -sr)"
echo
echo 'Peak resident memory in MiB:'
echo
echo '| load | partitions | records | FILE jsonl | FILE raw | DIR/ jsonl | DIR/ raw |'
echo '|---|--:|--:|--:|--:|--:|--:|'
for partitions; do
  for load in tiny batch zstd; do
    read -r codec records bytes < <(shape "$load")
    count=$(batches "$load" "$partitions")
    topic=memory-$load-$partitions
    java -Xmx1g -XX:+UseSerialGC -cp "$KAFKA_DIRECT_KAFKA_CP" "$here/Topics.java" \
      "$KAFKA_DIRECT_BOOTSTRAP" "$topic" "$partitions" "$codec" "$count" "$records" "$bytes" >&2
    row="| $(title "$load") | $partitions | $((partitions * count * records))"
    for output in out out/; do
      for format in jsonl raw; do row+=" | $(peak "$topic" "$format" "$output")"; done
    done
    echo "$row |"
  done
done
