# SPDX-License-Identifier: BSD-3-Clause
# A thin face of meson. `make help` lists the targets.

BUILD ?= build/gcc
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)
ROUNDS ?= 7
export HV_BUILD = $(abspath $(BUILD))

stamp = build/.setup-done

.PHONY: all setup place demo failover failover-asan failover-tsan test unit-test e2e-test bench \
	bench-doc bench-instructions install lint format clean help doc guest-test guest-smoke guest-asan \
	guest-instructions guest-shell guest-setup
.DEFAULT_GOAL := all

## all: build everything into $(BUILD)
all: $(BUILD)/build.ninja
	ninja -C $(BUILD) -j $(JOBS)

## setup: install Debian packages; DPDK's driver SDK headers and Open vSwitch below build
setup:
	@mkdir -p build
	@scripts/setup.sh
	@touch $(stamp)

$(stamp): scripts/setup.sh scripts/packages.txt scripts/sdk-headers.sh scripts/ovs.sh
	@$(MAKE) --no-print-directory setup

$(BUILD)/build.ninja: | $(stamp)
	meson setup $(BUILD) --prefix $(PREFIX)

# Before a build of minutes, of which nothing would run.
place:
	@scripts/place.sh $(BUILD)

## demo: forward real traffic through hv-host and the driver, over to a VF and back, 25 s
demo: place all
	@scripts/demo.sh

## failover: 1000 switches to the VF and back under traffic, 200 surprise removals; net_netvsc's
failover: all
	$(BUILD)/bench/hvpath
	$(PYTHON) bench/vf_flaps.py
	$(PYTHON) bench/vf_flaps.py --surprise --flaps 200
	$(PYTHON) bench/vf_flaps.py --queues 4 --flaps 200
	$(PYTHON) bench/vf_flaps.py --queues 4 --surprise --flaps 200
	$(PYTHON) bench/vf_stock.py

## failover-asan: the same with sanitizers, with fewer packets
failover-asan: | $(stamp)
	[ -d build/asan ] || meson setup build/asan -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build/asan -j $(JOBS)
	for o in "" "--queues 4 --cores 2"; do \
		HV_BUILD=$(abspath build/asan) $(PYTHON) bench/vf_flaps.py --rate 4000 $$o && \
		HV_BUILD=$(abspath build/asan) $(PYTHON) bench/vf_flaps.py --rate 4000 --surprise \
			--flaps 200 $$o || exit 1; done

## failover-tsan: a few of them under ThreadSanitizer
# DPDK's locks are in assembler otherwise, which it does not see.
failover-tsan: | $(stamp)
	[ -d build/tsan-vf ] || meson setup build/tsan-vf -Db_sanitize=thread -Db_lundef=false \
		-Doptimization=1 -Dc_args=-DRTE_FORCE_INTRINSICS
	ninja -C build/tsan-vf -j $(JOBS) app/testpmd-hv/testpmd-hv host/hv-host \
		drivers/net/hvnetvsc/librte_net_hvnetvsc.so.23 test/vf/librte_net_hvtestvf.so
	for o in "" "--surprise" "--queues 4 --cores 2" "--queues 4 --cores 2 --surprise"; do \
		HV_BUILD=$(abspath build/tsan-vf) \
		TSAN_OPTIONS=suppressions=$(abspath test/vf/tsan.supp) \
		$(PYTHON) bench/vf_flaps.py --rate 2000 --flaps 10 $$o || exit 1; done

## test: unit tests and end-to-end tests
test: place unit-test e2e-test

unit-test: all
	meson test -C $(BUILD) --suite unit --timeout-multiplier 4 --print-errorlogs

e2e-test: place all
	$(PYTHON) -m pytest -q -rs test --ignore=test/guest

## guest-test: Linux guests in QEMU against hv-host, everything from nothing
guest-test: all guest-setup
	$(PYTHON) -m pytest -q -rs test/guest

guest-smoke: all guest-setup
	$(PYTHON) -m pytest -q -m smoke test/guest

## guest-asan: guests that reload, reboot and crash, against an hv-host with sanitizers
guest-asan: all guest-setup
	[ -d build/asan ] || meson setup build/asan -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build/asan -j $(JOBS) host/hv-host host/hv-host-echo
	HV_HOST_BUILD=$(abspath build/asan) $(PYTHON) -m pytest -q test/guest \
		-k "reload or reboot or panic or restart or unmapped"

## guest-instructions: what a frame costs hv_netvsc, net_netvsc and ours in a guest
guest-instructions: all guest-setup
	$(PYTHON) test/guest/instructions.py

## guest-shell: a shell in such a guest; KERNEL=6.12, NIC=KEY=VALUE,... choose
guest-shell: all guest-setup
	@$(PYTHON) test/guest/shell.py $(if $(KERNEL),--kernel $(KERNEL)) $(if $(NIC),--nic $(NIC))

guest-setup:
	@scripts/setup.sh test/guest/packages.txt
	@test/guest/build-qemu.sh > /dev/null

## bench: the stock driver and ours side by side, some 10 min; ROUNDS=7
bench: all
	$(PYTHON) bench/run.py --rounds $(ROUNDS) --output build/bench

## bench-doc: the same, and its tables and plots into doc/performance.rst
bench-doc: all
	$(PYTHON) bench/run.py --rounds $(ROUNDS) --output build/bench; status=$$?; \
		$(PYTHON) bench/report.py build/bench/bench.json doc && exit $$status

## bench-instructions: instructions instead of cycles, also on a busy machine, some 10 min
bench-instructions: all
	$(PYTHON) bench/run.py --instructions --output build/bench

## install: the plug-ins where EAL finds them, the programs into $(PREFIX)
install: all
	meson configure $(BUILD) --prefix $(PREFIX)
	ninja -C $(BUILD) -j $(JOBS)
	meson install -C $(BUILD) --no-rebuild

## lint: style, spelling, licences; changes nothing
lint: | $(stamp)
	@scripts/lint.sh

## format: apply clang-format
format: | $(stamp)
	@git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format -i

## doc: HTML of doc/ into build/doc
doc: | $(stamp)
	$(PYTHON) -m sphinx -q -W -b html doc build/doc

## clean: remove every build
clean:
	rm -rf build

help:
	@sed -n 's/^## /  make /p' Makefile
