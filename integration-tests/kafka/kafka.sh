#!/usr/bin/env bash
# A real Apache Kafka for tests, without containers. See README.md next to this file.
#
#   kafka.sh install                 fetch the jars and compile the oracle, once
#   kafka.sh start [1|3]             start a cluster; prints one line: BOOTSTRAP=host:port[,..] DIR=<dir>
#   kafka.sh stop DIR                stop its brokers and delete DIR
#   kafka.sh kill DIR N [SIGNAL]     stop broker N (1-based) at once (KILL, the default) or cleanly (TERM), and wait
#   kafka.sh restart DIR N           start broker N again on its old ports and data
#   kafka.sh run CMD... | run3 CMD.. start 1 or 3 brokers, run CMD, stop them, exit with CMD's code
#   kafka.sh java Class args...      run an oracle class: Fixtures, Dump, Admin
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
self=$here/$(basename "${BASH_SOURCE[0]}")
repo=$(cd "$here/../.." && pwd)
version=${KAFKA_VERSION:-} # Kafka version; pom.xml's if empty
home=${KAFKA_DIRECT_KAFKA_HOME:-$repo/target/kafka${version:+-$version}}
libs=$home/libs
classes=$home/classes
broker_cp="$libs/*"
cp="$classes:$libs/*" # classes first: its simplelogger.properties limits the clients' logs to errors
# Clients run briefly: the C1 compiler and the serial collector start fastest and use the fewest threads.
client_jvm=(-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
boot_seconds=${KAFKA_DIRECT_KAFKA_BOOT_SECONDS:-90}

say() { echo "kafka.sh: $*" >&2; }
die() { say "$@"; exit 2; }

# ---- install -------------------------------------------------------------------------------------------------

have_java() {
  command -v javac >/dev/null && command -v java >/dev/null || return 1
  local v
  v=$(javac -version 2>&1) && v=${v#javac } && v=${v%%.*} && [[ $v =~ ^[0-9]+$ ]] && ((v >= 17))
}

ensure_tools() {
  have_java && command -v mvn >/dev/null && return
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing a JDK and Maven"
    {
      apt-get update -q || true # stale package lists may be sufficient
      export DEBIAN_FRONTEND=noninteractive
      apt-get install -q -y --no-install-recommends openjdk-17-jdk-headless maven ||
        apt-get install -q -y --no-install-recommends default-jdk-headless maven # newer distributions have no package of JDK 17
    } >&2 || true
  fi
  have_java || die "needs a JDK of Java 17 or newer (java and javac), for example the package openjdk-17-jdk-headless"
  command -v mvn >/dev/null || die "needs Maven (mvn), for example the package maven"
}

pom() { # prints our pom.xml with the requested version
  if [[ -z $version ]]; then cat "$here/pom.xml"; else
    sed "s|<kafka.version>[^<]*|<kafka.version>$version|" "$here/pom.xml"
  fi
}
libs_ready() { [[ -f $home/libs.stamp ]] && pom | cmp -s "$home/libs.stamp" -; }
classes_ready() { [[ -f $home/classes.stamp && -z $(find "$here/oracle" -name '*.java' -newer "$home/classes.stamp") ]]; }

# Tests call this from several processes at once, so it takes a lock, except when everything is installed.
install() {
  libs_ready && classes_ready && have_java && return
  if ! { command -v setsid && command -v flock; } >/dev/null; then die "needs setsid and flock (package util-linux)"; fi
  mkdir -p "$home"
  (
    flock 9
    if ! libs_ready; then
      ensure_tools
      say "fetching the Kafka jars into $libs (54 MB, once)"
      rm -rf "$libs"
      pom >"$home/pom.xml"
      mvn -B -q -f "$home/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" >&2
      rm -f "$libs"/slf4j-reload4j-*.jar # of Kafka 3: it would discard the log line by which booted() detects the start
      mv "$home/pom.xml" "$home/libs.stamp" # last: an interrupted download, or another version, starts again
    fi
    have_java || ensure_tools
    if ! classes_ready; then
      rm -rf "$classes"
      mkdir -p "$classes"
      touch "$home/classes.new" # before javac reads the sources, so that an edit meanwhile causes a new build
      javac -Xlint:all,-processing,-classfile -proc:none -cp "$libs/*" -d "$classes" "$here"/oracle/*.java >&2
      echo 'org.slf4j.simpleLogger.defaultLogLevel=error' >"$classes/simplelogger.properties"
      mv "$home/classes.new" "$home/classes.stamp"
    fi
  ) 9>"$home/lock" </dev/null
}

# ---- one broker ----------------------------------------------------------------------------------------------

# Compares the command line, not only the process ID: IDs are reused, and a zombie has an empty command line.
alive() { # DIR N
  local pid
  pid=$(cat "$1/$2.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$1/$2.properties"
}

launch() { # DIR N: start broker N and return at once
  local dir=$1 n=$2 jvm
  alive "$dir" "$n" && die "broker $n of $dir is running"
  [[ -f $dir/$n.log ]] && mv "$dir/$n.log" "$dir/$n.log.$(date +%s%N)" # so that booted() reads the log of this run only
  read -ra jvm <"$dir/jvm"
  # A new session: neither the end of this shell nor Ctrl-C in its terminal reaches the broker.
  # The inner shell writes its process ID and then executes java, so the ID is right whether or not setsid forks.
  # If DIR is missing by then (after an interrupted start), nothing is started.
  # shellcheck disable=SC2016
  setsid bash -c 'echo $$ >"$0" && exec java "$@"' "$dir/$n.pid" "${jvm[@]}" -cp "$broker_cp" \
    kafka.Kafka "$dir/$n.properties" </dev/null >"$dir/$n.log" 2>&1 &
  disown # otherwise bash prints a message when a signal ends it
}

# The broker logs this line after it has read the metadata log, is unfenced and accepts requests.
booted() { grep -q 'Kafka Server started' "$1/$2.log" 2>/dev/null; } # DIR N

await_boot() { # DIR N: 0 = started, 1 = exited or timed out
  local end=$((SECONDS + boot_seconds)) born=0
  until booted "$1" "$2"; do
    if alive "$1" "$2"; then born=1; elif ((born || SECONDS > end - boot_seconds + 5)); then return 1; fi
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

end_broker() { # DIR N SIGNAL: stop broker N and wait for its end; after 30 s send KILL
  local pid signal=$3
  pid=$(cat "$1/$2.pid" 2>/dev/null) || return 0
  while alive "$1" "$2"; do
    kill "-$signal" "$pid" 2>/dev/null || true
    for _ in {1..300}; do
      alive "$1" "$2" || break
      sleep 0.1
    done
    signal=KILL
  done
  # The command line becomes empty before the sockets are closed, so wait for the end of the process.
  for _ in {1..50}; do
    grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" || break
    sleep 0.1
  done
  rm -f "$1/$2.pid"
}

cluster_dir() { # DIR: print its absolute path; fail if `start` did not create it, because `stop` deletes it
  [[ -f $1/cluster ]] || die "$1 is not a cluster of kafka.sh start"
  (cd "$1" && pwd)
}

broker_number() { # DIR N
  [[ $2 =~ ^[0-9]+$ && -f $1/$2.properties ]] || die "$1 has no broker $2"
}

# ---- a cluster -----------------------------------------------------------------------------------------------

# Ports are below the range of outgoing connections (32768 and up), which could take one before the broker binds it.
# Two starts may still choose the same port: then one broker fails to bind, and start_cluster tries again.
free_port() {
  local port
  for _ in {1..200}; do
    port=$((15000 + (RANDOM * 32768 + RANDOM) % 17000))
    [[ " ${ports[*]-} " == *" $port "* ]] && continue
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      ports+=("$port")
      return
    fi
  done
  die "no free port"
}

properties() { # N BROKERS: print the configuration of broker N
  local n=$1 count=$2 i voters='' isr=1
  for ((i = 1; i <= count; i++)); do voters+=${voters:+,}$i@127.0.0.1:${ports[$((2 * i - 1))]}; done
  ((count == 1)) || isr=2
  cat <<P
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:${ports[$((2 * n - 2))]},CONTROLLER://127.0.0.1:${ports[$((2 * n - 1))]}
controller.listener.names=CONTROLLER
log.dirs=$dir/data-$n
# enabled, because a test checks that a reader never creates a topic
auto.create.topics.enable=true
delete.topic.enable=true
num.partitions=1
default.replication.factor=$count
offsets.topic.replication.factor=$count
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=4
# long enough for the fixture with an open transaction
transaction.max.timeout.ms=86400000
group.initial.rebalance.delay.ms=0
message.max.bytes=67108864
replica.fetch.max.bytes=67108864
# fixtures have records of 1970, which must not expire
log.retention.ms=-1
log.cleaner.enable=true
log.cleaner.threads=1
log.cleaner.backoff.ms=500
# the default, 128 MB, would be a third of a small broker's heap
log.cleaner.dedupe.buffer.size=16777216
# two preallocated files per partition; the default of 10 MB each is too much for a topic of 1,000 partitions
log.index.size.max.bytes=1048576
# a killed broker is fenced, and may register again, after this time
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# one rack per broker: a consumer with a rack is redirected to the follower in it (KIP-392)
broker.rack=rack-$n
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
${KAFKA_DIRECT_KAFKA_PROPERTIES:-}
P
}

boot_cluster() { # BROKERS: try once to start a cluster; sets dir and bootstrap
  local count=$1 n id formats=()
  ports=()
  bootstrap=''
  dir=$(mktemp -d "${TMPDIR:-/tmp}/kafka-direct.XXXXXX") || die "cannot make a directory"
  dir=$(cd "$dir" && pwd)
  echo "$count" >"$dir/cluster"
  if ((count == 1)); then echo "${KAFKA_DIRECT_KAFKA_JVM:--Xmx1g}"; else
    echo "${KAFKA_DIRECT_KAFKA_JVM:--Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}"
  fi >"$dir/jvm"
  for ((n = 1; n <= 2 * count; n++)); do free_port; done
  id=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22) # StorageTool random-uuid without a JVM
  for ((n = 1; n <= count; n++)); do
    bootstrap+=${bootstrap:+,}127.0.0.1:${ports[$((2 * n - 2))]}
    properties "$n" "$count" >"$dir/$n.properties"
    java "${client_jvm[@]}" -cp "$broker_cp" kafka.tools.StorageTool format -t "$id" -c "$dir/$n.properties" \
      >"$dir/format-$n.log" 2>&1 &
    formats+=($!)
  done
  echo "$bootstrap" >"$dir/bootstrap"
  for n in "${formats[@]}"; do wait "$n" || { cat "$dir"/format-*.log >&2; return 1; }; done
  for ((n = 1; n <= count; n++)); do launch "$dir" "$n"; done
  for ((n = 1; n <= count; n++)); do
    await_boot "$dir" "$n" || { say "broker $n did not start:"; tail -n 30 "$dir/$n.log" >&2; return 1; }
  done
  # Each broker has started. Wait until each also lists the others.
  ((count == 1)) || java "${client_jvm[@]}" -cp "$cp" Admin "$bootstrap" ready "$count" >&2
}

start_cluster() { # BROKERS
  local attempt
  install
  for attempt in 1 2 3; do
    boot_cluster "$1" && return
    stop_cluster "$dir"
    say "attempt $attempt to start failed"
  done
  return 1
}

stop_cluster() { # DIR
  local file n
  [[ -n $1 && -f $1/cluster ]] || return 0
  # KILL, because the data is deleted too: with TERM, the last brokers would wait minutes for a quorum.
  for file in "$1"/*.pid; do
    n=$(basename "$file" .pid)
    if alive "$1" "$n"; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
  done
  for file in "$1"/*.pid; do
    [[ ! -f $file ]] || end_broker "$1" "$(basename "$file" .pid)" KILL
  done
  rm -rf "$1"
}

run() { # BROKERS CMD...
  local count=$1 child='' watch='' signal=TERM rc=0
  shift
  (($#)) || die "run: which command?"
  dir=''
  # shellcheck disable=SC2154
  trap 'rc=$?; trap "" INT TERM HUP; [[ -z ${watch:-} ]] || kill -- "-$watch" 2>/dev/null || true
        [[ -z ${dir:-} ]] || stop_cluster "$dir"; exit "$rc"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  start_cluster "$count"
  # If this script is killed without running its traps (a CI timeout), the watcher stops the brokers.
  set -m # gives each job its own process group, so that a signal reaches the whole job
  "$self" --watch "$$" "$dir" </dev/null >/dev/null 2>&1 &
  watch=$!
  disown
  KAFKA_DIRECT_BOOTSTRAP=$bootstrap KAFKA_DIRECT_KAFKA_DIR=$dir KAFKA_DIRECT_KAFKA_CP=$cp "$@" </dev/null &
  child=$!
  set +m
  # Bash runs traps only after a foreground command ends, so the command runs in the background and gets our signals.
  trap 'kill "-$signal" -- "-$child" 2>/dev/null || true; signal=KILL' INT TERM HUP
  while
    rc=0
    wait "$child" || rc=$?
    kill -0 "$child" 2>/dev/null
  do :; done
  exit "$rc"
}

# ---- commands ------------------------------------------------------------------------------------------------

brokers() { [[ $1 == 1 || $1 == 3 ]] || die "1 or 3 brokers, not $1"; echo "$1"; }

command=${1:-}
shift || true
case $command in
install) install ;;
start)
  count=$(brokers "${1:-1}")
  dir=''
  trap '[[ -z $dir ]] || stop_cluster "$dir"' EXIT # a start that fails or is interrupted is cleaned up
  trap 'exit 143' INT TERM HUP
  start_cluster "$count"
  trap - EXIT
  echo "BOOTSTRAP=$bootstrap DIR=$dir"
  ;;
stop)
  [[ -d ${1:?DIR} ]] || exit 0 # already stopped
  dir=$(cluster_dir "$1")
  stop_cluster "$dir"
  ;;
kill)
  dir=$(cluster_dir "${1:?DIR}")
  broker_number "$dir" "${2:?N}"
  end_broker "$dir" "$2" "${3:-KILL}"
  ;;
restart)
  dir=$(cluster_dir "${1:?DIR}")
  broker_number "$dir" "${2:?N}"
  install
  end_broker "$dir" "$2" TERM
  launch "$dir" "$2"
  await_boot "$dir" "$2" || { tail -n 30 "$dir/$2.log" >&2; die "broker $2 did not start again"; }
  ;;
run) run 1 "$@" ;;
run3) run 3 "$@" ;;
java)
  install
  exec java "${client_jvm[@]}" -cp "$cp" "$@"
  ;;
--watch) # PID DIR, started by run
  while kill -0 "$1" 2>/dev/null; do sleep 1; done
  [[ ! -d $2 ]] || stop_cluster "$2"
  ;;
*)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$self" >&2
  exit 2
  ;;
esac
