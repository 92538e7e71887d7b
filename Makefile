# Vectra. `make help` lists the targets.
#
# Every folder of src/ becomes one archive, build/<variant>/lib<folder>.a, and a
# program or test links the archives of its floor and those below, as src/LAYERS
# orders them. A variant (release, debug, asan, tsan) has its own build folder,
# so switching between them rebuilds nothing.

VARIANT ?= release
Q       := $(if $(V),,@)# make V=1 shows the commands
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
# To compile for another: make ARCH=aarch64 CC=aarch64-linux-gnu-gcc B=build/arm64
ARCH    := $(shell uname -m)

ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(VARIANT)),clang,gcc)
endif

WARN := -Wall -Wextra -Wpedantic -Werror -Wshadow -Wstrict-prototypes \
        -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
        -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough \
        -Wcast-align
CFLAGS_release := -O3 -DNDEBUG
CFLAGS_debug   := -O1 -DVECTRA_DEBUG
CFLAGS_asan    := -O1 -DVECTRA_DEBUG -fsanitize=address,undefined \
                  -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -DVECTRA_DEBUG -fsanitize=thread
CFLAGS_fuzz    := -O1 -DVECTRA_DEBUG \
                  -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION -fno-sanitize-recover=all \
                  -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_fuzz   := -fsanitize=address,undefined

CFLAGS  += -std=c11 -D_GNU_SOURCE -g -fno-omit-frame-pointer -pthread \
           -ffp-contract=off $(WARN) $(CFLAGS_$(VARIANT))
CPPFLAGS += -Isrc
LDFLAGS += -pthread $(LDFLAGS_$(VARIANT))

# ---- sources ---------------------------------------------------------------

# Folders in the order of their floors; a line of LAYERS is "name : below...".
FOLDERS := $(shell awk '!/^\#/ && !/^only/ && /:/ {print $$1}' src/LAYERS)
# All that a folder may reach, directly or through others, highest first.
below    = $(shell awk -v want=$(1) '/^\#/ || /^only/ || !/:/ { next } \
             { name[++n] = $$1; reach[$$1] = " "; \
               for (i = 3; i <= NF; i++) reach[$$1] = reach[$$1] $$i " " reach[$$i] } \
             END { for (i = n; i > 0; i--) \
                       if (index(reach[want], " " name[i] " ")) print name[i] }' src/LAYERS)

# One allocator seam is compiled: see src/base/mem_impl.h.
ifneq ($(filter asan tsan fuzz,$(VARIANT)),)
SKIP := src/base/mem_jemalloc.c
else
SKIP := src/base/mem_libc.c
LIBS_alloc := -ljemalloc
endif

# Kernels for other processors' instructions are left out by name.
ifneq ($(filter x86_64 amd64,$(ARCH)),)
SKIP += $(wildcard src/vec/*_neon.c)
else
SKIP += $(wildcard src/vec/*_avx2.c src/vec/*_avx512.c)
endif
ifeq ($(filter aarch64 arm64,$(ARCH)),)
SKIP += $(wildcard src/vec/*_neon.c)
endif

sources  = $(filter-out $(SKIP),$(wildcard src/$(1)/*.c src/$(1)/*/*.c))
objects  = $(patsubst src/%.c,$(B)/obj/%.o,$(call sources,$(1)))
archives = $(patsubst %,$(B)/lib%.a,$(1) $(call below,$(1)))

LIBS := -levent_core -lcrypto -llzf -llz4 -lm $(LIBS_alloc)

# The instruction sets of kernel files, chosen at run time by vec/dispatch.c.
# ThreadSanitizer does not look inside kernels: a scan may read a slot while it
# is rewritten and then rejects the row by its version (store/page.h). Checks of
# each pointer doubled the time kernels take to compile; loads that need aligned
# memory fault by themselves. Fuzzing learns nothing from the branches of kernels,
# and clang took minutes to count them in loops that are unrolled.
KERNEL_FLAGS_avx2   := -mavx2 -mfma -mf16c -mbmi2
KERNEL_FLAGS_avx512 := $(KERNEL_FLAGS_avx2) -mavx512f -mavx512bw -mavx512dq \
                       -mavx512vl -mprefer-vector-width=512
