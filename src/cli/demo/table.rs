//! What the demo shows: a table that is drawn again and again in a terminal, plain lines elsewhere.

use std::{fmt::Write as _, io::Write as _, path::Path, sync::Arc};

use bifrost_actors::{
    gateway::{DeviceEntry, Gateway},
    plc::{DeviceObservation, ObserveDevice},
    router::{LastTag, ReadLast},
};
use bifrost_model::{Quality, Value};
use bifrost_simulator::SimulatedPlc;

use super::plant::Plant;

/// The screen's lower part: what can be typed, and the answer to what was.
const FOOT: usize = 5;

pub(super) struct Table {
    gateway: Gateway,
    url: String,
    live: bool,
    said: String,
    drawn: bool,
}

impl Table {
    pub(super) fn new(gateway: Gateway, url: String, live: bool) -> Self {
        Self { gateway, url, live, said: String::new(), drawn: false }
    }

    /// What somebody needs to know who sees this for the first time.
    pub(super) fn introduce(
        &self,
        plant: &Plant,
        authority: &Path,
        fingerprint: &str,
        (password, token): (Option<&str>, &str),
    ) {
        let names: Vec<_> = plant.simulator.plcs().iter().map(SimulatedPlc::name).collect();
        let first = names.first().copied().unwrap_or_default();
        let url = &self.url;
        let password = password.unwrap_or("as you chose it");
        print(&format!(
            "bifrost demo: {} simulated PLCs, read over Modbus/TCP\n\
             \n\
             gateway      {url}\n\
             trust        {ca}, made for this demo\n\
             fingerprint  {fingerprint} (SHA-256)\n\
             log in       as admin, once with the password {password}   (POST {url}/api/auth/login, then\n\
             \x20             a password of your own: POST {url}/api/auth/password)\n\
             by curl      export TOKEN={token} CURL_CA_BUNDLE={ca}\n\
             devices      curl -H \"authorization: Bearer $TOKEN\" {url}/api/devices\n\
             one device   … {url}/api/devices/{first}/tags\n\
             supervisor   … {url}/api/actors\n\
             who did what … {url}/api/audit\n\
             live feed    {}/ws\n\
             \n\
             stop a PLC   type: stop {first}     and watch the gateway notice and recover after: start {first}\n\
             end          Ctrl-C\n\n",
            names.len(),
            url.replacen("http", "ws", 1),
            ca = authority.display(),
        ));
    }

    /// Leaves the terminal as it should be left.
    pub(super) fn end(&self) {
        if self.live {
            print("\nstopped\n");
        }
    }

    /// Answers what was typed.
    pub(super) fn say(&mut self, text: String) {
        if !self.live && !text.is_empty() {
            print(&format!("{text}\n"));
        }
        self.said = text;
        // Typing has moved the cursor: the next picture is drawn from scratch.
        self.drawn = false;
    }

    pub(super) async fn draw(&mut self, plant: &Plant) {
        let mut rows = Vec::new();
        // In the plant's order: what the first lines talk of stands on top.
        let names = plant.simulator.plcs().iter().map(SimulatedPlc::name);
        for entry in names.filter_map(|name| self.gateway.device(name)) {
            rows.push((Arc::clone(&entry), self.observe(&entry).await, self.values(&entry).await));
        }
        if self.live {
            self.draw_screen(&rows, plant);
        } else {
            for (entry, seen, values) in &rows {
                print(&format!("{}\n", line(entry, seen.as_ref(), values)));
            }
        }
    }

    async fn observe(&self, entry: &DeviceEntry) -> Option<DeviceObservation> {
        entry.ports.get()?.observe.send(ObserveDevice).await.ok()
    }

    async fn values(&self, entry: &DeviceEntry) -> Vec<LastTag> {
        let wanted = ReadLast { device_id: Arc::clone(entry.tags.device_id()), tag_ids: None };
        let Some(router) = self.gateway.router() else { return Vec::new() };
        router.read_last.send(wanted).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Draws from the top, and leaves the line in which somebody types alone.
    fn draw_screen(
        &mut self,
        rows: &[(Arc<DeviceEntry>, Option<DeviceObservation>, Vec<LastTag>)],
        plant: &Plant,
    ) {
        let (width, height) =
            terminal_size::terminal_size().map_or((100, 40), |(w, h)| (usize::from(w.0), usize::from(h.0)));
        let mut lines = vec![
            format!("bifrost demo   {}   {} PLCs", self.url, rows.len()),
            String::new(),
            format!(
                "{:<16} {:<9} {:<20} {:>14} {:<6} {:<9}",
                "DEVICE", "STATE", "TAG", "VALUE", "UNIT", "QUALITY"
            ),
        ];
        let room = height.saturating_sub(lines.len() + FOOT);
        let mut body: Vec<String> = rows.iter().flat_map(device_lines).collect();
        if body.len() > room {
            let hidden = body.len() - room.saturating_sub(1);
            body.truncate(room.saturating_sub(1));
            body.push(format!("… {hidden} more lines; see them in a taller terminal"));
        }
        lines.append(&mut body);
        lines.resize(height.saturating_sub(FOOT - 1), String::new());
        let first = plant.simulator.plcs().first().map_or("", |plc| plc.name());
        lines.push(self.said.clone());
        lines.push(format!("type: stop {first}   or: start {first}   end with Ctrl-C"));
        let mut screen = String::from(if self.drawn { "\x1b7\x1b[H" } else { "\x1b[2J\x1b[H" });
        for text in lines {
            let cut: String = text.chars().take(width).collect();
            let _ = write!(screen, "{cut}\x1b[K\r\n");
        }
        screen.push_str(if self.drawn { "\x1b8" } else { "> " });
        self.drawn = true;
        print(&screen);
    }
}

fn device_lines(
    (entry, seen, values): &(Arc<DeviceEntry>, Option<DeviceObservation>, Vec<LastTag>),
) -> Vec<String> {
    let state = state(seen.as_ref());
    let lines = values.iter().filter_map(LastTag::tag).enumerate().map(|(index, tag)| {
        let (device, state) = if index == 0 { (&*entry.settings.id, state.as_str()) } else { ("", "") };
        format!(
            "{device:<16} {state:<9} {:<20} {:>14} {:<6} {:<9}",
            tag.id,
            value(tag.value),
            tag.unit,
            tag.quality
        )
    });
    let trouble = seen.as_ref().and_then(|seen| seen.status.last_error.as_ref());
    lines.chain(trouble.map(|error| format!("{:16} {error}", ""))).collect()
}

fn state(seen: Option<&DeviceObservation>) -> String {
    match seen {
        Some(seen) => format!("{:?}", seen.status.state).to_lowercase(),
        None => "rebuilt".to_owned(),
    }
}

/// `press-1 online  temperature=25.4 degC  …`
fn line(entry: &DeviceEntry, seen: Option<&DeviceObservation>, values: &[LastTag]) -> String {
    let mut line = format!("{} {}", entry.settings.id, state(seen));
    for tag in values.iter().filter_map(LastTag::tag) {
        let unit = if tag.unit.is_empty() { String::new() } else { format!(" {}", tag.unit) };
        let _ = write!(line, "  {}={}{unit}", tag.id, value(tag.value));
        if tag.quality != Quality::Good {
            let _ = write!(line, "({})", tag.quality);
        }
    }
    line
}

fn value(value: &Value) -> String {
    match value {
        Value::Float32(number) => format!("{number:.2}"),
        Value::Float64(number) => format!("{number:.2}"),
        other => other.to_string(),
    }
}

/// Whoever reads may have closed its end: the gateway goes on.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
