# Everything a contributor does has a line here. What a machine without make needs stands in scripts/; .ci/run calls only
# that. One build profile (dev, with optimised dependencies) serves check, test and demo, so that a cold machine compiles
# the dependencies once.
CARGO ?= cargo

.PHONY: help check fmt clippy licences test tools fuzz sim crash mutants demo docs audit clean

help: ## List what can be done
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

check: ## Format, lints, links of the documentation, licences: all that is not a test
	./scripts/check

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

licences: ## Licences of all dependencies against deny.toml, offline
	$(CARGO) test --locked --workspace --quiet --test it licences::

test: ## Every test; installs the programs that tests talk to (age, Postfix, ...)
	./scripts/test

tools: ## Install or unpack the programs that tests talk to
	./scripts/tools

TARGET ?= all
SECONDS ?= 60
TOTAL ?=
fuzz: ## Hostile input for TARGET (or all), SECONDS each, or TOTAL seconds shared
	$(CARGO) run --locked --quiet --release -p sealpost-fuzz -- $(TARGET) $(if $(TOTAL),--total $(TOTAL),--seconds $(SECONDS))

ONLY ?=
mutants: ## Takes each requirement and promise (or ONLY="R07 M01-uid") out; the test that names it must fail
	./scripts/mutants $(ONLY)

SEED ?= 1
sim: ## The store on a disk that fails, from seed SEED on, for SECONDS
	$(CARGO) run --locked --quiet --release -p sealpost-sim -- --seed $(SEED) --seconds $(SECONDS)

crash: ## Two servers killed over and over while mail flows, from seed SEED on, for SECONDS
	CRASH_SEED=$(SEED) CRASH_SECONDS=$(SECONDS) $(CARGO) test --locked --quiet --release --test it crash:: -- --nocapture

demo: ## Two servers, two people, in seconds
	$(CARGO) run --locked --quiet -- demo

docs: ## The API documentation, with every link checked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

audit: ## Known vulnerabilities (needs the network and cargo-deny)
	$(CARGO) deny --locked check

clean:
	$(CARGO) clean
