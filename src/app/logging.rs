//! Where log records go: stderr, as text or JSON lines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingSettings};

/// Starts logging, and lets panics be logged too. Does nothing when logging runs already.
pub fn start(settings: &LoggingSettings) {
    // What libraries tell of their own threads and attempts helps nobody, since their actors tell it with
    // their names; paho would show passwords. Whoever asks for it by name gets it.
    let quiet = format!("actix_server=warn,actix_http=off,async_nats=off,paho_mqtt=off,{}", settings.level);
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(place, "panic: {message}");
        }));
    }
}
