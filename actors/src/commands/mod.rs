//! The one path of commands, whoever gives them.
