//! Real clients on a real `plinth dev`: what people have on their machines must work, and nothing they do may cost
//! more than their own connection.
#![allow(clippy::print_stdout, reason = "the harness shows what a failing test printed: seeds, above all")]

mod commands;
mod copy;
mod crash;
mod damage;
mod filesystem;
mod fio;
mod hostile;
mod http;
mod inspect;
mod lifecycle;
mod qemu;
mod space;
