# `make help` lists the targets. Needs GNU make and a POSIX shell; cargo takes the toolchain from rust-toolchain.toml.

CARGO ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))

# make run
PORT ?= 8443
PROBE_PORT ?= 8081
SIDECARSETS ?= examples/sidecarsets

# make test: auto = the cluster tier runs where it can, required = it is an error if it cannot, no = it is left out
CLUSTER ?= auto
export CLUSTER

# make test: auto = alerts, dashboard and a scrape are judged by promtool if it is there, required = it is an error if it is not
PROMTOOL ?= auto
export PROMTOOL

# make soak
SOAK_ADMISSIONS ?= 100000
SOAK_SETS ?= 50000

# make bench-controller
CONTROLLER_PODS ?= 20000
CONTROLLER_SETS ?= 100

# make fuzz
FUZZ_SECONDS ?= 60

# Tools which the project builds for itself, each in a folder of its own so that a new version replaces the old one.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(TARGET_DIR)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(TARGET_DIR)/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz

.PHONY: help run test check bench bench-controller soak fuzz generate
.DEFAULT_GOAL := help

help: ## list the targets
	@echo 'help: list the targets'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '%-16s%s\n' "$$target" "$$text"; done

# The server takes the place of the recipe's shell, so that Ctrl-C reaches it and nothing else has to be ended.
run: ## build, start the webhook on the examples, print a curl line that it answers (PORT, PROBE_PORT, SIDECARSETS)
	@echo 'run: build the release binary and start the webhook on $(SIDECARSETS) with a self-made certificate'
	$(CARGO) build --release --locked --bin sidecarset
	@mkdir -p '$(TARGET_DIR)/run'; rm -f '$(TARGET_DIR)/run/ca.crt'
	@( while sleep 0.2; do \
		kill -0 $$$$ 2>/dev/null || exit 0; \
		curl -fsS -o /dev/null 'http://127.0.0.1:$(PROBE_PORT)/readyz' 2>/dev/null && break; \
	done; \
	printf '\n%s\n\n  %s\n\n%s\n\n  %s\n\n%s\n\n' \
		'Ready. In another terminal, a review as an API server sends it:' \
		"curl -sS --cacert '$(TARGET_DIR)/run/ca.crt' -H 'Content-Type: application/json' --data-binary '@$(CURDIR)/examples/review.json' 'https://127.0.0.1:$(PORT)/mutate-pod?timeout=10s'" \
		'The patch of that answer without a server (only the time in it differs):' \
		"'$(TARGET_DIR)/release/sidecarset' inject -f '$(CURDIR)/examples/pod.yaml' --sidecarsets '$(abspath $(SIDECARSETS))' -o patch" \
		'Ctrl-C ends the webhook.' ) & \
	exec '$(TARGET_DIR)/release/sidecarset' webhook --sidecarsets '$(SIDECARSETS)' --ca-out '$(TARGET_DIR)/run/ca.crt' \
		--listen '127.0.0.1:$(PORT)' --probe-listen '127.0.0.1:$(PROBE_PORT)'

# The replays of the controller run many scenarios at a time, so they come one after another, with nothing beside them.
test: ## run every tier of tests that can run here (CLUSTER=required: fail if one cannot; CLUSTER=no: no control plane)
	@echo 'test: every tier without a cluster, then the cluster tier on a real control plane (CLUSTER=$(CLUSTER))'
	@set -e; missing=; \
	case '$(CLUSTER)' in \
	no) missing='CLUSTER=no was asked for' ;; \
	auto | required) if missing=$$(tests/control-plane/build --check 2>&1 >/dev/null); then missing=; fi ;; \
	*) echo 'CLUSTER is $(CLUSTER), it must be auto, required or no' >&2; exit 2 ;; \
	esac; \
	if [ '$(CLUSTER)' = required ] && [ -n "$$missing" ]; then \
		echo "CLUSTER=required, but the cluster tests cannot run: $$missing" >&2; exit 1; fi; \
	( set -x; $(CARGO) test --locked --workspace; \
	$(CARGO) test --locked -p sidecarset --features otlp --test shell -- spans ); \
	if [ -z "$$missing" ]; then ( set -x; tests/control-plane/build; export CLUSTER='$(CLUSTER)'; \
		$(CARGO) test --locked --test cluster -- --ignored --skip control::; \
		$(CARGO) test --locked --test cluster -- --ignored --test-threads=1 control:: ); fi; \
	echo; \
	echo 'Ran: unit, conformance, law, router, socket and command line tests.'; \
	if [ -z "$$missing" ]; then \
		echo 'Ran: cluster tests on a real kube-apiserver. A test that could not run has a line DID NOT RUN above.'; \
	else echo "DID NOT RUN: cluster tests: $$missing"; fi; \
	if ! command -v promtool >/dev/null; then \
		echo 'DID NOT RUN: promtool on alerts, dashboard and metrics: it is in the package prometheus of Debian'; fi

