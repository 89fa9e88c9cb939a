# Every recipe calls what scripts/test and the README call. `just` alone lists them.

_list:
    @just --list --unsorted

# All that must hold; `just test --install` installs what is missing.
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

# Licences, sources and duplicates; needs cargo-deny.
deny:
    scripts/test deny
