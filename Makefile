# What a person types. CI calls the same targets.
.PHONY: demo run test lint deny doc bench conformance

# The whole way on this machine, from an encrypted configuration to a token, with SoftHSM.
demo:
	@deploy/demo.sh

# A server on SoftHSM that goes on.
run:
	@deploy/run.sh

# Everything that must pass: format, lints, documents, tests.
test: lint doc
	cargo test --locked

lint: prepare
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
	@deploy/conformance.sh $(foreach file,$(VECTORS),--vectors $(file)) $(foreach file,$(REPORT),--report $(file))

bench: prepare
	cargo bench --locked

.PHONY: prepare
prepare:
	@deploy/prepare.sh test
