//! One path with its methods: registers them behind what each asks for, and remembers them for whoever
//! compares the description. No method can be added without saying who may use it.

use actix_web::{FromRequest, Handler, Resource, Responder, Route, http::Method, middleware::from_fn, web};

use super::auth::{Access, guard};

/// One path with its methods. What isn't there is answered by 405 with `Allow`.
pub(super) struct Endpoint {
    path: &'static str,
    resource: Resource,
    documented: Vec<(Method, &'static str, Access)>,
}

impl Endpoint {
    /// A path, in actix's notation.
    pub(super) fn at(path: &'static str) -> Self {
        Self { path, resource: web::resource(path), documented: Vec::new() }
    }

    /// `GET`, and with it `HEAD`.
    pub(super) fn get<F, Args>(self, access: impl Into<Access>, handler: F) -> Self
    where
        F: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let (path, access) = (self.path, access.into());
        self.other(access, web::get().to(handler.clone()), Some((Method::GET, path))).other(
            access,
            web::head().to(handler),
            None,
        )
    }

    /// `POST`.
    pub(super) fn post<F, Args>(self, access: impl Into<Access>, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.other(access, web::post().to(handler), Some((Method::POST, path)))
    }

    /// `PUT`.
    pub(super) fn put<F, Args>(self, access: impl Into<Access>, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.other(access, web::put().to(handler), Some((Method::PUT, path)))
    }

    /// `DELETE`.
    pub(super) fn delete<F, Args>(self, access: impl Into<Access>, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.other(access, web::delete().to(handler), Some((Method::DELETE, path)))
    }

    /// A method that the description shows under another path, or leaves out (`None`).
    pub(super) fn other(
        mut self,
        access: impl Into<Access>,
        route: Route,
        shown: Option<(Method, &'static str)>,
    ) -> Self {
        let access = access.into();
        self.documented.extend(shown.map(|(method, path)| (method, path, access)));
        let guarded = route.wrap(from_fn(move |request, next| guard(access, request, next)));
        self.resource = self.resource.route(guarded);
        self
    }

    /// Methods and paths as the description shows them, with who may use them.
    pub(super) fn documented(&self) -> &[(Method, &'static str, Access)] {
        &self.documented
    }

    /// Hands the path over to the server.
    pub(super) fn register(self, config: &mut web::ServiceConfig) {
        config.service(self.resource);
    }
}
