# `make demo` shows the controller at work, `make test` runs all tests. Both install missing packages and tools.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Cargo's target folder: the caller's CARGO_TARGET_DIR, or a folder in the user's cache (tests/setup/target-dir says why).
ifdef CARGO_TARGET_DIR
seed := true
else
seed := env -u CARGO_TARGET_DIR tests/setup/target-dir --seed >/dev/null
export CARGO_TARGET_DIR := $(shell tests/setup/target-dir)
endif

# The commit that `pkcs11-issuer version` prints; a build without git prints "unknown".
export PKCS11_ISSUER_COMMIT := $(shell git describe --always --dirty --exclude='*' --abbrev=12 2>/dev/null)

# Many tests wait for a control plane, so three at a time on two processors are faster than two.
export RUST_TEST_THREADS ?= 3

release := cargo build --release --locked --package pkcs11-issuer --package pkcs11-hsm-worker

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/make \1\t\2/' | expand -t 24

.PHONY: setup
setup: ## install missing packages and create the build folder
	@tests/setup/packages
	@$(seed)

.PHONY: tools
tools: setup ## build etcd, Kubernetes' programs, helm and cert-manager once into the user's cache
	@tests/tools/build

.PHONY: demo
demo: tools ## start a cluster, issue a certificate and verify it; KEEP=1 leaves everything running
	@cargo build --workspace --locked
	@"$(CARGO_TARGET_DIR)/debug/demo"

.PHONY: test
test: tools ## run every test
	@tests/kryoptic/build
	@tests/tools/build zlint pkilint tlog approver-policy trust-manager kwok otel-collector prometheus-operator
	cargo build --workspace --all-targets --locked
	$(release) --package pkcs11-ceremony
	@tests/setup/docker "$$CARGO_TARGET_DIR/release"
	TEST_TOKEN=kryoptic cargo test --workspace --locked --test it -- injected keys:: protocol:: sidecar:: signing::
	cargo test --workspace --locked --no-fail-fast -- --include-ignored --skip ::soak::

# Injects FAULTS faults one after another, in an order that SEED decides.
.PHONY: soak
soak: tools ## inject faults in random order under load, for ten minutes: make soak FAULTS=74 SEED=1
	SOAK_FAULTS=$(or $(FAULTS),74) $(if $(SEED),SOAK_SEED=$(SEED)) \
		cargo test --workspace --locked --test it -- --ignored --nocapture ::soak::

.PHONY: image
image: tools ## build the images and SBOMs, and test the image against a control plane
	names=$$(docker/build) && read -r image softhsm ceremony <<<"$$names" && \
		TEST_IMAGE=$$image TEST_SOFTHSM_IMAGE=$$softhsm TEST_CEREMONY_IMAGE=$$ceremony \
		cargo test --workspace --locked --test it -- --ignored chart::image::

.PHONY: image-reproducible
image-reproducible: setup ## build the programs of the image again in another folder: they must be identical
	@docker/build --again

.PHONY: ci
ci: setup ## run all checks that must pass before a merge
	@$(MAKE) --no-print-directory lint doc deny
	@$(MAKE) --no-print-directory fuzz T=5
	@$(MAKE) --no-print-directory test

.PHONY: fuzz
fuzz: setup ## run each fuzz target for T seconds: make fuzz T=600
	@tests/fuzz/run $(or $(T),60)

.PHONY: fmt
fmt: ## format the code
	cargo fmt --all

.PHONY: lint
lint: setup ## check formatting, clippy, shell scripts and workflows
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	shellcheck tests/setup/* tests/tools/build tests/tools/pkilint/pkilint tests/kryoptic/build tests/fuzz/run .ci/run \
		docker/build docker/share .github/release-version
	@tests/tools/build actionlint
	"$$(tests/tools/build --print-path actionlint)/actionlint"

.PHONY: doc
doc: setup ## build and check the documentation of the code
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --locked

.PHONY: deny
deny: setup ## check licences, bans, sources and, if it can be reached, the advisory database
	@tests/setup/deny

.PHONY: generated
generated: setup ## write all generated files: crds/ and its bounds, the chart's copy and table of values, the golden certificates
	UPDATE_GENERATED=1 cargo test --workspace --locked --lib --test it -- generated every_golden_certificate

.PHONY: screens
screens: setup ## record what the main commands show on a terminal: docs/screens.md and its pictures
	UPDATE_GENERATED=1 TRYCMD=overwrite cargo test --workspace --locked --test it -- screens::the_p

.PHONY: bench
bench: setup ## measure the code without a cluster; prints tables and writes JSON to target/bench/
	cargo bench --workspace --locked --bench '*'

# Runs RUNS starts among N finished requests (bench-restart --help).
.PHONY: bench-restart
bench-restart: tools ## measure starts among finished requests and a rolling update: make bench-restart RUNS=3 N=100000
	$(release) --package bench
	"$(CARGO_TARGET_DIR)/release/bench-restart" $(if $(RUNS),--runs $(RUNS)) $(if $(N),--finished $(N))

# RUNS per contestant, with N drained requests, with IN_FLIGHT requests in flight, only the contestants in ONLY
# (bench-e2e --help).
.PHONY: bench-e2e
bench-e2e: tools ## measure the whole path of a request through Kubernetes (hours): make bench-e2e RUNS=5 N=1000,10000
	$(release) --package bench
	"$(CARGO_TARGET_DIR)/release/bench-e2e" $(if $(RUNS),--runs $(RUNS)) $(if $(N),--sizes $(N)) \
		$(if $(IN_FLIGHT),--in-flight $(IN_FLIGHT)) $(if $(EACH),--each $(EACH)) $(if $(ONLY),--only $(ONLY))

# ISSUERS issuers on TOKENS tokens, RUNS times, each followed by REST seconds at rest (bench-issuers --help).
.PHONY: bench-issuers
bench-issuers: tools ## measure a controller with many issuers at its start and at rest: make bench-issuers ISSUERS=1000
	$(release) --package bench
	"$(CARGO_TARGET_DIR)/release/bench-issuers" $(if $(RUNS),--runs $(RUNS)) $(if $(ISSUERS),--issuers $(ISSUERS)) \
		$(if $(TOKENS),--tokens $(TOKENS)) $(if $(REST),--rest $(REST))

# BACKLOG approved requests of another tenant, and HANGING requests for a token that hangs (bench-turns fair --help).
.PHONY: bench-fair
bench-fair: tools ## measure how much another tenant's backlog, or a token that hangs, delays a request
	$(release) --package bench
	"$(CARGO_TARGET_DIR)/release/bench-turns" fair $(if $(BACKLOG),--backlog $(BACKLOG)) $(if $(HANGING),--hanging $(HANGING))

.PHONY: bench-slow
bench-slow: tools ## measure how well a slow token is used
	$(release) --package bench
	"$(CARGO_TARGET_DIR)/release/bench-turns" slow
