//! The dashboard as a whole: constructed data in, state and screens out.

mod agreement;
mod channels;
mod findings;
mod fixture;
mod hardware;
mod hostile;
mod jobs;
mod keys;
mod lanes;
mod mouse;
mod ops;
mod pictures;
mod replay;
mod screens;
mod scrub;
mod sessions;
mod states;
mod ten_second;
