#!/usr/bin/env bash
# Profiles the CPU time of floor and kafka-direct (one and two threads): µs per record by activity, as one table in
# Markdown for each topic. Figures are means of RUNS interleaved runs under perf. The cost of perf differs between
# runs, so compare only parts within one table.
#
#   profile.sh HOST:PORT RUNS TOPIC...
#
# Needs perf and what run.sh builds (run.sh --list is enough).
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
built=$repo/target/bench/release
(($# >= 3)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2 && exit 2; }
bootstrap=$1 runs=$2 && shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Appends the lines "CLIENT<tab>SYMBOL<tab>µs a record" of one run.
profile() { # CLIENT COMMAND...
  local client=$1 && shift
  perf record -q -e cpu-clock -F 5000 -o "$scratch/perf" -- "$@" >"$scratch/round" 2>"$scratch/log" ||
    { cat "$scratch/log" >&2 && return 1; }
  local cpu
  cpu=$(sed -n 's/.*"cpu_us_per_record":\([0-9.]*\).*/\1/p' "$scratch/round")
  perf report -i "$scratch/perf" --stdio --no-children --percent-limit 0 -F overhead,symbol 2>/dev/null |
    awk -v client="$client" -v cpu="$cpu" '
      $1 ~ /^[0-9.]+%$/ {
        share = $1 + 0
        sub(/^ *[0-9.]+% +\[[.k]\] +/, "")
        print client "\t" $0 "\t" share / 100 * cpu
      }' >>"$scratch/all"
}

table() { # TOPIC
  awk -F '\t' -v topic="$1" -v runs="$runs" '
    function kind(symbol) {
      if (symbol ~ /_copy_to_iter|check_object_size|skb_datagram_iter|skb_copy_datagram|virt_addr_valid|check_heap_object|copy_user|rep_movs_alternative/) return 1
      if (symbol ~ /LZ4_|lz4_flex|snap::|ZSTD_|HUF_|FSE_|inflate|zlib_rs|libdeflate|flate2/) return 2
      # Samples without a symbol are in the assembly of zstd: its Huffman loops have no symbol size.
      if (symbol ~ /^0x/) return 2
      if (symbol ~ /crc_fast|crc32/) return 3
      if (symbol ~ /floor::|kafka_direct_worker|kafka_direct_core::(batch|header|walk|varint)/) return 4
      if (symbol ~ /arrow_data.*validate|arrow_data::byte_view/) return 5
      if (symbol ~ /^clear_page|clear_huge_page/) return 6
      if (symbol ~ /memmove|memcpy|memset/) return 7
      if (symbol ~ /iter::adapters::map::Map.*fold|^ours::/) return 8
      return 9
    }
    BEGIN {
      split("copying out of the socket|decompressing|CRC|opening batches, the record loop|Arrow\047s validation of views|the kernel clearing pages|copying and clearing memory|the caller\047s sum of value lengths|all else: tokio, waiting and waking, the rest of the kernel", name, "|")
    }
    { all[$1, kind($2)] += $3 / runs; sum[$1] += $3 / runs }
    END {
      print "| " topic " | floor views | one thread | two threads |"
      print "|---|--:|--:|--:|"
      for (i = 1; i <= 9; i++)
        if (all["floor", i] + all["one", i] + all["two", i] > 0.0005)
          printf "| %s | %.3f | %.3f | %.3f |\n", name[i], all["floor", i], all["one", i], all["two", i]
      printf "| all of it | %.3f | %.3f | %.3f |\n\n", sum["floor"], sum["one"], sum["two"]
    }' "$scratch/all"
}

for topic; do
  : >"$scratch/all"
  for ((run = 0; run < runs; run++)); do
    profile floor "$built/floor" "$bootstrap" "$topic" views
    TOKIO_WORKER_THREADS=1 profile one "$built/ours" "$bootstrap" "$topic"
    TOKIO_WORKER_THREADS=2 profile two "$built/ours" "$bootstrap" "$topic"
  done
  table "$topic"
done
