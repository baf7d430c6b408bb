//! The dashboard as a whole: constructed data in, state and screens out.

mod agreement;
mod findings;
mod fixture;
mod hostile;
mod lanes;
mod replay;
mod screens;
mod states;
