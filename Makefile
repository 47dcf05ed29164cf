# ipr.h: the header is the whole library; this file builds its examples, tests and measurements.
# `make help` lists the targets. Everything goes to build/ and results/.

CC      ?= cc
CFLAGS  ?= -O2
WARN     = -Wall -Wextra -pedantic
THREADS  = -DIPR_THREADS -pthread
LDLIBS   =
SAMPLE   = -I. $(WARN) -ffp-contract=off
SEEDS   ?=
QUICK   ?=
NAMES   ?=
SECONDS ?= 60

ifeq ($(shell $(CC) -v 2>&1 | grep -c tcc),1)
SAMPLE   = -I.
THREADS  =
endif

.PHONY: help demo test check matrix bench reproduce data fuzz clean

help:
	@echo 'make demo                      train, protect, verify and attack a model; writes build/demo.html (3 minutes)'
	@echo 'make test                      the unit suite; last line: N passed, N failed'
	@echo 'make check                     warnings, floors, stack frames, option matrix, doc snippets (gcc and clang)'
	@echo 'make matrix                    compilers, sanitizers and foreign architectures'
	@echo 'make bench                     speed beside the peers, to build/bench.json'
	@echo 'make reproduce [EXP=name] [QUICK=1] [SEEDS=n]   tables of the papers, to results/'
	@echo 'make data [NAMES="mnist trec"] fetch and unpack data sets (default: mnist)'
	@echo 'make fuzz [SECONDS=60]         fuzz every parser (clang)'
	@echo 'make clean                     remove build/'

build:
	@mkdir -p build

build/gatekeeper_seqmnist: examples/gatekeeper_seqmnist.c examples/gatekeeper_seqmnist_html.h examples/experiment.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/gatekeeper_seqmnist.c -o $@ $(LDLIBS)

build/gatekeeper_translate: examples/gatekeeper_translate.c examples/experiment.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/gatekeeper_translate.c -o $@ $(LDLIBS)

build/gatekeeper_trec6: examples/gatekeeper_trec6.c examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/gatekeeper_trec6.c -o $@ $(LDLIBS)

build/passports_cifar10: examples/passports_cifar10.c examples/passports_common.h examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/passports_cifar10.c -o $@ $(LDLIBS)

build/passports_attacks: examples/passports_attacks.c examples/passports_common.h examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/passports_attacks.c -o $@ $(LDLIBS)

build/baselines_ambiguity: examples/baselines_ambiguity.c examples/passports_common.h examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/baselines_ambiguity.c -o $@ $(LDLIBS)

build/serial_numbers: examples/serial_numbers.c examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/serial_numbers.c -o $@ $(LDLIBS)

build/text_triggers: examples/text_triggers.c examples/experiment.h examples/experiment_html.h examples/report.h ipr.h | build
	$(CC) $(CFLAGS) $(SAMPLE) $(THREADS) examples/text_triggers.c -o $@ $(LDLIBS)

demo: build/gatekeeper_seqmnist
	@sh data_fetch/fetch.sh --unpack-only mnist fashion-mnist >/dev/null 2>&1 || sh data_fetch/fetch.sh mnist || true
	./build/gatekeeper_seqmnist --demo

test:
	@CC='$(CC)' CFLAGS='$(CFLAGS)' sh tests/run.sh

check:
	@sh tests/check.sh

matrix:
	@sh tests/matrix.sh

bench:
	@CC='$(CC)' sh bench/run.sh

reproduce:
	@sh examples/reproduce.sh '$(EXP)' '$(QUICK)' '$(SEEDS)' '$(DATA)'

data:
	@sh data_fetch/fetch.sh $(NAMES)

fuzz:
	@sh tests/fuzz.sh $(SECONDS)

clean:
	rm -rf build
