//! `POST /api/devices/discover`: which Modbus/TCP servers are there?
//!
//! Looks only where the configuration allows it, and changes nothing.

mod dto;
mod range;
mod scan;
mod settings;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use actix_web::web::{Data, Json};

pub use dto::{DiscoverAnswer, DiscoverRequest, FoundDevice};
pub use range::{AddressRange, BadRange};
pub use settings::DiscoverySettings;

use super::{
    body::Body,
    error::{KeyProblem, Kind, Problem},
    state::ApiState,
};
use scan::Scan;

/// Where it is asked for; it has a longer time limit than other paths.
pub(super) const PATH: &str = "/api/devices/discover";

/// Looks for Modbus/TCP servers in a range of addresses.
///
/// Bounded by `discovery.max_probes`, `discovery.concurrency` and `discovery.deadline`; only inside
/// `discovery.allowed_ranges`. One scan runs at a time. Units that refuse to say who they are count as found.
#[utoipa::path(
    post, path = "/api/devices/discover", tag = "devices", operation_id = "discover_devices",
    request_body = DiscoverRequest,
    responses(
        (status = 200, description = "What answered", body = DiscoverAnswer),
        (status = 400, description = "The request doesn't fit"),
        (status = 403, description = "Outside of the allowed ranges"),
        (status = 503, description = "Another scan is running"),
    )
)]
pub(super) async fn discover(
    state: Data<ApiState>,
    body: Body<DiscoverRequest>,
) -> Result<Json<DiscoverAnswer>, Problem> {
    let scan = plan(&body.0, state.discovery())?;
    let Ok(_only_one) = state.discovering.try_lock() else {
        return Err(Problem::new(Kind::NotReady, "another scan is running; try again when it is done"));
    };
    let began = Instant::now();
    let found = scan.run().await;
    Ok(Json(DiscoverAnswer {
        devices: found.devices,
        scanned: found.scanned,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        complete: found.complete,
    }))
}

/// From what is asked for to what is done, or why it isn't.
fn plan(request: &DiscoverRequest, settings: &DiscoverySettings) -> Result<Scan, Problem> {
    check(request, settings)?;
    if !settings.allows(&request.range) {
        let detail = format!(
            "{} isn't inside what the configuration allows; add it to discovery.allowed_ranges",
            request.range
        );
        return Err(Problem::new(Kind::RangeNotAllowed, detail));
    }
    let at = |address| request.ports.iter().map(move |port| SocketAddr::new(address, *port));
    Ok(Scan {
        endpoints: request.range.addresses().flat_map(at).collect(),
        units: request.unit_ids.clone(),
        timeout: request.timeout.unwrap_or(settings.timeout),
        concurrency: settings.concurrency,
        deadline: settings.deadline,
    })
}

fn check(request: &DiscoverRequest, settings: &DiscoverySettings) -> Result<(), Problem> {
    let probes = request.range.len().saturating_mul((request.ports.len() * request.unit_ids.len()) as u128);
    let too_many = format!(
        "addresses × ports × units are {probes}; the most is {} (key discovery.max_probes)",
        settings.max_probes
    );
    let checks = [
        ("ports", request.ports.is_empty(), "name at least one, or leave the key out"),
        ("ports", request.ports.contains(&0), "ports go from 1 to 65535"),
        ("unit_ids", request.unit_ids.is_empty(), "name at least one, or leave the key out"),
        ("timeout", request.timeout == Some(Duration::ZERO), "must be more than zero, such as 500ms"),
        ("range", probes > settings.max_probes as u128, too_many.as_str()),
    ];
    let wrong: Vec<_> = checks.into_iter().filter(|(_, wrong, _)| *wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let errors = wrong.into_iter().map(|(key, _, reason)| KeyProblem::new(key, reason)).collect();
    Err(Problem::of_keys(Kind::InvalidBody, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &serde_json::Value) -> DiscoverRequest {
        serde_json::from_value(json.clone()).unwrap()
    }

    fn allowing(range: &str) -> DiscoverySettings {
        DiscoverySettings { allowed_ranges: vec![range.parse().unwrap()], ..Default::default() }
    }

    #[test]
    fn a_scan_asks_every_port_of_every_address() {
        let asked =
            request(&serde_json::json!({"range": "192.0.2.0/31", "ports": [502, 503], "timeout": "2s"}));
        let scan = plan(&asked, &allowing("192.0.2.0/24")).unwrap();
        let endpoints: Vec<_> = scan.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["192.0.2.0:502", "192.0.2.0:503", "192.0.2.1:502", "192.0.2.1:503"]);
        assert_eq!((scan.units, scan.timeout), (vec![1], Duration::from_secs(2)));
    }

    #[test]
    fn a_range_outside_names_the_key_that_would_allow_it() {
        let problem = plan(&request(&serde_json::json!({"range": "192.0.2.1"})), &allowing("127.0.0.0/8"));
        let problem = problem.unwrap_err();
        assert_eq!(problem.status, 403);
        assert!(problem.detail.contains("discovery.allowed_ranges"));
    }

    #[test]
    fn too_much_or_nothing_is_refused_key_by_key() {
        let asked = request(&serde_json::json!({
            "range": "::/0", "ports": [0], "unit_ids": [1, 2], "timeout": "0s"
        }));
        let problem = plan(&asked, &allowing("::/0")).unwrap_err();
        let keys: Vec<_> = problem.errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!((problem.status, keys), (400, vec!["ports", "timeout", "range"]));
        let asked = request(&serde_json::json!({"range": "::1", "ports": [], "unit_ids": []}));
        assert_eq!(plan(&asked, &allowing("::/0")).unwrap_err().errors.len(), 2);
    }
}
