//! Terms of the Roofline screen; its keys are those of a list.

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    (
        "the plot",
        "each letter is an op: to the right the arithmetic that it does for each byte it reads, upwards the arithmetic \
         that it does in a second. Both axes are logarithmic",
    ),
    (
        "the roofs",
        "the slope is reading memory, the flat lines are arithmetic: int8 for products with quantized weights, f32 for \
         everything else. They were measured right before and after the run, with its threads",
    ),
    (
        "above the slope",
        "the op's bytes came from a cache, or the machine was faster than when the roof was measured",
    ),
    ("d", "decode, prefill or both are chosen on the Ops screen"),
];
