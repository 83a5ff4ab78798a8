#!/usr/bin/env bash
# Measures the micro-batches of `kafka-direct stream --sink jsonl:DIR --trigger immediate` with a local checkpoint, at
# about 1,000 records per second, and a stream that has nothing to do, on an Apache Kafka that is started and stopped
# here. Prints a table in Markdown.
#
#   run.sh [SECONDS]     of each case, default: 20
#
# Needs jq and the programs listed in ../../integration-tests/kafka/README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$repo/target}/release/kafka-direct

if [[ ${1:-} != --measure ]]; then
  [[ -x $(command -v jq) ]] || { echo "run.sh: needs jq" >&2; exit 2; }
  (cd "$repo" && cargo build --release --quiet -p kafka-direct-cli)
  exec "$repo/integration-tests/kafka/kafka.sh" run "$here/run.sh" --measure "$@"
fi
shift
seconds=${1:-20}
export KAFKA_DIRECT_BROKERS=$KAFKA_DIRECT_BOOTSTRAP

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

# Ten records in a hundredth of a second, each with one of KEYS keys, which choose the partitions. `produce` writes what
# has trickled in every 50 ms.
trickle() { # KEYS
  local lines= n
  for n in {1..10}; do lines+="$((n % $1)):a value of forty bytes, as in the test."$'\n'; done
  while printf %s "$lines"; do sleep 0.0085; done
}

cpu_ticks() { # PID
  local fields
  read -r -a fields <"/proc/$1/stat"
  echo $((fields[13] + fields[14]))
}

measure() { # TITLE PARTITIONS KEYS; without keys nothing is written
  local topic="stream-$2-$3" ticks stream producer hwm
  "$binary" topics create "$topic" --partitions "$2" >/dev/null 2>&1
  cd "$scratch"
  "$binary" stream --topic "$topic" --sink "jsonl:out-$topic" --checkpoint "checkpoint-$topic" --trigger immediate \
    --quiet --progress-json "$topic.json" &
  stream=$!
  sleep 5 # It has planned, and is idle.
  if (($3)); then
    "$binary" produce --topic "$topic" --key-separator : 2>/dev/null < <(trickle "$3" 2>/dev/null) &
    producer=$!
    sleep 2
    : >"$topic.json"
  fi
  ticks=$(cpu_ticks $stream)
  sleep "$seconds"
  ticks=$(($(cpu_ticks $stream) - ticks))
  hwm=$(sed -n 's/^VmHWM:\s*\([0-9]*\) kB/\1/p' "/proc/$stream/status")
  kill $stream
  wait $stream
  if (($3)); then kill $producer; fi
  jq -rs --arg title "$1" --arg seconds "$seconds" --arg ticks "$ticks" --arg hz "$(getconf CLK_TCK)" --arg hwm "$hwm" '
    def at(f; q): map(f) | sort | if length == 0 then "–" else .[((length - 1) * q) | floor] * 10 | round / 10 end;
    [$title, length, ((map(.records) | add // 0) / ($seconds | tonumber) | round),
     at(.total_ms; 0.5), at(.total_ms; 0.99), at(.planning_ms; 0.5), at(.reading_ms; 0.5), at(.commit_ms; 0.5),
     (($ticks | tonumber) / ($hz | tonumber) / ($seconds | tonumber) * 1000 | round / 10),
     (($hwm | tonumber) / 1024 | round)]
    | "| " + (map(tostring) | join(" | ")) + " |"' "$topic.json"
}

echo "- Date: $(date -u '+%F %R UTC')"
echo "- CPU: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
echo "- Kernel: $(uname -sr)"
echo
echo "| case | batches | records/s | total ms, median | p99 | plan | read | commit | % of a core | peak MiB |"
echo "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
measure "10 partitions" 10 10
measure "1,000 partitions, up to 10 active" 1000 10
measure "1,000 partitions, idle" 1000 0
