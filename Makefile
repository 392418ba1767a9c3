# One way to do each thing. What a target needs is installed by scripts/install.sh, which
# says so first and does nothing (and needs no network) when everything is there.
#
# ARGS is passed on: make run ARGS="--port 9443", make test ARGS="-p bifrost-drivers rtu".

.DEFAULT_GOAL := help
.PHONY: help run test test-tools check load image clean

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
ENGINE ?= $(firstword $(foreach e,podman docker,$(if $(shell command -v $(e)),$(e))))
IMAGE ?= bifrost:latest

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build the release and start the demo; ARGS go to `bifrost demo`
	@scripts/install.sh build
	cargo build --locked --release
	$(TARGET_DIR)/release/bifrost demo $(ARGS)

test: test-tools ## Install the test servers and run all tests; ARGS go to `cargo test`
	cargo test --locked --no-fail-fast $(or $(ARGS),--workspace)

test-tools:
	@scripts/install.sh test
	@scripts/test-tools.sh

check: ## Format, lints, documentation, dependencies
	@scripts/install.sh check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --workspace
	@scripts/deny.sh

load: test-tools ## Measure: one table and JSON; ARGS go to bifrost-loadtest
	cargo build --locked --release --workspace --bins --example sequential
	cargo run --locked --release -p bifrost-loadtest -- $(ARGS)

image: ## Build the container image; ENGINE=podman or docker, IMAGE names it
	$(if $(ENGINE),,$(error make image needs podman or docker))
	$(ENGINE) build --tag $(IMAGE) $(ARGS) .

clean: ## Remove what was built and the tests' Python environment
	cargo clean
	rm -rf .venv
