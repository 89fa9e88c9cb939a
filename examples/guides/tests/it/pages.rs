//! The code that the guide shows is the code that is tested.

const GUIDE: &str = include_str!("../../../../docs/guides/writing-a-layer.md");

#[test]
fn the_guide_shows_the_layers_of_this_crate_as_they_are() {
    for source in [
        include_str!("../../src/in_flight_limit.rs"),
        include_str!("../../src/slow_call_observer.rs"),
        include_str!("../../src/layer.rs"),
        include_str!("../../src/retry_once.rs"),
    ] {
        let block = format!("```rust\n{source}```\n");
        let title = source.lines().find(|line| line.starts_with("///"));
        assert!(GUIDE.contains(&block), "not in the guide: {title:?}");
    }
}

#[test]
fn each_example_has_at_most_forty_lines() {
    for source in [
        include_str!("../../src/in_flight_limit.rs"),
        include_str!("../../src/slow_call_observer.rs"),
        include_str!("../../src/retry_once.rs"),
    ] {
        // The layer of the driver follows it.
        let lines = source
            .lines()
            .take_while(|line| !line.contains("idempotent requests"));
        let lines = lines.filter(|line| !line.is_empty());
        assert!(lines.count() <= 40, "{source}");
    }
}
