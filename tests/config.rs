//! The configuration as users meet it: files, the environment, and `bifrost check`.
