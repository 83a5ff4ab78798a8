#!/usr/bin/env bash
# Measures kafka-direct, floor and other clients on the same topics in interleaved rounds; prints tables in Markdown.
#
#   run.sh [--write] [OPTION...]                  on an Apache Kafka that is started, filled and stopped here
#   run.sh [--write] -b HOST:PORT -t TOPIC[,..]   on your own cluster and topics, which are only read
#
# --write writes the tables into docs/benchmarks.md, between its two `compare` comments, and a plot next to it.
# --peers all adds the slow clients. The other options are those of the program `compare`: run.sh --help.
# Everything is built into target/bench. A client whose toolchain is missing is left out, and the output says why.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
cd "$repo"
kafka=integration-tests/kafka
document=docs/benchmarks.md
plot=docs/benchmarks.svg
begin='<!-- compare: begin -->'
end='<!-- compare: end -->'
command="benches/compare/run.sh${*:+ $*}"
export CARGO_TARGET_DIR=$repo/target/bench
compare=$CARGO_TARGET_DIR/release/compare
clients=$here/clients
built=$CARGO_TARGET_DIR/clients

write=no starts_kafka=yes names_topics=no writes_loads=no measures=yes peers=fast last='' arguments=()
for argument; do
  [[ $last != --peers ]] || peers=$argument
  last=$argument
  case $argument in
  --write) write=yes && continue ;;
  -h | --help | --list) measures=no starts_kafka=no ;;
  -b* | --bootstrap | --bootstrap=* | --brokers | --brokers=*) starts_kafka=no ;;
  -t* | --topic | --topic=* | --topics | --topics=*) names_topics=yes ;;
  -l | --load) writes_loads=yes ;;
  --peers=*) peers=${argument#*=} ;;
  esac
  arguments+=("$argument")
done

if [[ $starts_kafka == yes && $names_topics == yes ]]; then
  echo "run.sh: --topics needs your cluster: add --bootstrap HOST:PORT" >&2
  exit 2
fi

# ---- building ------------------------------------------------------------------------------------------------

missing=()
lacks() { # TOOLCHAIN REASON
  echo "run.sh: $1: $2" >&2
  missing+=(--missing "$1=$2")
}

has() { command -v "$1" >/dev/null; }

# Prints the first missing program as a reason, or nothing.
no() {
  local program
  for program; do has "$program" || { echo "no $program on this machine" && return; }; done
}

java_is_new() {
  local version
  version=$(java -version 2>&1 | sed -n '1s/[^"]*"\([0-9]*\).*/\1/p')
  [[ $version =~ ^[0-9]+$ ]] && ((version >= 17))
}

build_rdkafka() {
  local reason
  reason=$(no cc make)
  if [[ -n $reason ]]; then lacks rdkafka "$reason" && return; fi
  cargo build --release --quiet --locked --manifest-path "$clients/rdkafka/Cargo.toml" >&2 ||
    lacks rdkafka "its build failed"
}

build_franz_go() {
  local reason
  reason=$(no go)
  if [[ -n $reason ]]; then lacks franz-go "$reason" && return; fi
  (cd "$clients/franz-go" && go build -o "$built/franz-go" .) >&2 || lacks franz-go "its build failed"
}

# Kafka's jars, and the Java clients and writer of some loads, which are compiled against them.
build_java() {
  local home=${KAFKA_DIRECT_KAFKA_HOME:-$repo/target/kafka}
  mkdir -p "$built/java"
  "$kafka/kafka.sh" install >&2 &&
    javac -Xlint:all,-processing,-classfile -proc:none -cp "$home/libs/*" -d "$built/java" "$clients"/java/*.java >&2 &&
    export KAFKA_DIRECT_KAFKA_CP="$home/classes:$home/libs/*"
}

build_peer_java() {
  local reason
  reason=$(no java javac mvn)
  if [[ -n $reason ]]; then lacks java "$reason" && return; fi
  build_java || lacks java "its build failed"
}

build_spark() {
  local reason version home=$built/spark
  reason=$(no python3 java mvn)
  if [[ -n $reason ]]; then lacks spark "$reason" && return; fi
  java_is_new || { lacks spark "needs Java 17 or newer" && return; }
  cmp -s "$home/stamp" "$clients/spark/pom.xml" && return
  version=$(sed -n 's|.*<spark.version>\(.*\)</spark.version>.*|\1|p' "$clients/spark/pom.xml")
  rm -rf "$home"
  mkdir -p "$home"
  {
    echo "run.sh: installing pyspark $version into $home (450 MB to fetch, once)"
    python3 -m venv "$home/venv" &&
      "$home/venv/bin/pip" install --quiet --disable-pip-version-check "pyspark==$version" &&
      mvn -B -q -f "$clients/spark/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/jars" \
        -DincludeArtifactIds=spark-sql-kafka-0-10_2.13,spark-token-provider-kafka-0-10_2.13,kafka-clients,commons-pool2 &&
      cp "$clients/spark/pom.xml" "$home/stamp" # last: an interrupted installation starts again
  } >&2 || lacks spark "pyspark $version and its jars could not be installed"
}

for package in floor compare; do
  cargo build --release --quiet --locked --manifest-path "benches/$package/Cargo.toml"
done
notes=(--note "Rust=$(rustc --version)" --note "Command=\`$command\`")
if [[ $measures == yes ]]; then
  mkdir -p "$built"
  if [[ $peers != none ]]; then
    build_rdkafka
    build_franz_go
    ! has go || notes+=(--note "Go=$(go version)")
  fi
  if [[ $peers == all ]]; then
    build_peer_java
    build_spark
    ! has java || notes+=(--note "Java=$(java -version 2>&1 | sed -n 2p)")
  elif [[ $starts_kafka == yes || $writes_loads == yes ]]; then
    build_java
  fi
fi

# ---- measuring -----------------------------------------------------------------------------------------------

measure() {
  local with=("${notes[@]}" ${missing[@]+"${missing[@]}"} "$@" ${arguments[@]+"${arguments[@]}"})
  if [[ $starts_kafka == no ]]; then
    "$compare" "${with[@]}"
    return
  fi
  local version
  version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$kafka/pom.xml")
  with+=(--note "Broker=Apache Kafka $version, one broker on the same machine, page cache warm")
  # shellcheck disable=SC2016 # the variable is set where the inner shell runs
  "$kafka/kafka.sh" run bash -c 'exec "$0" --bootstrap "$KAFKA_DIRECT_BOOTSTRAP" --load "$@"' "$compare" "${with[@]}"
}

if [[ $write == no ]]; then
  measure
  exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
measure --svg "$scratch/$(basename "$plot")" >"$scratch/tables"
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
cat "$scratch/$(basename "$plot")" >"$plot"
echo "$command: wrote $document and $plot" >&2
