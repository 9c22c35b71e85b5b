# What CI calls is what is here, word for word. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

# rustup's programs, also where the shell has not been told of them yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# The home of the local stack.
HELIX_HOME ?= .helix
HELIX := $(CARGO_TARGET_DIR)/debug/helix

WEB := services/sidecar/web

.PHONY: help web install build up down clean status logs demo test lint bench faults openapi fuzz odd

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: ## what the stack needs and this machine lacks
	@scripts/install

web: $(WEB)/dist/index.html ## the web monitor's assets, which go into the binary

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	@npm ci --prefix $(WEB) --no-audit --no-fund --silent
	touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(WEB)/index.html $(WEB)/package.json $(WEB)/tsconfig.json \
		$(WEB)/vite.config.js $(shell find $(WEB)/src $(WEB)/public -type f)
	@npm run build --prefix $(WEB) --silent
	touch $@

build: install web
	@cargo build -p helix

up: build ## install, build, start the local stack in the background, wait until all is ready
	@$(HELIX) up --detach --home $(HELIX_HOME)

down: ## stop it, keep its data
	@if [ -x $(HELIX) ]; then $(HELIX) down --home $(HELIX_HOME); else echo "nothing runs: nothing was built yet"; fi

clean: ## stop it and remove its data
	@if [ -x $(HELIX) ]; then $(HELIX) clean --home $(HELIX_HOME); elif [ -d $(HELIX_HOME) ]; then
		cargo build -p helix && $(HELIX) clean --home $(HELIX_HOME); fi

status: ## what runs where, and its health
	@$(HELIX) status --home $(HELIX_HOME)

logs: ## the end of every log; LOG=kafka shows one, FOLLOW=1 goes on
	@$(HELIX) logs --home $(HELIX_HOME) $(LOG) $(if $(FOLLOW),--follow)

demo: ## a simulated hospital day in fast motion, on a running stack
	@if [ ! -f $(HELIX_HOME)/dev.env ]; then echo "nothing runs: start the stack with \`make up\`" >&2; exit 3; fi
	set -a
	. $(HELIX_HOME)/dev.env
	set +a
	HELIX_CONFIG=$(HELIX_HOME)/helix.toml $(HELIX) simulate $(SIMULATE)

# Random histories are the same ones in each run, so that a red one is this change's. PROPTEST_RNG_SEED=7 PROPTEST_CASES=20000 looks further.
test: export PROPTEST_RNG_SEED ?= 20261122
test: ## every test, on ports and data of its own
	@scripts/install --tests
	$(MAKE) web
	npm test --prefix $(WEB) --silent
	cargo build --workspace --all-targets
	cargo test --workspace

openapi: ## write docs/openapi/ingest.json anew, from the code
	@HELIX_WRITE_OPENAPI=1 cargo test --quiet -p helix-ingest --test ingest openapi::the_committed_document

lint: ## formatting, lints, the gateway's and the containers' files
	@scripts/install --tests
	$(MAKE) web
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-gateway
	scripts/check-compose
	for script in scripts/*; do
		case $$(head -n 1 "$$script") in *bash*) bash -n "$$script" ;; esac
	done

# Measured seconds of each run, and runs of each floor and of the subject.
BENCH_SECONDS ?= 20
BENCH_RUNS ?= 3

# Facts of the longest history of which the cost of one more fact is measured: 10000000 takes half an hour.
BENCH_HISTORY ?= 1000000
RESULTS := $(CARGO_TARGET_DIR)/bench/results.jsonl

bench: install web ## ingest, projector and live board against their floors, to target/bench/results.jsonl; BENCH_SECONDS=5 BENCH_RUNS=1 for a first look
	@cargo build --profile measure -p helix -p helix-bench
	$(CARGO_TARGET_DIR)/measure/helix-bench run --seconds $(BENCH_SECONDS) --runs $(BENCH_RUNS) --out $(RESULTS) $(BENCH)
	$(CARGO_TARGET_DIR)/measure/helix-bench project --runs $(BENCH_RUNS) --history $(BENCH_HISTORY) --out $(RESULTS)
	$(CARGO_TARGET_DIR)/measure/helix-bench clickhouse --runs $(BENCH_RUNS) --out $(RESULTS)
	$(CARGO_TARGET_DIR)/measure/helix-bench sse --seconds $(BENCH_SECONDS) --runs $(BENCH_RUNS) --out $(RESULTS)

faults: install web ## projectors that die, freeze and forget, to target/faults/results.jsonl; FAULTS="--seed 7 --rounds 3"
	@cargo build -p helix -p helix-faults
	$(CARGO_TARGET_DIR)/debug/helix-faults run --out $(CARGO_TARGET_DIR)/faults $(FAULTS)

fuzz: ## fuzz what reads strangers' bytes, FUZZ_SECONDS=60 each target; the stable compiler and a C++ compiler do
	@fuzz/run $(FUZZ)

# Deliveries that `make odd` posts, and arguments for it, as ODD="--seed 7".
BODIES ?= 50000

odd: install web ## odd deliveries to a stack of its own, its log held to account, to target/odd/summary.json; BODIES=1000000
	@cargo build -p helix -p helix-tests --bins
	$(CARGO_TARGET_DIR)/debug/odd --count $(BODIES) --out $(CARGO_TARGET_DIR)/odd $(ODD)
