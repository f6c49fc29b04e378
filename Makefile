# The commands of this project. `make demo` and `make test` need only Rust and Debian's packages.

CARGO ?= cargo
# How long `make soak` goes on, and where its seeds begin.
MINUTES ?= 60
SEED ?= 1
# Debian packages that building and testing need.
PACKAGES = gcc libc6-dev make curl ca-certificates postgresql postgresql-client mariadb-server-core mariadb-client-core

# What `ebb --version` says of an optimised build.
build demo deb: export EBB_COMMIT = $(shell git rev-parse --short HEAD 2>/dev/null)
# How long `make fuzz` stays with each target.
FUZZ_SECONDS ?= 600

.PHONY: help demo test soak fuzz bench build deb lint packages mysql clean

help:
	@echo "make demo   build, run the main job on real servers, show the result; TARGET=mysql or mariadb"
	@echo "make test   format, lints and every test, on servers that the tests start and end"
	@echo "make soak   faults on real servers for MINUTES=60, and many seeds of the simulation and of random tables"
	@echo "make bench  rows a second through ebb beside a raw loop, as a ratio; BENCH=--help for more"
	@echo "make fuzz   the parsers of strangers' bytes, FUZZ_SECONDS=600 each"
	@echo "make deb    a Debian package in target/debian, and a look at what is in it"
	@echo "make build  the program and the plugins, optimised, in target/release"
	@echo "make lint   format and lints only"

demo: packages $(if $(filter mysql,$(TARGET)),mysql)
	$(CARGO) build --release --workspace --bins --lib --examples
	TARGET=$(TARGET) target/release/examples/quickstart

test: packages mysql lint
	$(CARGO) build --workspace --bins --lib
	$(CARGO) test --workspace

soak: packages mysql
	$(CARGO) build --release --workspace --bins --lib
	EBB_SIM_SEEDS=$$(( $(MINUTES) * 3000 )) EBB_SIM_FIRST=$(SEED) $(CARGO) test --release --test sim -- --nocapture
	EBB_SCHEMA_SEEDS=$$(( $(MINUTES) * 50 )) EBB_SCHEMA_FIRST=$(SEED) $(CARGO) test --release --test schemas -- --nocapture
	MINUTES=$(MINUTES) SEED=$(SEED) $(CARGO) test --release --test soak

bench: packages mysql
	$(CARGO) build --release --workspace --bins --lib
	$(CARGO) bench --bench feed -- $(BENCH)

build: packages
	$(CARGO) build --release --workspace --bins --lib

deb: build
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	mkdir -p target/packaging
	target/release/ebb man target/packaging/man
	target/release/ebb completions bash > target/packaging/ebb.bash
	target/release/ebb completions zsh > target/packaging/_ebb
	target/release/ebb completions fish > target/packaging/ebb.fish
	$(CARGO) deb --no-build --output target/debian/
	packaging/check-deb.sh "$$(ls -t target/debian/ebb_*.deb | head -1)"

# Coverage needs a flag that stable compilers keep for themselves.
fuzz: packages
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build --fuzz-dir . --target $$(rustc -vV | sed -n 's/host: //p')
	cd fuzz && for target in body path url overrides jwt; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir . $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 || exit 1; \
	done

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Installs what is missing when run as root; else says what to install.
packages:
	@missing=""; \
	for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it from https://rustup.rs"; exit 1; }; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "missing packages; run: sudo apt-get install$$missing"; exit 1; \
		fi; \
	fi

# MySQL 9 beside Debian's MariaDB: unpacked into target/mysql, not installed.
mysql: packages
	@tests/servers/get-mysql.sh target/mysql

clean:
	$(CARGO) clean
