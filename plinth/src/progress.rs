//! Tells a person what is being waited for: one line on standard error, if it is a terminal, that goes away again.

use std::time::Duration;

use client::Onlooker;
use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// One line that changes.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Draws nothing when nobody watches.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right");
        Self(ProgressBar::new_spinner().with_style(style))
    }
}

impl Onlooker for Progress {
    fn say(&self, message: &str) {
        self.0.enable_steady_tick(TICK);
        self.0.set_message(message.to_owned());
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
