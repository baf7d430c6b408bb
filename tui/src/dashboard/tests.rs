//! The dashboard as a whole: constructed data in, state and screens out.

mod fixture;
mod screens;
mod states;
