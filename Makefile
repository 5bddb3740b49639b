# `make help` lists what can be done. Everything here runs on a bare machine with Go and make. What
# else a target needs, it installs itself (scripts/need).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/.bin
GOLANGCI_LINT_VERSION := v2.15.0
# Sources of instances that are plugins of their own, so that their clients are not in every build.
PLUGINS := discovery/consul discovery/kubernetes
# The modules of this repository. The first is the plugin. The last have heavy test dependencies.
MODULES := . $(PLUGINS) examples/quickstart examples/getting-started e2e e2e/policy/caddy e2e/consul e2e/kubernetes bench
# Arguments of `make demo` and `make bench`, for example ARGS="--etcd 10.0.0.1:2379".
ARGS ?=
# Seconds for each fuzz target of `make fuzz`.
FUZZTIME ?= 20
# How long `make soak` lasts.
SOAK ?= 30m

.PHONY: help
help: ## list what can be done
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## run the quickstart: embedded etcd, three demo instances, Caddy with the gateway
	@cd examples/quickstart && go build -o $(BIN)/quickstart . && exec $(BIN)/quickstart $(ARGS)

.PHONY: build
build: ## build Caddy with the plugin into .bin/caddy
	go build -trimpath -o $(BIN)/caddy ./cmd/caddy

.PHONY: release
release: ## build Caddy with the plugin for eight platforms into .bin/release, with checksums and a list of its modules (see RELEASE.md)
	scripts/release $(BIN)/release

.PHONY: test
test: test-unit test-modules conformance-protobuf conformance-connect conformance-protovalidate fuzz-codec test-e2e ## run all tests, installing what they need

.PHONY: test-unit
test-unit: ## test the plugin's module, with the race detector; replays the fuzz corpora
	go test -race -timeout 10m ./...
	go test -race -timeout 10m ./internal/pool -transport wire # its tests use grpc-go otherwise
	go test -timeout 5m ./internal/transcode ./internal/frontend # allocations and memory, which the race detector would change

.PHONY: test-modules
test-modules: ## test the modules beside it that are not end-to-end
	for module in $(PLUGINS) examples/quickstart examples/getting-started bench; do (cd $$module && go vet ./... && go test -race -timeout 10m ./...); done

.PHONY: test-e2e
test-e2e: ## test against real etcd servers, registries, clients, xcaddy and Caddy processes
	scripts/need etcd npm chromium curl ip tc prometheus protoc
	go build -race -o $(BIN)/caddy-race ./cmd/caddy # once for all packages, not once for each
	cd e2e && go vet ./... && E2E_CADDY=$(BIN)/caddy-race go test -race -p 1 -timeout 45m $$(go list ./... | grep -v /e2e/peers$$) # see test-peers

.PHONY: test-peers
test-peers: ## test the transport against gRPC servers in C++, Python, Java and Node, and against HTTP/2 proxies; it compiles a server in C++, takes minutes, and is not part of test
	scripts/need g++ grpc++ grpcio javac grpc-java npm nginx haproxy nghttpx apache2
	cd e2e && go vet ./peers && go test -race -timeout 20m ./peers

.PHONY: test-apis
test-apis: ## describe large public APIs by OpenAPI and check the documents; builds Google's client libraries, which takes minutes
	cd e2e/apis && go vet ./... && go test -timeout 30m ./...

.PHONY: test-consul
test-consul: ## test against a real Consul agent; builds it, which took 7 minutes the first time on two busy cores
	cd e2e/consul && go vet ./... && go test -count=1 -v -timeout 40m ./...

.PHONY: test-kubernetes
test-kubernetes: ## test against a real Kubernetes API server; builds it, which took 8 minutes the first time on two busy cores, and needs root
	scripts/need ip
	cd e2e/kubernetes && go vet ./... && go test -count=1 -v -timeout 60m ./...

.PHONY: test-http
test-http: ## test routing, binding, errors, metadata and streams through Caddy; part of test-e2e
	scripts/need npm chromium curl
	cd e2e && go test -race -timeout 20m ./http/...

.PHONY: faults
faults: ## break everything the gateway depends on, with real timeouts; prints a table, about 25 minutes (a short form is in test-e2e)
	scripts/need ip tc
	cd e2e && FAULTS=full go test -count=1 -v -parallel 3 -timeout 90m ./faults

.PHONY: soak
soak: ## run the gateway for SOAK (30m) in churn, reloads and restarts of etcd, with the race detector; prints memory and goroutines
	scripts/need ip
	cd e2e && SOAK=$(SOAK) go test -count=1 -v -timeout 0 -run '^TestSoak$$' ./faults

.PHONY: conformance-protobuf
conformance-protobuf: ## run the official protobuf JSON conformance suite against the transcoder
	scripts/need npm g++
	internal/transcode/conformance/run.sh

.PHONY: conformance-connect
conformance-connect: ## run the official Connect conformance suite (Connect, gRPC-Web, gRPC) against Caddy with the gateway, also inside of a policy
	e2e/conformance/connect/run.sh
	OPTIONS="$$(printf 'with * {\n}')" e2e/conformance/connect/run.sh

.PHONY: conformance-protovalidate
conformance-protovalidate: ## run the official conformance suite of protovalidate against the checks of request messages
	e2e/conformance/protovalidate/run.sh

.PHONY: fuzz-codec
fuzz-codec: ## fuzz the transcoder against protojson for a minute
	internal/transcode/fuzz.sh 60

.PHONY: fuzz
fuzz: ## run every fuzz target of the plugin for FUZZTIME seconds each
	scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## measure the gateway beside its peers, write docs/performance.md; ARGS="-docs= -work get,post -conns 64" for less
	scripts/need taskset
	cd bench && go run ./compare -docs ../docs/performance.md $(ARGS)

.PHONY: bench-profile
bench-profile: ## profile the gateway under each kind of work, and say where the time goes
	scripts/need taskset
	cd bench && go run ./profile -docs ../docs/performance.md $(ARGS)

.PHONY: bench-connection
bench-connection: ## measure what a kept connection to a backend is worth; needs root, for a network device with a delay
	scripts/need ip
	cd bench && go run ./connection -docs ../docs/performance.md $(ARGS)

.PHONY: bench-scale
bench-scale: ## measure start-up, reload, memory, and the time until 10,000 instances are connected
	cd bench && go run ./scale -docs ../docs/performance.md $(ARGS)

.PHONY: scaling
scaling: build ## measure what 50 gateways ask of a three-node etcd, with and without its grpc-proxy, and what a catalog costs them (15 minutes)
	scripts/need etcd
	cd e2e && E2E_CADDY=$(BIN)/caddy go test -count=1 -v -timeout 40m -run TestMeasure ./scaling -args -measure

.PHONY: bench-codec
bench-codec: ## measure the transcoder beside protojson, hyperpb and sonic
	bench/codec/run.sh

.PHONY: lint
lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## check format, width of prose, vet, linters, import rules and go.mod files
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	@git ls-files '*.go' '*.md' '*.proto' Makefile .golangci.yml .ci/run scripts | go run ./internal/lint/commentwidth
	for module in $(MODULES); do (cd $$module && go vet ./... && go mod tidy -diff && $< run --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: fmt
fmt: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## format all code
	for module in $(MODULES); do (cd $$module && $< fmt --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: generate
generate: ## generate Go code from the .proto files again
	scripts/generate

$(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) .cache e2e/out bench/out
