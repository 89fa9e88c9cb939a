# Every recipe calls what scripts/test and the README call. `just` alone lists them.

_list:
    @just --list --unsorted

# All that must hold; `just test --install` gets the programs that it needs.
test *arguments:
    scripts/test {{ arguments }}

# Format the code.
fmt:
    cargo fmt --all

# Format check and clippy.
lint:
    scripts/test fmt lint

# The documentation of all crates.
doc:
    scripts/test doc

# The loom models.
loom:
    scripts/test loom

# The parsers and the encoders under libFuzzer; needs nightly and cargo-fuzz. `just fuzz b3_single 600` runs one of them for ten minutes.
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# Every state machine, broken by hand, to see its tests fail.
mutants *crates:
    scripts/mutants {{ crates }}

# Tests again and again, beside two busy loops. `just stress towerkit-ratelimit::live 200` runs some of one package.
stress *arguments:
    scripts/stress {{ arguments }}

# The string service; `just demo --help` lists its flags.
demo *arguments:
    cargo run -p stringsvc -- {{ arguments }}

# A log line, a trace and metrics of the same calls: stringsvc and trace-relay, with a receiver of OTLP, and Prometheus.
demo-observability *arguments:
    cargo build -p stringsvc -p trace-relay
    PATH="{{ justfile_directory() }}/.tools/bin:$PATH" cargo run -p observability -- {{ arguments }}

# Three instances behind a load balancer, of which one is killed, started again, and made slow; `just demo-cluster --html FILE` plots it.
demo-cluster *arguments:
    cargo run -p cluster -- {{ arguments }}

# What each layer costs, beside its peers: ns, allocations, size of the future, ratio. `just bench limit` shows those groups only.
bench *filter:
    cargo bench -p towerkit-benches --all-features --bench report -- {{ filter }}

# The same, appended to docs/benchmarks.md.
bench-report:
    cargo bench -p towerkit-benches --all-features --bench report -- --write "{{ justfile_directory() }}/docs/benchmarks.md"
