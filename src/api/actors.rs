//! `/api/actors`: the supervisor tree, and its branches by hand.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web::{self, Data, Json},
};
use bifrost_actors::supervision::{NodeSnapshot, TreeError, encode_name};
use bifrost_security::accounts::Permission;

use super::{
    dto::TreeQuery,
    endpoint::Endpoint,
    error::{Kind, Problem},
    path::segments_after,
    query::Query,
    schemas,
    state::ApiState,
};

const PREFIX: &str = "/api/actors/";
/// The tree's root.
const ROOT: &str = "/";
/// How long an order is waited for.
const MOMENT: Duration = Duration::from_secs(2);

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/actors").get(Permission::ActorsRead, tree),
        // A path has slashes, and an actor may be called `restart`: only its last segment is an action.
        Endpoint::at("/api/actors/{path:.+}")
            .other(Permission::ActorsRead, web::get().to(branch), Some((Method::GET, "/api/actors/{path}")))
            .other(Permission::ActorsRead, web::head().to(branch), None)
            .other(
                Permission::ActorsOrder,
                web::post().to(act),
                Some((Method::POST, "/api/actors/{path}/{action}")),
            ),
    ]
}

/// Shows the supervisor tree from its root.
#[utoipa::path(
    get, path = "/api/actors", tag = "actors", operation_id = "get_actor_tree", params(TreeQuery),
    responses((status = 200, description = "The tree", body = schemas::ActorSchema))
)]
pub(super) async fn tree(
    state: Data<ApiState>,
    query: Query<TreeQuery>,
) -> Result<Json<NodeSnapshot>, Problem> {
    snapshot(&state, ROOT, query.0.detail).await.map(Json)
}

/// Shows one branch of the tree.
#[utoipa::path(
    get, path = "/api/actors/{path}", tag = "actors", operation_id = "get_actor_branch",
    params(("path" = String, Path, description = "As in the tree, slashes included: `devices/press-1`"), TreeQuery),
    responses(
        (status = 200, description = "The branch", body = schemas::ActorSchema),
        (status = 404, description = "No such actor"),
    )
)]
pub(super) async fn branch(
    state: Data<ApiState>,
    request: HttpRequest,
    query: Query<TreeQuery>,
) -> Result<Json<NodeSnapshot>, Problem> {
    let path = path_of(&segments_after(&request, PREFIX)?)?;
    snapshot(&state, &path, query.0.detail).await.map(Json)
}

/// Restarts, stops or starts a branch: `POST /api/actors/devices/press-1/restart`.
///
/// What is stopped stays stopped until it is started, or the process is.
#[utoipa::path(
    post, path = "/api/actors/{path}/{action}", tag = "actors", operation_id = "control_actor",
    params(
        ("path" = String, Path, description = "As in the tree, slashes included: `devices/press-1`"),
        ("action" = String, Path, description = "`restart`, `stop` or `start`"),
    ),
    responses(
        (status = 202, description = "Begun; the branch as it is at this moment", body = schemas::ActorSchema),
        (status = 404, description = "No such actor or action"),
        (status = 409, description = "A WebSocket client can only be stopped"),
        (status = 503, description = "The tree doesn't answer"),
    )
)]
pub(super) async fn act(state: Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut names = segments_after(&request, PREFIX)?;
    let action = names.pop().unwrap_or_default();
    let Some(order) = Order::named(&action) else {
        let detail = format!("{action:?} is nothing an actor can be made to do; use restart, stop or start");
        return Err(Problem::new(Kind::UnknownPath, detail));
    };
    let path = path_of(&names)?;
    carry_out(&state, path.clone(), order).await?;
    let node = snapshot(&state, &path, false).await?;
    Ok(HttpResponse::build(StatusCode::ACCEPTED).json(node))
}

#[derive(Clone, Copy)]
enum Order {
    Restart,
    Stop,
    Start,
}

impl Order {
    fn named(name: &str) -> Option<Self> {
        match name {
            "restart" => Some(Self::Restart),
            "stop" => Some(Self::Stop),
            "start" => Some(Self::Start),
            _ => None,
        }
    }
}

/// Waits a moment for the end: most orders take none. One that takes longer goes on unwatched.
async fn carry_out(state: &Data<ApiState>, path: String, order: Order) -> Result<(), Problem> {
    let gateway = state.gateway().clone();
    let carried_out = actix_web::rt::spawn(async move {
        match order {
            Order::Restart => gateway.restart(&path).await,
            Order::Stop => gateway.stop(&path).await,
            Order::Start => gateway.start_actor(&path).await,
        }
    });
    match tokio::time::timeout(MOMENT, carried_out).await {
        Ok(Ok(result)) => result.map_err(|error| refused(&error)),
        Ok(Err(_)) => Err(Problem::new(Kind::Internal, "the order was cut off; see the log")),
        Err(_) => Ok(()),
    }
}

async fn snapshot(state: &ApiState, path: &str, detail: bool) -> Result<NodeSnapshot, Problem> {
    state.gateway().tree(path, detail).await.map_err(|error| refused(&error))
}

/// Names as the tree writes them: clients may encode more than they must.
fn path_of(names: &[String]) -> Result<String, Problem> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        let detail = "name the actor by its path in the tree, such as devices/press-1; see GET /api/actors";
        return Err(Problem::new(Kind::UnknownActor, detail));
    }
    Ok(names.iter().map(|name| encode_name(name)).collect::<Vec<_>>().join("/"))
}

fn refused(error: &TreeError) -> Problem {
    let kind = match error {
        TreeError::UnknownPath(_) => Kind::UnknownActor,
        TreeError::Guest(..) => Kind::NotControllable,
        TreeError::Gone => Kind::NotReady,
        TreeError::Exists(_) => Kind::Internal,
    };
    Problem::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_the_tree_does_however_much_the_client_encoded() {
        let names = ["devices".to_owned(), "a/b c".to_owned()];
        assert_eq!(path_of(&names).unwrap(), "devices/a%2Fb%20c");
        assert_eq!(path_of(&[]).unwrap_err().status, 404);
        assert_eq!(path_of(&["devices".to_owned(), String::new()]).unwrap_err().status, 404);
    }
}