check: $(CARGO_DENY) ## formatting, lints, docs, licences and bans, layering, generated files
	@echo 'check: formatting, lints, documentation, licences and bans, layering, generated files'
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p sidecarset --no-deps --features otlp --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	$(CARGO_DENY) --locked check bans licenses sources
	@echo 'the core crate knows no network, runtime, command line or logger'
	@tree=$$($(CARGO) tree --locked -p sidecarset-core -e normal --prefix none) || exit 1; \
	if echo "$$tree" | grep -E '^(axum|clap|hyper|kube|rustls|tokio|tower|tracing)([ -]|$$)'; then \
		echo 'sidecarset-core must not depend on the crates above: decide in the core, do in the shell' >&2; exit 1; fi
	@echo 'generated files are as committed'
	@rm -rf '$(TARGET_DIR)/generated'; mkdir -p '$(TARGET_DIR)/generated'
	@$(MAKE) --no-print-directory generate GENERATED='$(TARGET_DIR)/generated'
	@for page in $(PAGES); do diff -u "$$page" "$(TARGET_DIR)/generated/$$page" || \
		{ echo "$$page is stale: run make generate and commit it" >&2; exit 1; }; done
	@echo 'check: all good'

# Where generated files go; make check compares those of another folder with the committed ones.
GENERATED ?= .
PAGES := docs/cli.md docs/rules.md manifests/crd/crd.yaml manifests/monitoring/prometheus-rule.yaml \
	manifests/chart/README.md $(addprefix manifests/chart/files/,crd.yaml alerts.yaml dashboard.json)

# The environment is emptied because the help text shows the values of variables that are set.
generate: ## write what is generated: the program's own help, the ids that code and tests cite, the definition, the chart's page and copies
	@echo 'generate: write $(PAGES)'
	$(CARGO) build --locked --bin sidecarset
	@cd '$(GENERATED)' && mkdir -p docs manifests/crd manifests/monitoring manifests/chart/files
	@{ printf '# Command line\n\n<!-- Written by `make generate` from the program'"'"'s own help. -->\n'; \
	for command in webhook controller inject explain lint crd preflight status rollout 'rollout pause' 'rollout resume' \
		'rollout undo' 'rollout history'; do \
		help=$$(env -i '$(TARGET_DIR)/debug/sidecarset' $$command --help) || exit 1; \
		printf '\n## sidecarset %s\n\n```text\n%s\n```\n' "$$command" "$$help"; \
	done; } | sed 's/ *$$//' > '$(GENERATED)/docs/cli.md'
	@{ printf '# Written by `make generate`: what `sidecarset crd` prints.\n'; \
	env -i '$(TARGET_DIR)/debug/sidecarset' crd; } > '$(GENERATED)/manifests/crd/crd.yaml'
	@{ printf '%s\n' '# Written by `make generate` from alerts.yaml.' 'apiVersion: monitoring.coreos.com/v1' 'kind: PrometheusRule' \
		'metadata:' '  name: sidecarset-webhook' '  namespace: sidecarset-system' 'spec:'; \
	sed '/^#/d; /./s/^/  /' manifests/monitoring/alerts.yaml; } > '$(GENERATED)/manifests/monitoring/prometheus-rule.yaml'
	@cp '$(GENERATED)/manifests/crd/crd.yaml' manifests/monitoring/alerts.yaml manifests/monitoring/dashboard.json \
		'$(GENERATED)/manifests/chart/files/'
	SIDECARSET_RULES_PAGE='$(abspath $(GENERATED))/docs/rules.md' \
		SIDECARSET_CHART_PAGE='$(abspath $(GENERATED))/manifests/chart/README.md' \
		$(CARGO) test --locked --quiet --test shell -- the_page_of_

