//! One path with its methods: registers them, and remembers them for whoever compares the description.

use actix_web::{FromRequest, Handler, Resource, Responder, Route, http::Method, web};

/// One path with its methods. What isn't there is answered by 405 with `Allow`.
pub(super) struct Endpoint {
    path: &'static str,
    resource: Resource,
    documented: Vec<(Method, &'static str)>,
}

impl Endpoint {
    /// A path, in actix's notation.
    pub(super) fn at(path: &'static str) -> Self {
        Self { path, resource: web::resource(path), documented: Vec::new() }
    }

    /// `GET`, and with it `HEAD`.
    pub(super) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.route(web::get().to(handler.clone())).route(web::head().to(handler)).named(Method::GET, path)
    }

    /// `POST`.
    pub(super) fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.route(web::post().to(handler)).named(Method::POST, path)
    }

    /// `PUT`.
    pub(super) fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.route(web::put().to(handler)).named(Method::PUT, path)
    }

    /// `DELETE`.
    pub(super) fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = self.path;
        self.route(web::delete().to(handler)).named(Method::DELETE, path)
    }

    /// A method that the description shows under another path, or leaves out (`None`).
    pub(super) fn other(mut self, route: Route, shown: Option<(Method, &'static str)>) -> Self {
        self.documented.extend(shown);
        self.route(route)
    }

    fn route(mut self, route: Route) -> Self {
        self.resource = self.resource.route(route);
        self
    }

    fn named(mut self, method: Method, path: &'static str) -> Self {
        self.documented.push((method, path));
        self
    }

    /// Methods and paths as the description shows them.
    pub(super) fn documented(&self) -> &[(Method, &'static str)] {
        &self.documented
    }

    /// Hands the path over to the server.
    pub(super) fn register(self, config: &mut web::ServiceConfig) {
        config.service(self.resource);
    }
}
