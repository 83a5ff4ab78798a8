#!/usr/bin/env bash
# Fails if a kernel's instructions or allocations per record are more than 5 % over
# benches/kernels/counted.json. It compares counts, not times, so a busy machine does not change them.
#
#   guard.sh            compares
#   guard.sh --accept   writes the current counts into counted.json
#
# Needs valgrind, which it installs with apt-get if it has the permission. benches/README.md says what is
# counted, and why the counts are the same on other machines.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target/bench}

if ! command -v valgrind >/dev/null; then
  sudo=()
  ((EUID == 0)) || sudo=(sudo -n)
  if ! { command -v apt-get && "${sudo[@]}" apt-get update -q && "${sudo[@]}" apt-get install -q -y --no-install-recommends valgrind; } >&2; then
    echo "guard.sh needs valgrind and could not install it" >&2
    exit 1
  fi
fi
cargo build --release --locked --quiet --manifest-path benches/kernels/Cargo.toml --bin counted
"$CARGO_TARGET_DIR/release/counted" benches/kernels/counted.json "$@"
