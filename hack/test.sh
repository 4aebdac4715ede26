#!/usr/bin/env bash
# Runs test suites in the order given and prints how long each took against its
# budget. The last lines say what failed. All suites run even when one fails;
# the exit code says whether any did.
#
#   hack/test.sh SUITE...        suites: lint unit web browser race vuln sdk fuzz bundles e2e mutants chaos
set -euo pipefail
cd "$(dirname "$0")/.."
set -a; . hack/go.env; set +a

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=0

lint() {
  local unformatted
  unformatted=$(gofmt -l $(git ls-files '*.go'))
  [[ -z $unformatted ]] || { echo "not formatted; run: gofmt -w" $unformatted; return 1; }
  go mod tidy -diff &&
    go vet -tags "e2e live openpaisdk browser" ./... &&
    go tool -modfile=tools/go.mod golangci-lint run ./... &&
    (cd components/network && go vet ./... && go tool -modfile=../../tools/go.mod golangci-lint run ./...)
}
unit()    { go test -timeout 20m ./... && (cd components/network && go test -timeout 10m ./...); }
# The page of the portal: web/dist is what its source makes, types, lint, unit tests.
web() { hack/web.sh check; }
# The page of the portal in Chromium, against the portal and the REST server's handler.
browser() {
  hack/web.sh install &&
    go test -tags browser -count=1 -v -timeout 6m ./test/browser
}
# OpenPAI's live API suite, from its JavaScript SDK, against the REST server.
sdk() {
  PAI_OPENPAI_SDK=$(hack/openpai-sdk.sh) || return
  export PAI_OPENPAI_SDK
  go test -tags openpaisdk -count=1 -v -timeout 10m -run '^TestOpenPAISuite$' ./internal/rest
}
# The race detector needs cgo, and slows tests down several times. RACE is a part of the
# packages.
race() {
  CGO_ENABLED=1 go test -race -timeout 40m ${RACE:-./...} &&
    (cd components/network && CGO_ENABLED=1 go test -race -timeout 20m ./...)
}
# fuzzed FUZZ-TEST PACKAGE. At the end of its time, go test sometimes reports that end as a
# failure, without an input (https://go.dev/issue/75804, fixed in Go 1.27): once more then.
fuzzed() {
  local try log="$results/fuzzed.log"
  for try in 1 2; do
    go test -timeout 0 -run '^$' -fuzz "^$1\$" -fuzztime "${FUZZTIME:-24s}" -fuzzminimizetime 1x "$2" 2>&1 | tee "$log" && return
    ! grep -q 'Failing input' "$log" && grep -qx ' *context deadline exceeded' "$log" || return 1
  done
  return 1
}
# fuzz runs every fuzz test for FUZZTIME.
fuzz() {
  local file name
  for file in $(grep -rl --include='*_test.go' '^func Fuzz' internal); do
    for name in $(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$file"); do
      fuzzed "$name" "./${file%/*}" || return
    done
  done
}
# The end-to-end suites use what the bundles hold; building them here shows
# what takes long, and keeps it out of the tests' own time limits.
bundles() { PAI_STATE_DIR="${TMPDIR:-/tmp}/pai-test-bundles" bin/paictl release build ${PAI_TEST_ALL:+v0.9} v0.10 v0.11; }
# The tests of laterTests run one by one after all others. make test starts none of them
# after laterLimit minutes, so that a slow machine ends within the limit of continuous
# integration, and says which did not run.
laterTests=(TestUpgrade/killed_at_every_step TestTwoMachines TestSameVersion TestJobsAreApart TestCertificates TestHistory)
laterLimit=55
# exactly NAME... prints the pattern of go test for exactly these tests.
exactly() { sed 's|/|$/^|g; s|^|^|; s|$|$|' < <(printf '%s\n' "$@") | paste -sd '|'; }
e2e() {
  local files packages tests name code=0
  PAI_OPENPAI_SDK=$(hack/openpai-sdk.sh) || return
  export PAI_OPENPAI_SDK
  hack/build.sh - || return # tests within paictl's packages carry the program, too
  # The other tests of these packages are in the suite unit.
  files=$(grep -rl --include='*_test.go' '^//go:build e2e' internal test)
  packages=$(xargs -n1 dirname <<<"$files" | sort -u | sed 's|^|./|')
  tests=$(xargs sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' <<<"$files")
  # shellcheck disable=SC2086 # packages and tests are words
  go test -tags e2e -count=1 -v -p 1 -timeout 75m -run "$(exactly $tests)" -skip "$(exactly "${laterTests[@]}")" $packages || code=1
  for name in "${laterTests[@]}"; do
    if [[ -z ${PAI_TEST_ALL:-} ]] && ((SECONDS > laterLimit * 60)); then
      echo "NOT RUN: $name, because $((SECONDS / 60)) minutes have passed on this machine; run: make e2e RUN=$name"
      continue
    fi
    go test -tags e2e -count=1 -v -timeout 40m -run "$(exactly "$name")" ./test/e2e || code=1
  done
  return "$code"
}

# vuln checks what is compiled for known vulnerabilities. Without the database, docs/advisories.md
# has what was known on its date, and nothing is wrong.
vuln() {
  local code=0
  go build -o "$results/vuln-program" ./test/vuln || return
  "$results/vuln-program" || code=$?
  ((code == 3)) || return "$code"
}
mutants() { go run ./test/mutants -save docs/mutants.md; }
chaos()   { go run ./test/chaos/run; }

# failures prints what the failed tests of a log said: at most 60 lines of each,
# without the lines that time a command, the parts of a test last. A log of
# everything may be cut off where it is kept; its end is not.
failures() {
  awk '
    /^=== (RUN|NAME|CONT|PAUSE)/   { test = $3; next }
    /^ *--- FAIL: /                { test = $3; failed[++n] = test; next }
    /^ *--- |^(ok|FAIL|PASS)/      { test = ""; next }
    test == "" || /: [0-9.]+ s$/   { next }
    ++lines[test] <= 60            { said[test] = said[test] substr($0, 1, 500) "\n" }
    END { for (i = 1; i <= n; i++) printf "--- %s said:\n%s\n", failed[i], said[failed[i]]; exit n == 0 }' "$1" ||
    tail -n 60 "$1" # it did not compile, or was ended
}

budget() { # minutes with a warm cache, and with a cold one; see docs/testing.md
  case $1 in
    lint) echo "2 8" ;; unit) echo "2 8" ;; race) echo "15 40" ;; vuln) echo "10 20" ;; sdk) echo "1 3" ;; web) echo "1 3" ;; browser) echo "3 4" ;; fuzz) echo "6 8" ;; bundles) echo "1 20" ;; e2e) echo "35 40" ;;
    mutants) echo "20 25" ;; chaos) echo "60 90" ;;
  esac
}

