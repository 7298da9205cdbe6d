//! The code blocks of the guide to model checking are parts of these models.

use std::fs;

/// The lines of a text, without their indentation.
fn lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn each_block_of_the_guide_is_part_of_a_model() {
    let guide = include_str!("../../crates/procession/docs/model-checking.md");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let models = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let models: Vec<_> = models.map(|path| lines(&fs::read_to_string(path).unwrap())).collect();
    let blocks = guide.split("```rust,ignore\n").skip(1);
    let blocks: Vec<_> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let is_known = models.iter().any(|model| model.contains(&lines(block)));
        assert!(is_known, "no model has this code:\n{block}");
    }
}