bench: ## run the benchmarks, about ten minutes; docs/performance.md says how to read them
	@echo 'bench: the rules by themselves, then the webhook against a server with a fixed answer'
	$(CARGO) bench --locked -p sidecarset-core
	$(CARGO) build --release --locked --bin sidecarset
	$(CARGO) run --release --locked -p sidecarset-load -- compare

bench-controller: ## roll CONTROLLER_PODS (20000) Pods of CONTROLLER_SETS (100) sets out twice on a real control plane, a quarter of an hour
	@echo 'bench-controller: $(CONTROLLER_PODS) Pods, $(CONTROLLER_SETS) sets'
	tests/control-plane/build
	CONTROLLER_PODS=$(CONTROLLER_PODS) CONTROLLER_SETS=$(CONTROLLER_SETS) $(CARGO) test --profile soak --locked --test cluster \
		-- --ignored --nocapture --exact rollout::many_pods::many_pods_are_each_written_once

# One test after the other: each wants the machine for itself.
soak: ## everything that may happen to three replicas in years, in half an hour (SOAK_ADMISSIONS, SOAK_SETS); docs/reliability.md
	@echo 'soak: $(SOAK_ADMISSIONS) admissions while everything changes, $(SOAK_SETS) sets read again, calls at the idle limit'
	tests/control-plane/build
	$(CARGO) build --profile soak --locked --bin sidecarset
	$(CARGO) build --profile soak --locked -p sidecarset-load
	$(CARGO) test --profile soak --locked --test cluster --no-run
	ulimit -n 30000 2>/dev/null || ulimit -n "$$(ulimit -H -n)"; SOAK_ADMISSIONS=$(SOAK_ADMISSIONS) $(CARGO) test --profile soak --locked --test cluster \
		-- --ignored --nocapture --exact soak::no_admission_is_lost_and_none_is_wrong
	SOAK_SETS=$(SOAK_SETS) $(CARGO) test --profile soak --locked --test cluster \
		-- --ignored --nocapture --exact relist::no_admission_suffers_when_all_sets_are_read_again
	tests/soak/idle-race '$(TARGET_DIR)/soak'

# No sanitizer: there is no unsafe code here that one could watch.
fuzz: $(CARGO_FUZZ) ## run every fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain
	@echo 'fuzz: every target for $(FUZZ_SECONDS) s'
	@$(CARGO) +nightly --version >/dev/null 2>&1 || \
		{ echo 'make fuzz needs a nightly toolchain: rustup toolchain install nightly' >&2; exit 1; }
	@set -e; PATH="$(dir $(CARGO_FUZZ)):$$PATH"; targets=$$($(CARGO) +nightly fuzz list); \
	for target in $$targets; do \
		mkdir -p "fuzz/corpus/$$target"; \
		( set -x; $(CARGO) +nightly fuzz run --sanitizer none "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 ); \
	done

$(CARGO_DENY):
	@echo 'building cargo-deny $(CARGO_DENY_VERSION), once'
	$(CARGO) install --locked cargo-deny --version $(CARGO_DENY_VERSION) --root '$(TARGET_DIR)/tools/cargo-deny-$(CARGO_DENY_VERSION)'

$(CARGO_FUZZ):
	@echo 'building cargo-fuzz $(CARGO_FUZZ_VERSION), once'
	$(CARGO) install --locked cargo-fuzz --version $(CARGO_FUZZ_VERSION) --root '$(TARGET_DIR)/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)'
