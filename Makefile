# The two commands: `make demo` and `make test`. Both bring what is missing first and say so.
# macOS and Windows need no make: `cargo run --release -- demo` does the same, and `cargo test` all but what needs tools
# that are no part of this project (the feature `outside-tools`).

CARGO ?= cargo

.PHONY: help demo card test test-newer-mesa intel fuzz oldest build lint tools vulkan radv tint swiftshader newer-mesa \
	bring-intel chromium tensorboard

help:
	@echo 'make demo    train four small models on source code and draw their attention into runs/demo'
	@echo 'make card    all that nine minutes tell of this GPU, into card; to look at and to send'
	@echo 'make test    format, lints, the whole suite, and the kernels once more on SwiftShader'
	@echo 'make test-newer-mesa  the kernels on a newer Mesa than the system has, which is brought; products also on'
	@echo '             its matrix units'
	@echo 'make intel   the kernels through Intel'\''s compiler, which is brought; twenty minutes, on Linux on x86-64'
	@echo 'make fuzz    damaged inputs of every kind, ten minutes each; FUZZ_SECONDS=60 for a minute'
	@echo 'make oldest  check that the oldest Rust of Cargo.toml builds it; CI does this after the tests'
	@echo 'make build   target/release/normfree'
	@echo 'make lint    format and lints alone'

demo: build
	./target/release/normfree demo $(ARGS)

card: build
	./target/release/normfree card $(ARGS)

build: vulkan
	$(CARGO) build --release --locked

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings

test: vulkan radv tint swiftshader chromium tensorboard lint
	$(CARGO) test --locked --all-features
	NORMFREE_FUZZ_SECONDS=60 $(CARGO) test --locked --all-features --test fuzz
	.ci/on-swiftshader $(CARGO) test --locked --all-features --test suite ops::

# The ops on a newer Mesa, and once more on its matrix units, at the only width at which it can compile for them.
ON_NEWER_MESA = --config 'target."cfg(unix)".runner=".ci/on-newer-mesa"'
test-newer-mesa: newer-mesa
	$(CARGO) test --locked $(ON_NEWER_MESA) --test suite ops::
	LP_NATIVE_VECTOR_WIDTH=256 $(CARGO) test --locked $(ON_NEWER_MESA) --test suite newer_mesa:: -- --ignored --nocapture

# The kernels through Intel's compiler, for GPUs that are not there. NORMFREE_RENEW=1 writes benches/intel.md anew.
intel: bring-intel
	$(CARGO) test --locked --features outside-tools --test intel -- --ignored --nocapture

# What users build, with the toolchain that Cargo.toml and README promise will do.
oldest:
	.ci/on-oldest-rust check --locked --all-targets

# Damaged inputs of every kind, so many seconds each.
FUZZ_SECONDS ?= 600
fuzz:
	NORMFREE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --test fuzz -- --nocapture

# The formatter and the lints, which a minimal toolchain lacks.
tools:
	@{ $(CARGO) fmt --version && $(CARGO) clippy --version; } >/dev/null 2>&1 || rustup component add rustfmt clippy

# A Vulkan driver, where Linux has none.
vulkan:
	@.ci/bring-vulkan

# AMD's compiler, for the kernels of its GPUs.
radv:
	@.ci/bring-radv

# Intel's compiler, and the stub of a driver on which it runs without a GPU.
bring-intel:
	@.ci/bring-intel

# Chrome's compiler, for the kernels of a browser's WebGPU.
tint:
	@.ci/bring-tint

# A second, independent driver for the kernels.
swiftshader:
	@.ci/bring-swiftshader

# A newer Mesa than the system's, in a folder of its own.
newer-mesa:
	@.ci/bring-newer-mesa

# The browser in which the tests open the report page.
chromium:
	@.ci/bring-chromium

# What reads the event files of a run in the tests.
tensorboard:
	@.ci/bring-tensorboard
