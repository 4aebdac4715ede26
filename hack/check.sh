#!/usr/bin/env bash
# Checks one package the way a change is checked: format, vet, tests, lint.
#
#   hack/check.sh PACKAGE        for example ./internal/plan
set -euo pipefail
cd "$(dirname "$0")/.."
set -a; . hack/go.env; set +a

package=${1:?name a package, for example: make check PKG=./internal/plan}
directory=${package#./}
directory=${directory%/...}
if [[ ! -d $directory ]]; then
  echo "package $package not found; name a directory of this repository, for example: make check PKG=./internal/plan" >&2
  exit 2
fi

# One run shows everything that is wrong.
failed=0
unformatted=$(gofmt -l "$directory")
if [[ -n $unformatted ]]; then
  echo "not formatted; run: gofmt -w $unformatted" >&2
  failed=1
fi
go vet -tags "e2e live openpaisdk browser" "$package" || failed=1
go test "$package" || failed=1
go run ./test/language "$directory" || failed=1
go tool -modfile=tools/go.mod golangci-lint run "$package" || failed=1
exit "$failed"
