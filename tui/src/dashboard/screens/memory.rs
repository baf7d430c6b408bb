//! The Memory screen: where the worker's memory goes, and where it ends.

pub mod view;

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "resident, peak",
        "pages of the worker in memory at the end of the measured runs, and the most there ever were",
    ),
    ("PSS", "resident, with pages that several processes share divided among them"),
    ("mapped", "resident pages of mapped files; the kernel can drop them and read them again"),
    ("program", "the worker before anything was loaded"),
    (
        "unexplained",
        "resident beyond all parts that are known; left out where the parts are larger than what is resident",
    ),
    (
        "memory ends at",
        "keys and values grow by the same bytes for each token of context; this is the context at which they fill what \
         was free",
    ),
];
