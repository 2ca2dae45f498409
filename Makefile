# SPDX-License-Identifier: MIT
# The short way into bole. `make help` tells what there is; CMakeLists.txt is behind it.
.DEFAULT_GOAL := build
.PHONY: build debug test check format demo bench bench-full coverage install uninstall package clean help

PREFIX ?= /usr/local
DESTDIR ?=
export JOBS

build: ## build library and command into build/release
	@scripts/install_dependencies.sh build
	@scripts/build.sh release

debug: ## the same with costly asserts, into build/debug
	@scripts/install_dependencies.sh test
	@scripts/build.sh debug

test: ## install what is missing, build, run all tests (TEST=name: only those that match)
	@scripts/install_dependencies.sh test
	@scripts/build.sh release
	@scripts/run_tests.sh release $(TEST)

check: ## the whole gate (STEP="format layers ...": only these steps)
	@scripts/install_dependencies.sh check
	@scripts/check.sh $(STEP)

format: ## lay out the C files as .clang-format says
	@scripts/format.sh

demo: ## see it work: write, kill -9, recover, look inside
	@scripts/install_dependencies.sh demo
	@scripts/build.sh release bole bole_demo
	@scripts/demo.sh

bench: ## a few minutes of measuring beside other engines
	@scripts/install_dependencies.sh bench
	@scripts/bench.sh

bench-full: ## the whole benchmark, more than half an hour
	@scripts/install_dependencies.sh bench
	@scripts/bench.sh all

coverage: ## lines, branches and marks that the tests reach, each line into build/coverage/report
	@scripts/install_dependencies.sh check
	@scripts/coverage.sh --html

install: build ## into PREFIX (/usr/local), below DESTDIR when it is set
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall: ## remove what the last `make install` of this folder put there
	@xargs rm -fv < build/release/install_manifest.txt

package: build ## a .deb and a .tar.gz, into build/release
	@cd build/release && cpack

clean: ## remove build/
	@rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | \
	    while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done
