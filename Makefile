# The two commands are `make demo` and `make test`. The second first installs what is missing, and says so.
# macOS and Windows need no make: `cargo run --release -- demo` does the same, and `cargo test` runs all tests but those
# that need tools from outside this project (the feature `outside-tools`).

CARGO ?= cargo

.PHONY: help demo card quick test soak test-newer-mesa test-hf intel fuzz oldest targets package build lint tools vulkan radv tint swiftshader newer-mesa \
	bring-intel chromium tensorboard

help:
	@echo 'make demo    train four small models on source code and draw their attention into runs/demo'
	@echo 'make card    all that nine minutes tell of this GPU, into card; to look at and to send'
	@echo 'make quick   what can be tested without a device, in less than a minute once it is built'
	@echo 'make test    format, lints, documentation, the whole suite, and the kernels once more on SwiftShader'
	@echo 'make soak    the randomised tests and the damaged inputs from a new seed; SEED=7 repeats one'
	@echo 'make test-newer-mesa  the kernels on a newer Mesa than the system has, which is brought; products also on'
	@echo '             its matrix units'
	@echo 'make intel   the kernels through Intel'\''s compiler, which is brought; some minutes, on Linux on x86-64'
	@echo 'make test-hf  every family and mechanism exported, imported and compared in PyTorch with transformers; brings'
	@echo '             them, or takes the Python that TORCH_PYTHON names; some gigabytes and a quarter of an hour'
	@echo 'make fuzz    damaged inputs of every kind, ten minutes each; FUZZ_SECONDS=60 for a minute'
	@echo 'make oldest  check that the oldest Rust of Cargo.toml builds it; CI does this after the tests'
	@echo 'make targets check that it compiles for Windows and macOS; rustup brings what that needs'
	@echo 'make package the crate, and the program built from nothing but what is in it'
	@echo 'make build   target/release/normfree'
	@echo 'make lint    format, lints and documentation alone'

demo: build
	./target/release/normfree demo $(ARGS)

card: vulkan build
	./target/release/normfree card $(ARGS)

build:
	$(CARGO) build --release --locked

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) doc --locked --no-deps

# Without a device or outside tools: the library's own tests, and those of the suite that compute nothing on a device.
QUICK = config:: coverage:: export:: layouts:: report:: shaders:: structure:: subjects:: study::files study::grid
quick:
	$(CARGO) test --locked --lib
	$(CARGO) test --locked --test suite -- $(QUICK)

test: vulkan radv tint swiftshader chromium tensorboard lint
	$(CARGO) test --locked --all-features
	NORMFREE_FUZZ_SECONDS=60 $(CARGO) test --locked --all-features --test fuzz
	.ci/on-swiftshader $(CARGO) test --locked --all-features --test suite ops::

# Every randomised test has a fixed seed and prints it; here the seed is new, and damaged inputs are tried for longer.
SEED ?= $(shell date +%s)
soak: vulkan
	NORMFREE_SEED=$(SEED) $(CARGO) test --locked
	NORMFREE_SEED=$(SEED) NORMFREE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --test fuzz -- --nocapture

# The ops on a newer Mesa, and once more on its matrix units, at the only width at which it can compile for them.
ON_NEWER_MESA = --config 'target."cfg(unix)".runner=".ci/on-newer-mesa"'
test-newer-mesa: newer-mesa
	$(CARGO) test --locked --all-features $(ON_NEWER_MESA) --test suite ops::
	LP_NATIVE_VECTOR_WIDTH=256 $(CARGO) test --locked --all-features $(ON_NEWER_MESA) --test suite newer_mesa:: -- --ignored --nocapture

# The kernels through Intel's compiler, without a GPU. NORMFREE_RENEW=1 rewrites benches/intel.md.
intel: bring-intel
	$(CARGO) test --locked --all-features --test intel -- --ignored --nocapture

# Models in PyTorch with transformers. NORMFREE_HF=llama takes only those with that word in their names.
TORCH_PYTHON ?= target/torch/bin/python
test-hf:
	@.ci/bring-torch $(TORCH_PYTHON)
	TORCH_PYTHON=$(abspath $(TORCH_PYTHON)) $(CARGO) test --locked --features outside-tools --test hf -- --ignored --nocapture --test-threads=1

# What users build, with the oldest toolchain that Cargo.toml and README promise to support.
oldest:
	.ci/on-oldest-rust check --locked --all-targets

# Other systems, checked as far as the compiler goes.
TARGETS ?= x86_64-pc-windows-msvc x86_64-pc-windows-gnu aarch64-apple-darwin
targets:
	rustup target add $(TARGETS)
	for target in $(TARGETS); do $(CARGO) check --locked --target $$target || exit 1; done

# What `cargo install` gets: the crate, whose program is built from what is in it. The suite compares the list of its files with
# those that the program embeds, which takes a moment.
package:
	$(CARGO) package --locked

# Damaged inputs of every kind, for this many seconds each.
FUZZ_SECONDS ?= 600
fuzz:
	NORMFREE_SEED=$(SEED) NORMFREE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --test fuzz -- --nocapture

# The formatter and the lints, which a minimal toolchain lacks.
tools:
	@{ $(CARGO) fmt --version && $(CARGO) clippy --version; } >/dev/null 2>&1 || rustup component add rustfmt clippy

# A Vulkan driver, if Linux has none.
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

# Reads the event files of a run in the tests.
tensorboard:
	@.ci/bring-tensorboard
