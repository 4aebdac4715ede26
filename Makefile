# `make` alone says what there is. Every target is a few commands that can be
# typed by hand; the longer ones are scripts in hack/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
include hack/go.env
export CGO_ENABLED GOFLAGS

.PHONY: help deps build web demo test test-all unit race sdk golden fuzz e2e check bench bench-upgrade bench-history chaos mutants findings lint vuln verify clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing
	@hack/deps.sh

build: ## build bin/paictl, with the program that it copies to machines in it
	@hack/build.sh

web: ## build the page of the portal, web/dist, from its source (Node.js 20.19 or newer)
	@hack/web.sh build

demo: ## PAI on this host from nothing: v0.10, a job, and the upgrade to v0.11 under it
	@hack/demo.sh

test: deps build ## what continuous integration runs: lint, unit tests, the page of the portal, OpenPAI's suite, fuzzing, bundles, end-to-end tests
	@hack/test.sh lint unit web sdk fuzz bundles e2e

test-all: deps build ## all that, the race detector, known vulnerabilities, every mutant, every fault in an upgrade: what proves a release (hours)
	@PAI_TEST_ALL=1 hack/test.sh lint unit web browser race vuln sdk fuzz bundles e2e mutants chaos

check: ## format, vet, and test one package, and lint it: PKG=./internal/plan
	@hack/check.sh "$(PKG)"

unit: ## tests that need nothing but Go
	@hack/test.sh unit

race: deps ## unit tests with the race detector, which needs cgo; RACE=./internal/rest for a part
	@hack/test.sh race

golden: ## rewrite the golden files of all tests; read the difference before you commit it
	@go test $$(grep -rl --include='*_test.go' '"pai.dev/pai/internal/golden"' internal test | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

sdk: deps ## the live API suite that OpenPAI ships in its JavaScript SDK, against the REST server
	@hack/test.sh sdk

fuzz: ## feed the readers of configurations and archives with random input for FUZZTIME
	@hack/test.sh fuzz

e2e: deps build ## tests on local machines with a real Kubernetes (root); RUN=TestName for one
	@if [ -n "$(RUN)" ]; then PAI_TEST_ALL=1 go test -tags e2e -count=1 -v -timeout 75m -run '$(RUN)' ./test/e2e; \
	 else hack/test.sh bundles e2e; fi

bench: deps build ## the figures that PAI wants to reach, measured on this host (root); COLD=1 for the cold build as well
	@go run ./test/bench $(if $(COLD),-cold)

bench-upgrade: deps build ## PAI's upgrade beside kubeadm's, and what upgrades cost besides (root); PARTS=pai,kubeadm,helm,scale,old
	@go run ./test/benchupgrade $(if $(PARTS),-parts '$(PARTS)')

bench-history: ## lists, filters, and details with 100,000 jobs in the history (SQLite), and the memory of the REST server
	@go test -tags scale -count=1 -timeout 90m -run TestHistoryOf100000Jobs -v ./cmd/rest-server | grep -E '^(FIGURE|---|ok|FAIL)|_test.go'

chaos: deps build ## put faults into upgrades and see that they converge (root); FAULT=name,name ROUNDS=n SEED=n; FAULT=list
	@go run ./test/chaos/run -rounds $(or $(ROUNDS),1) $(if $(FAULT),-fault '$(FAULT)') $(if $(SEED),-seed $(SEED))

mutants: ## put faults into a copy of the code one at a time and see which test notices; ONLY=name,name for some
	@go run ./test/mutants $(if $(ONLY),-only='$(ONLY)') -save docs/mutants.md

findings: ## run the tests that the documents name for each finding, and write docs/findings.md; E2E=1, LOG=output of a run
	@go run ./test/findings $(if $(E2E),-e2e) $(if $(LOG),-log '$(LOG)')

lint: ## go vet and golangci-lint (which is compiled first: two minutes, once)
	@hack/test.sh lint

vuln: ## known vulnerabilities of all that is compiled (needs the Go vulnerability database); ONLY=part of a directory, DB=URL
	@go run ./test/vuln $(if $(ONLY),-only '$(ONLY)') $(if $(DB),-db '$(DB)')

verify: lint ## what a change must pass before it is offered: formatting, subjects, tidy modules, lint, unit tests
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	 if [ -n "$$unformatted" ]; then echo "run: gofmt -w $$unformatted" >&2; exit 1; fi
	@long=$$({ git log --format=%s '@{upstream}..' 2>/dev/null || true; } | awk 'length > 72'); \
	 if [ -n "$$long" ]; then printf 'subjects of commits with more than 72 characters:\n%s\n' "$$long" >&2; exit 1; fi
	@go mod tidy -diff
	@hack/test.sh unit

clean: ## remove what building left in this directory (the cache of bundles stays)
	@rm -rf bin