# strays prints the files of this directory that git neither has nor ignores.
strays() { git ls-files --others --exclude-standard 2>/dev/null || true; }

before=$(strays)
for suite in "$@"; do
  declare -F "$suite" >/dev/null || { echo "no suite $suite" >&2; exit 2; }
  printf '\n=== suite %s\n' "$suite"
  start=$SECONDS
  if "$suite" 2>&1 | tee "$results/$suite.log"; then outcome=passed; else outcome=FAILED failed=1; fi
  echo "$outcome $((SECONDS - start))" >"$results/$suite.result"
done

left=$(comm -13 <(sort <<<"$before") <(strays | sort))
if [[ -n $left ]]; then
  printf '\n=== the tests left files in the source\n%s\n' "$left"
  failed=1
fi

printf '\n%-10s %-8s %9s   %s\n' SUITE OUTCOME TIME "BUDGET warm, cold"
for suite in "$@"; do
  read -r outcome seconds <"$results/$suite.result"
  read -r warm cold < <(budget "$suite")
  printf '%-10s %-8s %5d:%02d   %d, %d min\n' "$suite" "$outcome" $((seconds / 60)) $((seconds % 60)) "$warm" "$cold"
done

printf '%-10s %-8s %5d:%02d\n\n' all "" $((SECONDS / 60)) $((SECONDS % 60))
# go test's own lines, without those of the packages that passed.
for suite in "$@"; do
  grep -hE '^(FAIL|panic:|--- FAIL|    --- FAIL|NOT RUN)([[:space:]:]|$)' "$results/$suite.log" || true
done
# The whole log of a failed suite stays until that suite fails again.
kept="${PAI_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pai}/failed"
for suite in "$@"; do
  case $(cat "$results/$suite.result") in FAILED*)
    mkdir -p "$kept" && cp "$results/$suite.log" "$kept/$suite.log"
    printf '\n=== failures of %s; the whole log is %s\n' "$suite" "$kept/$suite.log"
    failures "$results/$suite.log" ;;
  esac
done
exit "$failed"
