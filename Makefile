# Each target has one line of help: `make` prints them.

GO ?= go
# What the linker writes into the binary; empty outside a git checkout.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# What the tests run beside Go: a real VRRP peer, packet tools, a service to guard, servers to check,
# a browser, and a virtual machine, whose kernel is downloaded and not installed.
PACKAGES := arping etcd-server iproute2 keepalived nftables nginx-light procps psmisc systemd tshark util-linux \
  busybox-static chromium chromium-driver dnsmasq-base exim4-daemon-light ipvsadm kmod qemu-system-x86 xz-utils

# Knobs: make fuzz FUZZTIME=1m, make sim SEEDS=100000, make test TESTFLAGS=-v
FUZZTIME ?= 5s
SEEDS ?= 10000
TESTFLAGS ?=
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what the tests run (Debian packages, as root), download a kernel and the Go modules
	@missing=$$(for p in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$p; done); \
	install="apt-get install -y --no-install-recommends $$missing"; \
	if [ -z "$$missing" ]; then echo "deps: all packages are installed"; \
	elif [ "$$(id -u)" != 0 ]; then echo "deps: not root; run: sudo $$install" >&2; exit 1; \
	else export DEBIAN_FRONTEND=noninteractive; apt-get update -q && $$install; fi
	sh lab/vm/kernel.sh
	$(GO) mod download

.PHONY: build
build: ## build bin/solovip, one static binary
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/solovip ./cmd/solovip

# Built by all processors, then tested one package at a time: many tests run real
# daemons against real clocks.
.PHONY: test
test: ## run every test; those on the kernel want root, and skip without unless CI=true
	$(GO) build ./...
	$(GO) test -p 1 -timeout 15m $(TESTFLAGS) ./...

.PHONY: race
race: ## run every test under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -p 1 -timeout 20m $(TESTFLAGS) ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (5s)
	@grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | while IFS=: read -r file _ func; do \
	  echo "fuzz: $$(dirname $$file) $${func#func }"; \
	  $(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" || exit 1; done

.PHONY: lint
lint: ## run go vet, gofmt and golangci-lint (built by go run at the first time: minutes)
	$(GO) vet ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted" >&2; exit 1; fi
	$(GO) run $(GOLANGCI_LINT) run

.PHONY: sim
sim: ## play SEEDS (10000) random stories of faults on clusters under virtual time
	$(GO) test -count=1 -timeout 0 -v -run "^TestSimStories$$" ./lab/sim -seeds $(SEEDS)

.PHONY: mutants
mutants: ## plant each bug that the simulation has to find, and tell at which seed it does
	$(GO) test -count=1 -timeout 60m -v -run "^TestPlantedBugs$$" ./lab/sim

.PHONY: demo
demo: build ## show in under a minute what solovip does where keepalived splits (no root needed)
	bin/solovip lab demo

# Wants a machine with nothing else to do. REPEAT=100 makes the figures better.
REPEAT ?= 20
.PHONY: accept
accept: build ## play every scenario in the modes lease and quorum, and measure what CI tests once; half an hour: REPEAT (20) take-overs and handovers, a witness away for 60 s
	bin/solovip lab run --brief --all
	bin/solovip lab run --brief --jobs 2 --repeat $(REPEAT) --system lease --system keepalived --ratio 1 power-off
	bin/solovip lab run --brief --jobs 2 --repeat $(REPEAT) power-off-fast
	bin/solovip lab run --brief --repeat $(REPEAT) --jobs 1 --system lease --system quorum handover orderly-stop
	bin/solovip lab run --brief --window 60s witness-stopped witness-and-peer-stopped

.PHONY: compare
compare: build ## play the same faults on solovip in each mode and on keepalived, and print them side by side; a page with timelines goes to bin/compare.html
	bin/solovip lab run --brief --compare --html bin/compare.html --all --system lease --system quorum --system veto --system vrrp --system keepalived

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: check
check: lint test ## what a change has to pass: lint and test

.PHONY: clean
clean: ## remove what build made
	rm -rf bin