KERNEL_FLAGS_neon   := -march=armv8.2-a+dotprod+fp16
KERNEL_UNCHECKED := -fno-sanitize=thread,null,alignment,object-size \
    $(if $(filter fuzz,$(VARIANT)),-fno-sanitize=fuzzer-no-link -fno-sanitize=undefined)
kernel_isa   = $(patsubst .%,%,$(suffix $(subst _,.,$(basename $(notdir $(1))))))
kernel_flags = $(KERNEL_FLAGS_$(call kernel_isa,$(1))) \
               $(if $(filter src/vec/kernels%,$(1)),$(KERNEL_UNCHECKED))

TOOLS := $(patsubst src/tools/%_main.c,%,$(wildcard src/tools/*_main.c))
BINS  := bin/vectra-server $(patsubst %,bin/vectra-%,$(subst _,-,$(TOOLS)))

# ---- programs --------------------------------------------------------------

.PHONY: all
all: $(if $(filter release,$(VARIANT)),$(BINS),$(patsubst bin/%,$(B)/%,$(BINS)))

$(B)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call kernel_flags,$<) -MMD -MP -c $< -o $@

define folder_rule
$(B)/lib$(1).a: $(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)ar rcs $$@ $$^
-include $(patsubst %.o,%.d,$(call objects,$(1)))
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rule,$(f))))

$(B)/vectra-server: $(call archives,server)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(B)/libserver.a \
	    -Wl,--no-whole-archive $^ $(LIBS)

define tool_rule
$(B)/vectra-$(subst _,-,$(1)): $(call archives,tools)
	@echo "  LINK  $$@"
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $(B)/obj/tools/$(1)_main.o $$^ $$(LIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$(t))))

bin/%: $(B)/%
	@mkdir -p bin
	@cp $< $@.new && mv -f $@.new $@

# ---- tests -----------------------------------------------------------------

tests_of    = $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/$(1)))
UNIT        := $(call tests_of,unit/*/test_*.c) $(call tests_of,model/*/test_*.c)
BENCH       := $(call tests_of,bench/*/bench_*.c)
INTEGRATION := $(call tests_of,integration/test_*.c)
FUZZ        := $(call tests_of,fuzz/fuzz_*.c)
TORTURE     := $(addprefix $(B)/tests/torture/,ledger powerloss io_shim.so)

define link_test
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -MMD -MP $(LDFLAGS) $< \
	    $(filter %.a,$^) $(1) $(LIBS) -o $@
endef

# What stands beside a server under test is never instrumented itself.
define link_plain
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g -O1 -pthread $(WARN) -o $@ $(1)
endef

# A unit or model test of folder X links X's archive and those below it.
.SECONDEXPANSION:
$(UNIT): $(B)/tests/%: tests/%.c Makefile \
    $$(call archives,$$(notdir $$(abspath $$(dir $$*))))
	$(call link_test,-lcmocka)
$(BENCH): $(B)/tests/%: tests/%.c Makefile \
    $$(call archives,$$(notdir $$(abspath $$(dir $$*))))
	$(call link_test,)
$(INTEGRATION): $(B)/tests/%: tests/%.c Makefile $(call archives,base)
	$(call link_test,-lcmocka -lhiredis)
$(FUZZ): $(B)/tests/%: tests/%.c Makefile $(call archives,server)
	$(call link_test,-fsanitize=fuzzer)
$(B)/tests/torture/ledger: $(wildcard tests/torture/ledger*.[ch]) Makefile
	$(call link_plain,$(filter %.c,$^) -lhiredis -lm)
$(B)/tests/torture/powerloss: tests/torture/powerloss.c \
    tests/torture/io_trace.h Makefile
	$(call link_plain,$<)
$(B)/tests/torture/io_shim.so: tests/torture/io_shim.c \
    tests/torture/io_trace.h Makefile
	$(call link_plain,$< -fPIC -shared)
-include $(wildcard $(B)/tests/*/*.d $(B)/tests/*/*/*.d)

# What a variant's suites need; `all` is its programs.
.PHONY: test-programs fuzz-programs bench-programs fuzzers
test-programs: all $(UNIT) $(INTEGRATION) $(TORTURE)
bench-programs: all $(BENCH)
fuzz-programs: $(FUZZ)
fuzzers: # the fuzz targets, from whatever variant is at hand
	@$(MAKE) $(JOBS) VARIANT=fuzz fuzz-programs

# Where nobody said how many jobs: one per processor.
JOBS = --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: test check asan tsan fuzz torture lint unit deps-build deps-test
deps-build:
	@deps/install.sh build
deps-test:
	@deps/install.sh build test

test: deps-test
	@$(MAKE) $(JOBS) test-programs fuzzers
	@tests/run release all

check: deps-test
	@$(MAKE) $(JOBS) test-programs
	@tests/run release check

unit: deps-test
	@$(MAKE) $(JOBS) test-programs
	@tests/run $(VARIANT) unit model

lint: deps-test
	@$(MAKE) $(JOBS) all
	@utils/lint/run $(VARIANT)

# The whole suite under AddressSanitizer and UndefinedBehaviorSanitizer.
asan: deps-test
	@$(MAKE) $(JOBS) VARIANT=asan test-programs
	@tests/run asan unit model integration tcl scripts clients

# Everything with threads in it under ThreadSanitizer.
tsan: deps-test
	@$(MAKE) $(JOBS) VARIANT=tsan test-programs
	@tests/run tsan unit model integration tcl

# Each target for FUZZ_SECONDS; findings are left in build/fuzz.
FUZZ_SECONDS ?= 60
fuzz: deps-test
	@$(MAKE) $(JOBS) VARIANT=fuzz fuzz-programs
	@tests/fuzz/run $(FUZZ_SECONDS)

# Crashes, failing disks and power cuts. 100 rounds are the full programme.
ROUNDS ?= 100
torture: deps-test
	@$(MAKE) $(JOBS) test-programs
	@tclsh tests/torture/run.tcl rounds=$(ROUNDS) $(SCENARIOS)

# ---- using it --------------------------------------------------------------

.PHONY: run demo bench docs fmt install clean help stats
run: deps-build
	@$(MAKE) $(JOBS) all
	@echo
	@echo "Vectra listens on port 6379. In another terminal:  redis-cli"
	@echo "  (Debian package redis-tools), then for example:"
	@echo "    VADD words VALUES 3 0.1 0.9 0.3 apple"
	@echo "    VSIM words VALUES 3 0.2 0.8 0.3 WITHSCORES"
	@echo "  The tour is in README.md. Ctrl-C stops the server."
	@echo
	@exec bin/vectra-server vectra.conf

demo: deps-build
	@$(MAKE) $(JOBS) all
	@utils/demo

bench: deps-build
	@$(MAKE) $(JOBS) bench-programs
	@utils/bench/run

# What is generated from the tables, kept in git; make lint tells when stale.
docs: all
	@bin/vectra-server --dump commands > docs/commands.md

fmt:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/etc/vectra
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	[ -e $(DESTDIR)$(PREFIX)/etc/vectra/vectra.conf ] || \
	    install -m 644 vectra.conf $(DESTDIR)$(PREFIX)/etc/vectra/vectra.conf

# Lines, functions and files, to see drift.
stats:
	@utils/stats

clean:
	rm -rf build bin tests/tmp

help:
	@echo "make run      install what is missing, build, start on vectra.conf"
	@echo "make test     install, build, run every suite"
	@echo "make          build bin/vectra-server and the tools"
	@echo "make check    lint, unit tests and a quick integration pass"
	@echo "make demo     load real words and show their neighbours"
	@echo "make bench    measure, against Redis 8 where it is found"
	@echo "make asan     the suite under AddressSanitizer and UBSan"
	@echo "make tsan     the threaded parts under ThreadSanitizer"
	@echo "make fuzz     every fuzz target for FUZZ_SECONDS (60)"
	@echo "make torture  crashes, failing I/O, power cuts: ROUNDS=100 is all"
	@echo "make unit     unit tests, and models against their twins"
	@echo "make lint     layers, symbol names, formatting, stale documents"
	@echo "make docs     write docs/commands.md from the command table"
	@echo "make fmt      format the sources"
	@echo "make stats    sizes of files and functions"
	@echo "make install  into PREFIX (/usr/local), DESTDIR honoured"
	@echo "make clean    remove what was built"
	@echo "variables: VARIANT=release|debug|asan|tsan CC=gcc|clang V=1 SEED=n EFFORT=n"
