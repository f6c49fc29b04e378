# The commands of this project. `make demo` and `make test` need only Rust and Debian's packages.

CARGO ?= cargo
export CARGO
# How long `make soak` goes on, and where its seeds begin.
MINUTES ?= 60
SEED ?= 1
# How long `make fuzz` stays with each target.
FUZZ_SECONDS ?= 600

# Debian packages that building and testing need, beyond those that no Debian is without (Essential: yes).
PACKAGES_BUILD = gcc libc6-dev make ca-certificates
PACKAGES_MARIADB = mariadb-server-core mariadb-client-core
PACKAGES_BROWSER = chromium chromium-driver fonts-dejavu-core
PACKAGES = $(PACKAGES_BUILD) curl openssl postgresql postgresql-client $(PACKAGES_MARIADB) $(PACKAGES_BROWSER)

# The demo compiles and installs what its target needs, and nothing else.
DEMO_TARGET = $(or $(TARGET),postgres)
DEMO_PLUGIN = $(or $(if $(filter postgres,$(DEMO_TARGET)),ebb-postgres),$(if $(filter mysql mariadb,$(DEMO_TARGET)),ebb-mysql),\
	$(error TARGET=$(TARGET) is not known: it is postgres, mysql or mariadb))
DEMO_PACKAGES = $(PACKAGES_BUILD) postgresql postgresql-client $(if $(filter ebb-mysql,$(DEMO_PLUGIN)),$(PACKAGES_MARIADB))

# Where the output of each step is kept. `exec`, since the shell in between would keep a SIGTERM to itself.
STEP = exec scripts/step.sh target/logs
# MySQL 9 beside Debian's MariaDB: unpacked into target/mysql, not installed.
GET_MYSQL = [ -e target/mysql/complete ] || $(STEP)/mysql.log "download MySQL into target/mysql" tests/servers/get-mysql.sh target/mysql
# What judges metrics and alert rules, out of a package whose daemon nobody wants here: unpacked, not installed.
GET_PROMTOOL = [ -e target/promtool/promtool ] || $(STEP)/promtool.log "download promtool into target/promtool" tests/servers/get-promtool.sh target/promtool

# What `ebb --version` says of an optimised build.
build demo deb: export EBB_COMMIT = $(shell git rev-parse --short HEAD 2>/dev/null)

.PHONY: help demo test fresh soak fuzz bench bench-verify build deb docs lint packages mysql promtool clean

help:
	@echo "make demo   build, run the main job on real servers, show the result; TARGET=mysql or mariadb"
	@echo "make test   format, lints and every test, on servers that the tests start and end"
	@echo "make fresh  both of them on a bare Debian in a temporary folder, as root; 30 minutes"
	@echo "make soak   faults on real servers for MINUTES=60, and many seeds of the simulation and of random tables"
	@echo "make bench  rows a second through ebb beside a raw loop, as a ratio; BENCH=--help for more"
	@echo "make bench-verify  rows a second that ebb verify compares, VERIFY_ROWS=500000, beside a plain SELECT"
	@echo "make fuzz   the parsers of strangers' bytes, FUZZ_SECONDS=600 each"
	@echo "make deb    a Debian package in target/debian, and a look at what is in it"
	@echo "make docs   the manual as a book, in target/book"
	@echo "make build  the program and the plugins, optimised, in target/release"
	@echo "make lint   format, lints, and licences and advisories of the crates"

demo:
	@echo "1. install what is missing of $(words $(DEMO_PACKAGES)) Debian packages: up to 2 minutes"
	@echo "2. compile: up to 3 minutes for the first time, on two cores"
	@echo "3. run on $(DEMO_TARGET): half a minute"
	@exec scripts/packages.sh $(DEMO_PACKAGES)
	@$(if $(filter mysql,$(DEMO_TARGET)),$(GET_MYSQL))
	@$(STEP)/demo-build.log "compile" $(CARGO) build --profile demo -p ebb -p ebb-quickstart -p $(DEMO_PLUGIN) --bins --lib
	@TARGET=$(DEMO_TARGET) exec target/demo/quickstart

test: packages mysql promtool
	@$(STEP)/format.log "check the format" $(CARGO) fmt --all --check
	@$(STEP)/lints.log "check the lints" $(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(STEP)/build.log "compile the program and the plugins" $(CARGO) build --workspace --bins --lib
	@rm -rf target/provoked
	@$(STEP)/test.log "compile and run the tests" $(CARGO) test --workspace
	@$(STEP)/provoked.log "compare the codes that were provoked" scripts/provoked.sh docs/errors.md target/provoked

# Run it before a change of tools, packages or scripts is done.
fresh:
	@exec scripts/packages.sh debootstrap git util-linux
	@exec scripts/fresh.sh

soak: packages mysql
	$(CARGO) build --release --workspace --bins --lib
	@EBB_SIM_SEEDS=$$(( $(MINUTES) * 3000 )) EBB_SIM_FIRST=$(SEED) $(STEP)/sim.log "seeds" $(CARGO) test --release --test sim -- --nocapture
	@EBB_SCHEMA_SEEDS=$$(( $(MINUTES) * 50 )) EBB_SCHEMA_FIRST=$(SEED) $(STEP)/schemas.log "seeds of tables" $(CARGO) test --release --test schemas -- --nocapture
	@MINUTES=$(MINUTES) SEED=$(SEED) $(STEP)/soak.log "soak" $(CARGO) test --release --test soak

bench: packages mysql
	$(CARGO) build --release --workspace --bins --lib
	@$(STEP)/bench.log "bench" $(CARGO) bench --bench feed -- $(BENCH)

bench-verify: packages mysql
	$(CARGO) build --release --workspace --bins --lib
	@$(STEP)/bench-verify.log "compare" $(CARGO) test --release --test it -- --ignored --nocapture verify_speed
	@grep "rows/s" target/logs/bench-verify.log

build:
	@exec scripts/packages.sh $(PACKAGES_BUILD)
	$(CARGO) build --release --workspace --bins --lib

deb: build
	@exec scripts/packages.sh dpkg-dev
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	mkdir -p target/packaging
	target/release/ebb man target/packaging/man
	target/release/ebb completions bash > target/packaging/ebb.bash
	target/release/ebb completions zsh > target/packaging/_ebb
	target/release/ebb completions fish > target/packaging/ebb.fish
	$(CARGO) deb --no-build --output target/debian/
	packaging/check-deb.sh "$$(ls -t target/debian/ebb_*.deb | head -1)"

docs: export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
docs:
	@exec scripts/packages.sh $(PACKAGES_BUILD)
	mdbook --version >/dev/null 2>&1 || $(CARGO) install --locked mdbook
	mdbook build docs

# Coverage needs a flag that stable compilers keep for themselves.
fuzz:
	@exec scripts/packages.sh $(PACKAGES_BUILD) g++
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build --fuzz-dir . --target $$(rustc -vV | sed -n 's/host: //p')
	cd fuzz && for target in body path url overrides jwt mask; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir . $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 || exit 1; \
	done

# Advisories come from GitHub, which not every machine reaches; the rest needs nothing but the lock file.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then \
		$(CARGO) deny check --disable-fetch advisories; \
	else \
		echo "advisories: not checked, since https://github.com/RustSec/advisory-db cannot be fetched"; \
	fi

# Installs what is missing when run as root; else says what to install.
packages:
	@exec scripts/packages.sh $(PACKAGES)

mysql: packages
	@$(GET_MYSQL)

promtool: packages
	@$(GET_PROMTOOL)

clean:
	$(CARGO) clean
