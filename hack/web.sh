#!/usr/bin/env bash
# Builds the page of the portal from web/, or checks it. Go programs need only what is in
# web/dist, so building PAI does not need Node.js.
#
#   hack/web.sh build   writes web/dist
#   hack/web.sh install fetches what the lock file names
#   hack/web.sh check   fails unless web/dist is what its source makes; types, lint, unit tests
set -euo pipefail
cd "$(dirname "$0")/../web"

version=$(node --version 2>/dev/null) || { echo "Node.js is missing: install version 20.19 or newer, with npm" >&2; exit 1; }
IFS=. read -r major minor _ <<<"${version#v}"
((major > 20 || (major == 20 && minor >= 19))) || { echo "Node.js $version is too old: install version 20.19 or newer" >&2; exit 1; }

# What the lock file names is installed once.
installed=node_modules/.lock-of-pai
if ! cmp -s package-lock.json "$installed"; then
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json "$installed"
fi

case ${1:-} in
  install) ;;
  build) npx vite build --emptyOutDir ;;
  check)
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    npx vite build --logLevel warn --emptyOutDir --outDir "$out/dist"
    diff -r "$out/dist" dist >&2 || { echo "web/dist is not what web/src makes; run: make web" >&2; exit 1; }
    npx tsc -p . && npx eslint . && npx vitest run
    ;;
  *) echo "usage: hack/web.sh build|install|check" >&2; exit 2 ;;
esac
