//! Notes to standard error. The standard macros panic where it is closed or full, as behind `2>&1 | head`: what a user
//! does not read is no reason to end a run.

/// Prints a note without an end of line.
macro_rules! note {
    ($($part:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!($($part)*));
    }};
}

/// Prints a note and ends its line.
macro_rules! note_line {
    ($($part:tt)*) => {{
        let line = format!($($part)*);
        note!("{line}\n");
    }};
}
