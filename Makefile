# The commands of this repository; `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Outside of the checkout, so that a clean checkout builds on what is there.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/standpipe-target

.PHONY: help demo test test-fast check bench preflight servers

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build standpipe, send it 3,007 flights and show what it delivered (KEEP=1 leaves it running)
	@.ci/preflight demo
	@echo "Building standpipe; the first build takes some minutes."
	@cargo build --release --locked --bin standpipe
	@examples/demo/run.sh "$(CARGO_TARGET_DIR)/release/standpipe"

test: ## Run everything: format, lints, all tests against the real servers and clients, the demo
	@.ci/preflight test
	@.ci/test

test-fast: ## Run what needs no servers: format, lints, unit tests
	@.ci/preflight demo
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	@cargo test --workspace --exclude standpipe-testkit --lib --bins --locked

check: ## Check what needs no run: format, lints, documentation, licences and sources of dependencies
	@.ci/preflight demo
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "not run: licences and sources, for want of cargo-deny (cargo install --locked cargo-deny)"; fi

bench: ## Measure the release binary; half an hour (BENCH="--seconds 10 --runs 1" for a glance)
	@.ci/preflight demo
	@cargo build --release --locked --bin standpipe
	@cargo run --release --locked --quiet -p standpipe-bench -- --standpipe "$(CARGO_TARGET_DIR)/release/standpipe" \
		--json "$(CARGO_TARGET_DIR)/bench.json" $(BENCH)

preflight: ## Say what this machine lacks to run the tests, and how to get it
	@.ci/preflight test && echo "Nothing is missing."

servers: ## Install the servers and clients that the tests use (the tests do so too)
	@.ci/preflight test
	@cargo run --quiet --locked -p standpipe-testkit --bin install-servers
