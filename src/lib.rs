//! Bifrost as a library: what the binary is composed of, so that tests can reach it.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
