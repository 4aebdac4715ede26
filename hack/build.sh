#!/usr/bin/env bash
# Builds paictl, with the program that it copies to machines in it.
#
#   hack/build.sh [FILE]         FILE is bin/paictl by default; "-" builds only the program
set -euo pipefail
cd "$(dirname "$0")/.."
set -a; . hack/go.env; set +a

carried=internal/inspect/helper/program/pai-machine.gz
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
go build -buildvcs=false -ldflags "-s -w" -o "$new/pai-machine" ./cmd/pai-machine
gzip -9n "$new/pai-machine"
# Nothing is compiled again if the program is the same.
if ! cmp -s "$new/pai-machine.gz" "$carried"; then
  cp "$new/pai-machine.gz" "$carried.$$"
  mv "$carried.$$" "$carried"
fi
[[ ${1:-} == - ]] || go build -buildvcs=false -o "${1:-bin/paictl}" ./cmd/paictl
