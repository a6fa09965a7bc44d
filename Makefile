# What a person types. CI calls the same targets.
.PHONY: demo run test lint deny doc bench soak

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

# The service beside the machine's own bounds, then the ciphers. SECONDS_EACH=10, CLIENTS=64 and TLS=1 if wanted.
bench: prepare
	@deploy/bench.sh
	cargo bench --locked --bench sts

# kill -9 under load for SECONDS (600), with a recorded history that is checked.
soak: prepare
	VENDKEY_SOAK_SECONDS=$${SECONDS:-600} cargo test --locked --test suite history:: -- --nocapture

.PHONY: prepare
prepare:
	@deploy/prepare.sh test
