# Everything that is built, checked and shown. `make help` lists it.

GO         ?= go
BUILDFLAGS := -trimpath -buildvcs=false
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X main.version=$(VERSION)
PLATFORMS  := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# staticcheck 2026.2.2. Kept out of go.mod: it is no part of the program.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Checks the workflows that the README shows; kept out of go.mod, too.
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
# The packages in which goroutines share data, and the façade's tests that drive
# them together; the rest runs without the race detector, which is several times slower.
RACE       ?= ./imagebuild/layer ./imagebuild/source ./imagebuild/sink ./imagebuild/tally
RACETESTS  ?= TestBuild(Only|Interrupted)
FUZZTIME   ?= 30s
# The versions of Kubernetes that the generated configurations are checked with: the
# last with kubeadm's v1beta3, and two with v1beta4.
KUBEADM    ?= 1.30.4 1.34.4 1.36.3

.PHONY: help build test lint demo bench bench-ext4 bench-fleet bench-growth kubernetes e2e e2e-cluster crash reproducible fuzz soak e2fsprogs fixtures release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/piimg for this machine
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/piimg

test: ## install the tools that the tests compare with, then go vet and all tests
	testdata/tools.sh
	$(GO) vet ./...
	$(GO) test -timeout 30m ./...
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then \
		set -ex; $(GO) test -race $(RACE); $(GO) test -race -run '$(RACETESTS)' ./imagebuild; \
	else echo 'no C compiler: the race detector is left out'; [ "$(CI)" != true ]; fi

lint: ## gofmt, go vet (three systems, and 32 bits), staticcheck, shellcheck, actionlint
	@files=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$files" ] || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) vet ./... ./testdata/bench/... ./testdata/cluster/programs/...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	GOARCH=arm $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run $(STATICCHECK) ./... ./testdata/bench/... ./testdata/cluster/programs/...
	testdata/scripts.sh | xargs shellcheck
	CGO_ENABLED=0 $(GO) run $(ACTIONLINT) testdata/fleet/workflow.yaml testdata/fleet/matrix.yaml

demo: build ## build three nodes into demo/ from a small image: no root, no download
	@mkdir -p demo
	WIFI_PASS=turnip-prices bin/piimg build --nodes testdata/demo/nodes.yaml --out demo --secrets demo/secrets.yaml
	@ls -l demo

reproducible: ## build twice, in all formats, as different as can be (root: users and file systems, too), and compare
	testdata/reproducible.sh

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' "$$p" | grep '^Fuzz' || true); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$p"; \
		done; done

soak: ## run the ext4 property test for HOURS (1), with new seeds each round, until it finds something
	GO=$(GO) testdata/soak.sh $(HOURS)

e2e: build ## build images from every packing and boot them under QEMU; ERAS='stretch bookworm'
	testdata/e2e/run.sh $(ERAS)

e2e-cluster: build ## form a cluster of built images, without internet (root); CLUSTER='--platform qemu'
	testdata/cluster/run.sh $(CLUSTER)

crash: ## kill QEMU guests while they write, and recover what they leave
	testdata/crash/run.sh $(CRASH)

kubernetes: ## build kubeadm of KUBEADM's versions, which the tests ask for its opinion (two minutes each, once)
	@set -e; for v in $(KUBEADM); do GO=$(GO) testdata/kubernetes/build.sh $$v kubeadm; done

bench: build ## seven nodes of a real-size image, beside a loop-mount script (root); then bench-growth
	testdata/bench/run.sh
	testdata/bench/growth.sh

bench-ext4: ## the ext4 editor beside debugfs -w and a loop mount (root)
	testdata/bench/ext4.sh

bench-fleet: build ## time and peak memory of planning up to ten thousand nodes
	testdata/bench/fleet.sh

bench-growth: build ## what builds grow by, up to a thousand nodes and images of 8 GiB: table and picture
	testdata/bench/growth.sh

e2fsprogs: ## compare the ext4 check with e2fsck on e2fsprogs' own damaged images (apt-get, network)
	testdata/e2fsprogs/run.sh

fixtures: ## make the small images of testdata/images again
	testdata/images/make.sh

release: ## cross-build into bin/ for Linux, macOS and Windows
	@set -e; for p in $(PLATFORMS); do \
		out=bin/piimg-$${p%/*}-$${p#*/}; [ "$${p%/*}" != windows ] || out=$$out.exe; echo "$$out"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build $(BUILDFLAGS) -ldflags '$(LDFLAGS)' -o "$$out" ./cmd/piimg; \
	done

clean: ## remove what these targets made
	rm -rf bin dist demo
