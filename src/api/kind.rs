//! The kinds of problems, one row each: status, name, title.

use actix_web::http::StatusCode;

/// What went wrong, as programs see it: the last part of a problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON.
    MalformedJson,
    /// The body is JSON of another shape.
    InvalidBody,
    /// A query parameter that doesn't exist or doesn't fit.
    InvalidQuery,
    /// A path that can't be read.
    InvalidPath,
    /// No `Host`, so that nobody knows whom the request is for.
    MissingHost,
    /// `Host` names somebody else: a page that was led here by DNS rebinding.
    ForeignHost,
    /// A page of another origin asks.
    ForeignOrigin,
    /// Discovery outside of what the configuration allows.
    RangeNotAllowed,
    /// Nobody who is known asks.
    Unauthenticated,
    /// Who asks may not.
    PermissionMissing,
    /// A new password is due before anything else.
    PasswordChangeDue,
    /// Too many log-ins have failed.
    TooManyAttempts,
    /// Nothing at this path.
    UnknownPath,
    /// No such device.
    UnknownDevice,
    /// No such tag of a device that exists.
    UnknownTag,
    /// No such actor.
    UnknownActor,
    /// No such alarm.
    UnknownAlarm,
    /// No such dead letter.
    UnknownLetter,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The client took too long to send its request.
    SlowRequest,
    /// A device of this id exists.
    DeviceExists,
    /// The actor ends with its client and can't be made to do this.
    NotControllable,
    /// A dead letter isn't taken this time either, or is on its way already.
    ReplayRefused,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body is no JSON by its own account.
    UnsupportedMediaType,
    /// Settings that can't work.
    InvalidSettings,
    /// The path speaks WebSocket only.
    UpgradeRequired,
    /// A fault of the gateway.
    Internal,
    /// The device can't be reached, or didn't answer properly.
    DeviceUnreachable,
    /// The audit trail can't be written or read.
    AuditUnavailable,
    /// No account, token or session of that name.
    UnknownIdentity,
    /// Accounts can't be so: two of a name, nobody who manages them.
    IdentityConflict,
    /// The gateway can't answer this now; it can soon.
    NotReady,
    /// Too much is waiting for this device already.
    DeviceBusy,
    /// As many WebSocket clients as allowed are there.
    TooManyClients,
    /// The answer took too long to be made.
    RequestTimeout,
    /// The device was asked and didn't answer in time.
    DeviceTimeout,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The last part of the problem's `type`.
    pub fn slug(self) -> &'static str {
        self.row().1
    }

    /// In a few words, always the same.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (S::BAD_REQUEST, "malformed-json", "The body is no JSON"),
            Self::InvalidBody => (S::BAD_REQUEST, "invalid-body", "The body doesn't fit"),
            Self::InvalidQuery => (S::BAD_REQUEST, "invalid-query", "A parameter doesn't fit"),
            Self::InvalidPath => (S::BAD_REQUEST, "invalid-path", "The path can't be read"),
            Self::MissingHost => (S::BAD_REQUEST, "missing-host", "The request names no host"),
            Self::ForeignHost => (S::FORBIDDEN, "foreign-host", "The request is for another host"),
            Self::ForeignOrigin => (S::FORBIDDEN, "foreign-origin", "Another site's page asks"),
            Self::RangeNotAllowed => (S::FORBIDDEN, "range-not-allowed", "Range not allowed"),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "Who asks isn't known"),
            Self::PermissionMissing => (S::FORBIDDEN, "permission-missing", "A permission is missing"),
            Self::PasswordChangeDue => {
                (S::FORBIDDEN, "password-change-due", "A new password is due before anything else")
            }
            Self::TooManyAttempts => (S::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts"),
            Self::UnknownPath => (S::NOT_FOUND, "unknown-path", "Nothing at this path"),
            Self::UnknownDevice => (S::NOT_FOUND, "unknown-device", "Unknown device"),
            Self::UnknownTag => (S::NOT_FOUND, "unknown-tag", "Unknown tag"),
            Self::UnknownActor => (S::NOT_FOUND, "unknown-actor", "Unknown actor"),
            Self::UnknownAlarm => (S::NOT_FOUND, "unknown-alarm", "Unknown alarm"),
            Self::UnknownIdentity => (S::NOT_FOUND, "unknown-identity", "Unknown account, token or session"),
            Self::IdentityConflict => (S::CONFLICT, "identity-conflict", "The account can't be so"),
            Self::UnknownLetter => (S::NOT_FOUND, "unknown-letter", "Unknown dead letter"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed here")
            }
            Self::SlowRequest => (S::REQUEST_TIMEOUT, "slow-request", "The request came too slowly"),
            Self::DeviceExists => (S::CONFLICT, "device-exists", "The device exists"),
            Self::NotControllable => (S::CONFLICT, "not-controllable", "The actor can't do this"),
            Self::ReplayRefused => (S::CONFLICT, "replay-refused", "The dead letter stays"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::InvalidSettings => (S::UNPROCESSABLE_ENTITY, "invalid-settings", "The settings can't work"),
            Self::UpgradeRequired => (S::UPGRADE_REQUIRED, "upgrade-required", "This path speaks WebSocket"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "A fault of the gateway"),
            Self::DeviceUnreachable => (S::BAD_GATEWAY, "device-unreachable", "The device can't be reached"),
            Self::AuditUnavailable => {
                (S::SERVICE_UNAVAILABLE, "audit-unavailable", "What is asked can't be recorded")
            }
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::DeviceBusy => (S::SERVICE_UNAVAILABLE, "device-busy", "The device is busy"),
            Self::TooManyClients => {
                (S::SERVICE_UNAVAILABLE, "too-many-clients", "Too many WebSocket clients")
            }
            Self::RequestTimeout => (S::GATEWAY_TIMEOUT, "request-timeout", "It took too long"),
            Self::DeviceTimeout => (S::GATEWAY_TIMEOUT, "device-timeout", "The device didn't answer"),
        }
    }
}
