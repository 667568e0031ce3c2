# Everything here works with what a new machine has: Go, a C compiler for the race
# detector, npm for buf. Tools run at pinned versions and leave nothing behind.
.DEFAULT_GOAL := all
.PHONY: all help test race lint fix generate checkgenerate breaking cover bench fuzz sim clean

GO            ?= go
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF           := npx --yes @bufbuild/buf@1.75.0
# The generator must be of the version that go.mod links.
PROTOBUF      := $(shell $(GO) list -m -f '{{.Version}}' google.golang.org/protobuf 2>/dev/null)
TMP           := $(CURDIR)/bin
# sim: how many seeds, or the one to repeat, of which tests.
SEEDS         ?= 200
SEED          ?=
SIM           ?= ^TestSwarm$$
# fuzz: how long each target runs.
FUZZTIME      ?= 60s

all: checkgenerate lint test ## generate check, lint and tests: what a change must pass

help: ## say what each target does
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## run the tests
	$(GO) test ./...

race: ## run the tests under the race detector, with few simulations: they are slow there
	$(GO) test -race -short $$($(GO) list ./... | grep -v /cluster/sim$$)
	$(GO) test -race -short ./cluster/sim -args -sim.seeds=3

lint: ## vet and golangci-lint, and the proto files
	$(GO) vet ./...
	$(GOLANGCI_LINT) run ./...
	$(BUF) lint
	$(BUF) format --diff --exit-code

fix: ## format, and mend what lint can mend by itself
	$(GOLANGCI_LINT) fmt ./...
	$(GOLANGCI_LINT) run --fix ./...
	$(BUF) format --write

generate: $(TMP)/protoc-gen-go-$(PROTOBUF) ## make the Go code of the proto files
	PATH="$(TMP):$$PATH" $(BUF) generate

$(TMP)/protoc-gen-go-$(PROTOBUF):
	GOBIN=$(TMP) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOBUF)
	cp $(TMP)/protoc-gen-go $@

checkgenerate: $(TMP)/protoc-gen-go-$(PROTOBUF) ## fail if the generated code is not that of the proto files
	@new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	  PATH="$(TMP):$$PATH" $(BUF) generate --output "$$new" || exit 1; \
	  list() { cd "$$1" && find . -name '*.pb.go' -not -path './bin/*' -not -path './.git/*' | sort; }; \
	  made=$$(list "$$new"); have=$$(list .); \
	  [ "$$made" = "$$have" ] || { echo "generated code is missing or left over: make generate"; exit 1; }; \
	  for f in $$made; do cmp "$$new/$$f" "$$f" || { echo "$$f is out of date: make generate"; exit 1; }; done; \
	  echo "generated code is up to date: $$(echo "$$made" | wc -l) files"

breaking: ## fail if a message could no longer be read: logs on disk are messages too
	@base=$$(git merge-base HEAD main 2>/dev/null); \
	  [ "$$base" != "$$(git rev-parse HEAD)" ] || base=$$(git rev-parse --quiet --verify 'HEAD~1^{commit}'); \
	  if [ -n "$$base" ]; then echo "compared with $$base"; $(BUF) breaking --against ".git#ref=$$base"; \
	  else echo 'no earlier commit to compare with'; fi

cover: ## show how much of the code the tests reach
	$(GO) test -short -coverpkg=./... -coverprofile=$(TMP)/cover.out ./...
	$(GO) tool cover -func=$(TMP)/cover.out | tail -1

bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## run each fuzz target for FUZZTIME
	@for target in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$($(GO) test -list '^Fuzz' $$target | grep '^Fuzz'); do \
	    echo "$$target $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$target || exit 1; \
	  done; \
	done

sim: ## simulate whole clusters: SEEDS=200 of them, or SEED=n to repeat one
	$(GO) test ./cluster/sim -count=1 -timeout 60m -v -run '$(SIM)' -args $(if $(SEED),-sim.seed=$(SEED),-sim.seeds=$(SEEDS))

clean: ## remove what the targets above made
	rm -rf bin
	$(GO) clean -testcache
