# Everything one can do here. `make run` and `make test` install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test sim mutants bench chaos steps groups generations fuzz fmt lint doc deny deps build unit manifests

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
CSI_SANITY := 5.6.0
# For building (RocksDB is C++, its bindings are made with libclang); real clients for the tests; peers for the benchmarks.
PACKAGES_BUILD := gcc g++ libc6-dev libclang-dev
PACKAGES_TEST := libnbd-bin python3-libnbd nbdkit qemu-utils fio e2fsprogs xfsprogs btrfs-progs fuse3 mount git iproute2 iptables \
	qemu-system-x86 busybox-static cpio kmod binutils python3-pip
PACKAGES_BENCH := fio qemu-utils nbdkit

# Arguments of `plinth dev` for `make run`.
ARGS ?=
# Seeds of the simulator: how many, and the first.
SEEDS ?= 4000
FIRST ?= 1
export SEEDS FIRST
# Seconds for every fuzz target.
FUZZ_SECONDS ?= $(if $(CI),60,10)
export FUZZ_SECONDS

# Runs a step of `make test` under its name, with its time.
step = @printf '\n== $(1)\n'; begin=$$SECONDS; $(MAKE) --no-print-directory $(1); printf -- '-- $(1): %s s\n' $$((SECONDS - begin))

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

run: ## start one node with a volume and print how to reach it (ARGS='--volume db:20GiB')
	@.ci/rust && .ci/packages $(PACKAGES_BUILD)
	cargo run --release -p plinth -- dev $(ARGS)

test: ## all that CI runs: fmt, lint, doc, unit, deny, sim, fuzz
	@.ci/rust && .ci/packages $(PACKAGES_BUILD) $(PACKAGES_TEST)
	$(call step,fmtcheck)
	$(call step,lint)
	$(call step,doc)
	$(call step,unit)
	$(call step,deny)
	$(call step,sim)
	$(call step,fuzz)
	@echo; echo 'make test: all passed'

fmt: ## format the code
	cargo fmt --all

.PHONY: fmtcheck
fmtcheck:
	cargo fmt --all -- --check

lint: ## clippy, warnings are errors; below core/ with the purity gate of core/clippy.toml
	cargo clippy --release --workspace --all-targets -- -D warnings -D clippy::undocumented_unsafe_blocks

doc: ## the crates' documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --document-private-items

# Everything at once, so that the program and the tests share every dependency.
build:
	cargo build --release --workspace --all-targets

unit: build ## unit, property (the same cases every time; PROPTEST_RNG_SEED=N for others), session and integration tests, real clients
	@.ci/csi-sanity $(CSI_SANITY) >/dev/null
	SEEDS=100 PROPTEST_RNG_SEED=$${PROPTEST_RNG_SEED:-1} cargo test --release --workspace --no-fail-fast

deny: ## licences, sources and bans of all dependencies
	PATH="$$(.ci/tool cargo-deny $(CARGO_DENY)):$$PATH" cargo deny --log-level error check --hide-inclusion-graph bans licenses sources

sim: ## the simulators over many seeds (SEEDS=20000 FIRST=1)
	@.ci/sim

mutants: ## plants bugs in store and replication one by one; tests must catch each (MUTANT_SEEDS=150)
	@tests/mutants/run.py

chaos: build ## schedules of faults on clusters of real processes, from seeds (SCHEDULES=500 FIRST=1)
	SCHEDULES=$${SCHEDULES:-500} cargo test --release --workspace --test cluster -- --nocapture any_schedule

steps: build ## random steps on a cluster of real processes against an oracle (STEPS=1000 SEED=1)
	STEPS=$${STEPS:-1000} SEED=$${SEED:-1} cargo test --release --workspace --test cluster -- --nocapture random_steps

# Not by the shell: bash has a variable of this name.
groups: build ## group snapshots of an ordered writer under faults: no effect without its cause (GROUPS=1000 SEED=1)
	GROUPS_TAKEN=$(or $(GROUPS),1000) SEED=$(or $(SEED),1) cargo test --release --workspace --test cluster -- --nocapture a_group_snapshot_shows

generations: build ## clones of clones, this deep: contents, speed of reads, space (GENERATIONS=200)
	GENERATIONS=$${GENERATIONS:-200} cargo test --release --workspace --test cluster -- --nocapture a_clone_of_many

manifests: ## deploy/manifests from the Helm chart
	deploy/render "$(CURDIR)/deploy/manifests"

bench: ## the benchmark table: ours with one replica and with three, its null backend, raw file, qemu-nbd, nbdkit (ROUNDS=3 JOB_SECONDS=5)
	@.ci/rust && .ci/packages $(PACKAGES_BUILD) $(PACKAGES_BENCH)
	cargo build --release --workspace --bins
	"$${CARGO_TARGET_DIR:-target}/release/compare"

fuzz: ## every fuzz target for FUZZ_SECONDS
	fuzz/run

deps: ## install all that any target needs
	@.ci/rust && .ci/packages $(PACKAGES_BUILD) $(PACKAGES_TEST) $(PACKAGES_BENCH)
	@.ci/helm >/dev/null && .ci/python tests/deploy/requirements.txt >/dev/null
	@.ci/tool cargo-deny $(CARGO_DENY) >/dev/null && .ci/tool cargo-fuzz $(CARGO_FUZZ) >/dev/null
