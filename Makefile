# What a person types. CI calls the same targets.
.PHONY: demo demo-cluster run test test-hsm lint deny doc bench soak conformance custody fuzz fresh accept-api

# The whole way on this machine, from an encrypted configuration to a token, with SoftHSM.
demo:
	@scripts/demo.sh

# Three servers on one PostgreSQL under load, while one is killed, one restarted, and the database too; then the history is checked.
demo-cluster:
	@scripts/demo-cluster.sh

# A server on SoftHSM that goes on.
run:
	@scripts/run.sh

# Everything that must pass: format, lints, documents, tests.
test: lint doc
	cargo test --locked

# Texts and sources; lists of vectors and people's inputs are not ours to spell.
SPELLED := *.md Cargo.toml Makefile .ci deploy docs examples benches proto scripts softhsm src tests/*.rs tests/suite tests/hsm_scenarios tests/foreign

lint: prepare
	shellcheck -x scripts/*.sh softhsm/*.sh tests/modules/*.sh .ci/run
	codespell $(SPELLED)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

doc: prepare
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Bans, licences and sources of the dependencies. Installs cargo-deny if it is missing.
deny:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources

# Published vectors through the HSM code on a SoftHSM token that is made for the purpose and removed.
# make conformance VECTORS=mine.json REPORT=report.html
VECTORS ?= tests/vectors/sts-vectors.json
conformance: prepare
	@scripts/conformance.sh $(foreach file,$(VECTORS),--vectors $(file)) $(foreach file,$(REPORT),--report $(file))

# The proof that a vending key is nowhere but in the HSM: TOKENS (10,000) are issued under new keys, then the server's memory, files,
# log, backup, exports and answers are searched. Only root can look into the memory; all else is searched without.
custody: prepare
	VENDKEY_CUSTODY_TOKENS=$${TOKENS:-10000} cargo test --locked --test suite -- proof:: custody::

# The HSM layer and the whole way from upload to destruction on another module than SoftHSM: VENDKEY_TEST_MODULE=nss,
# kryoptic (which is built once) or softhsm. What the module cannot do is skipped, and said with what its probe saw.
test-hsm:
	@scripts/test-hsm.sh

# Long fuzz runs; `make test` has a bounded one. make fuzz FUZZ_TARGETS=vectors FUZZ_SECONDS=3600
FUZZ_TARGETS ?= token block configuration envelope sealed http public_key token_log vectors
FUZZ_SECONDS ?= 60
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		echo "==> $$target, $(FUZZ_SECONDS) s"; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 || exit 1; \
	done

# The service beside the machine's own bounds, then the ciphers. SECONDS_EACH=10, ROUNDS=3, CLIENTS=64 and TLS=1 if wanted.
bench: prepare
	@scripts/bench.sh
	cargo bench --locked --bench sts

# kill -9 under load for SECONDS (600), with a recorded history that is checked.
soak: prepare
	VENDKEY_SOAK_SECONDS=$${SECONDS:-600} cargo test --locked --test suite history:: -- --nocapture

# Takes the API as it is for the one that clients are promised. Look at what changes in tests/api.
accept-api:
	VENDKEY_ACCEPT_API=1 cargo test --locked --test api

# Both commands of the README on a minimal Debian that is made for it, as a person without root and as root. Needs root.
fresh:
	@scripts/fresh.sh

# deploy/Containerfile, built from a minimal Debian that is made here, and tried. Needs root; PROGRAM=target/release/vendkey.
PROGRAM ?= target/debug/vendkey
.PHONY: container
container:
	@scripts/container.sh $(PROGRAM)

.PHONY: prepare
prepare:
	@scripts/prepare.sh test
