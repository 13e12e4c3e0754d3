# Everything a developer, a CI job or a curious visitor does here. `make help` lists it.

CARGO ?= cargo
# What has to be built first is cargo's own business: every target here is only a name.
.PHONY: help run run-failing test torture services-up services-down check fmt lint docs schemas bench shows clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Build everything and run the example plan on the embedded log
	$(CARGO) build --locked --package testledger --package shop
	target/debug/testledger run examples/shop.yaml

run-failing: ## The same for a plan that fails, to see how that looks
	$(CARGO) build --locked --package testledger
	target/debug/testledger run examples/failing.yaml

# Built together with the tests, so that nothing is compiled twice: it starts one MongoDB server for all of them, and
# ends it after them.
TEST_SERVERS = $(or $(CARGO_TARGET_DIR),target)/debug/test-servers

# With fault points and planted bugs, which no release has.
FAULTS = --features testledger/faults

test: ## All tests, with a MongoDB server for them (and with cargo-nextest where it is installed)
	$(CARGO) test --locked --workspace $(FAULTS) --no-run
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(TEST_SERVERS) with -- $(CARGO) nextest run --locked --workspace $(FAULTS) --no-fail-fast; \
	else \
		$(TEST_SERVERS) with -- $(CARGO) test --locked --workspace $(FAULTS) --no-fail-fast; \
	fi

torture: ## The long forms: 200,000 worlds of the simulation, 500 engines killed, three MongoDB nodes under 30 faults (root)
	SEEDS=200000 shows/simulation.sh
	$(CARGO) bench --locked --features faults --bench recovery_killed --bench recovery_nodes

services-up: ## Start a MongoDB server that stays, with its data in target/services, and print its address
	@$(CARGO) run --locked --quiet --package test-servers -- up

services-down: ## End that server; its data stay until `make clean`
	@$(CARGO) run --locked --quiet --package test-servers -- down

check: fmt lint schemas-check docs ## Format, lints, published schemas, documentation

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets $(FAULTS) -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

schemas: ## Write the published JSON Schemas anew
	$(CARGO) run --locked --quiet --package testledger --example publish_schemas

.PHONY: schemas-check
schemas-check: ## Whether the published JSON Schemas are those of the code
	$(CARGO) test --locked --quiet --package testledger --test published

bench: ## Benchmarks: ratios against a baseline in the same run
	$(CARGO) bench --locked --package testledger --bench append --bench append_mongodb

shows: ## Every figure that the project claims, measured anew (more than an hour)
	shows/all.sh

clean: ## Remove what was built, and the data of `services-up`
	@if [ -d target/services ]; then $(TEST_SERVERS) down; fi
	$(CARGO) clean
