# The two commands: `make demo` and `make test`. Both bring what is missing first and say so.
# macOS and Windows need no make: `cargo run --release -- demo` and `cargo test` do the same.

CARGO ?= cargo

.PHONY: help demo test build lint vulkan swiftshader

help:
	@echo 'make demo    train four small models on source code and draw their attention into runs/demo'
	@echo 'make test    everything CI runs: format, lints, the suite, and the kernels once more on SwiftShader'
	@echo 'make build   target/release/normfree'
	@echo 'make lint    format and lints alone'

demo: build
	./target/release/normfree demo $(ARGS)

build: vulkan
	$(CARGO) build --release --locked

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

test: vulkan swiftshader lint
	$(CARGO) test --locked
	.ci/on-swiftshader $(CARGO) test --locked --test suite ops::

# A Vulkan driver, where Linux has none.
vulkan:
	@.ci/bring-vulkan

# A second, independent driver for the kernels.
swiftshader:
	@.ci/bring-swiftshader
