#!/usr/bin/env bash
# Puts OpenPAI's JavaScript SDK, with its live API suite, into the cache, and prints the
# directory. The lock file has the digest of every package; nothing of them is run here.
set -euo pipefail
cd "$(dirname "$0")/../test/openpaisdk"
dir=${PAI_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pai}/openpai-sdk-$(cat package.json package-lock.json | sha256sum | cut -c1-12)
if [[ ! -e $dir/complete ]]; then
  mkdir -p "$dir"
  cp package.json package-lock.json "$dir"
  npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund >&2
  touch "$dir/complete"
fi
echo "$dir"
