//! What brokers say in a byte: reason codes of MQTT 5 (section 2.4) and return codes of 3.1.1 (table 3.1).

use mqtt::{ConnectReturnCode, ReasonCode};
use paho_mqtt as mqtt;

use crate::broker::Outcome;

/// A reason's number.
pub(super) fn number(reason: ReasonCode) -> u8 {
    u8::try_from(reason as u32).unwrap_or(u8::MAX)
}

/// A reason's name, as the specification has it.
pub(super) fn name(reason: ReasonCode) -> &'static str {
    match number(reason) {
        128 => "unspecified error",
        129 => "malformed packet",
        130 => "protocol error",
        131 => "implementation specific error",
        132 => "unsupported protocol version",
        133 => "client identifier not valid",
        134 => "bad user name or password",
        135 => "not authorized",
        136 => "server unavailable",
        137 => "server busy",
        138 => "banned",
        139 => "server shutting down",
        140 => "bad authentication method",
        141 => "keep alive timeout",
        142 => "session taken over",
        143 => "topic filter invalid",
        144 => "topic name invalid",
        145 => "packet identifier in use",
        146 => "packet identifier not found",
        147 => "receive maximum exceeded",
        148 => "topic alias invalid",
        149 => "packet too large",
        150 => "message rate too high",
        151 => "quota exceeded",
        152 => "administrative action",
        153 => "payload format invalid",
        154 => "retain not supported",
        155 => "QoS not supported",
        156 => "use another server",
        157 => "server moved",
        158 => "shared subscriptions not supported",
        159 => "connection rate exceeded",
        160 => "maximum connect time",
        161 => "subscription identifiers not supported",
        162 => "wildcard subscriptions not supported",
        _ => "no reason",
    }
}

/// A return code of 3.1.1 as the reason that it is in MQTT 5.
pub(super) fn of_return_code(code: ConnectReturnCode) -> ReasonCode {
    match code {
        ConnectReturnCode::Accepted => ReasonCode::Success,
        ConnectReturnCode::UnacceptableProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
        ConnectReturnCode::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
        ConnectReturnCode::ServerUnavailable => ReasonCode::ServerUnavailable,
        ConnectReturnCode::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
        ConnectReturnCode::NotAuthorized => ReasonCode::NotAuthorized,
    }
}

/// What to do when a connection is refused.
pub(super) fn advice(reason: ReasonCode) -> &'static str {
    match number(reason) {
        132 => "set version to what the broker has",
        133 => "choose another client_id",
        134 => "check username and password",
        135 => "check username and password, or the certificate, and what the broker allows this client_id",
        136 | 137 | 139 | 151 | 159 => "it is tried again later",
        138 => "ask whoever runs the broker",
        140 => "the broker wants a way to log in that isn't supported",
        144 => "the broker doesn't allow the topic of the gateway's status",
        156 | 157 => "write the other server into broker or failover",
        _ => "look into the broker's log",
    }
}

/// What becomes of a message that the broker answers with this reason.
pub(super) fn outcome(reason: ReasonCode) -> Outcome {
    let text = format!("{} {}", number(reason), name(reason));
    match reason {
        _ if reason.is_ok() => Outcome::Delivered,
        ReasonCode::QuotaExceeded
        | ReasonCode::MessageRateTooHigh
        | ReasonCode::ServerBusy
        | ReasonCode::ServerUnavailable
        | ReasonCode::PacketIdentifierInUse
        | ReasonCode::PacketIdentifierNotFound
        | ReasonCode::ReceiveMaximumExceeded => Outcome::Again(text),
        _ => Outcome::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_broker_is_asked_again_and_a_forbidden_topic_is_not() {
        for (reason, expected) in [
            (ReasonCode::Success, Outcome::Delivered),
            (ReasonCode::NoMatchingSubscribers, Outcome::Delivered),
            (ReasonCode::QuotaExceeded, Outcome::Again("151 quota exceeded".to_owned())),
            (ReasonCode::NotAuthorized, Outcome::Refused("135 not authorized".to_owned())),
            (ReasonCode::PacketTooLarge, Outcome::Refused("149 packet too large".to_owned())),
            (ReasonCode::TopicNameInvalid, Outcome::Refused("144 topic name invalid".to_owned())),
        ] {
            assert_eq!(outcome(reason), expected);
        }
    }

    #[test]
    fn return_codes_of_3_1_1_have_the_names_of_mqtt_5() {
        let reason = of_return_code(ConnectReturnCode::BadUserNameOrPassword);
        assert_eq!((number(reason), name(reason)), (134, "bad user name or password"));
    }
}
