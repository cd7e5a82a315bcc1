//! Gives every error of the rest of the server its HTTP status: nobody else knows one.
//!
//! The caller is told what to do about the error. What only the administrator can mend also goes to the server's log.

use actix::MailboxError;
use actix_web::http::StatusCode;

use super::problem::Problem;
use crate::account::AccountError;
use crate::app::apps::AppsError;
use crate::app::deployer::AppError;
use crate::app::one_offs::OneOffError;
use crate::backup::error::BackupError;
use crate::document::config::FieldError;
use crate::document::json5::SyntaxError;
use crate::hooks::store::HookError;
use crate::install::record::Failure;
use crate::logs::log::LogError;

impl From<SyntaxError> for Problem {
    fn from(error: SyntaxError) -> Self {
        let detail = format!("The body is not JSON or JSON5: {error}");
        Self::new(StatusCode::BAD_REQUEST, detail)
            .with("line", error.line.into())
            .with("column", error.column.into())
    }
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::invalid(&errors)
    }
}

impl From<AppsError> for Problem {
    fn from(error: AppsError) -> Self {
        let status = match &error {
            AppsError::NoSuchApp(_) | AppsError::NoSuchOrphan(_) => StatusCode::NOT_FOUND,
            AppsError::Exists(_)
            | AppsError::BeingRemoved(_)
            | AppsError::NotGoneYet(_)
            | AppsError::Restarting(_)
            | AppsError::PortOfApp { .. }
            | AppsError::PortOfServer(_)
            | AppsError::PortOfProcesses { .. }
            | AppsError::HostOfApp { .. }
            | AppsError::HostOfServer(_)
            | AppsError::Taken(_)
            | AppsError::NoOrphan(_)
            | AppsError::HasDocument(..)
            | AppsError::TooManyPreviews { .. }
            | AppsError::Stale(_) => StatusCode::CONFLICT,
            AppsError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            AppsError::NotStored { .. } | AppsError::NotRemoved(_) | AppsError::NotListed(_) => {
                log::error!("API: {error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
            AppsError::App(error) => return error.clone().into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        let status = match &error {
            BackupError::Damaged(_)
            | BackupError::Refused { .. }
            | BackupError::TooNew(_)
            | BackupError::NotInIt(..)
            | BackupError::Document { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            BackupError::NoSuchApp(_) => StatusCode::NOT_FOUND,
            BackupError::Exist(_) | BackupError::Busy => StatusCode::CONFLICT,
            BackupError::NoSpace { .. } | BackupError::Io { .. } => {
                log::error!("API: {error}");
                StatusCode::INSUFFICIENT_STORAGE
            }
            BackupError::Output(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<HookError> for Problem {
    fn from(error: HookError) -> Self {
        log::error!("API: webhook: {error}");
        match &error {
            HookError::Damaged(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            HookError::Io { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let status = match &error {
            AppError::NoSuchRelease { .. } | AppError::NoSuchDeployment { .. } => {
                StatusCode::NOT_FOUND
            }
            AppError::BeingRemoved(_)
            | AppError::Deploying { .. }
            | AppError::NothingToRestart(_)
            | AppError::NotPushed(_)
            | AppError::DeploymentIsOver(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

impl From<OneOffError> for Problem {
    fn from(error: OneOffError) -> Self {
        let status = match &error {
            OneOffError::NoSuchRun { .. } | OneOffError::NoSuchJob { .. } => StatusCode::NOT_FOUND,
            OneOffError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            OneOffError::NotStarted(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OneOffError::BeingRemoved(_)
            | OneOffError::NoRelease(_)
            | OneOffError::JobAtWork(_)
            | OneOffError::Detached(_)
            | OneOffError::Taken(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

impl From<MailboxError> for Problem {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::unavailable(
                "This part of the server is being restarted: try again in a moment.",
            ),
            MailboxError::Timeout => {
                log::error!("API: an actor has not answered a request in time");
                Self::unavailable("The server is too busy to answer: try again in a moment.")
            }
        }
    }
}

impl Problem {
    /// The account of a document: the field that names it is wrong, or passwd cannot be asked. `names_user` says
    /// whether the document names the user itself.
    pub(super) fn of_account(error: &AccountError, names_user: bool) -> Self {
        let (pointer, detail) = match error {
            AccountError::NoGroup(_) => ("/group", error.to_string()),
            AccountError::NoUser(_) if !names_user => (
                "/user",
                format!("is absent, and of the setting default_user: {error}"),
            ),
            AccountError::NoUser(_) | AccountError::Root(_) | AccountError::OfSsh(_) => {
                ("/user", error.to_string())
            }
            AccountError::Lookup(..) | AccountError::NotMade(_) => {
                log::error!("API: {error}");
                return Self::unavailable(&error.to_string());
            }
        };
        let pointer = pointer.to_owned();
        Self::invalid(&[FieldError { pointer, detail }])
    }

    /// The log of application `app` cannot be read. Its path is nothing that the caller could mend.
    pub(super) fn of_log(error: &LogError, app: &str) -> Self {
        match error {
            LogError::TooManyReaders(_) => Self::unavailable(&format!("{error}.")),
            LogError::Io { .. } => {
                log::error!("{app}: log: {error}");
                let detail = "The log cannot be read: the server's own log says why.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }

    /// An operation has failed: what the document asks for does not work.
    pub(super) fn of_failure(failure: &Failure) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, failure.to_string())
    }

    /// An operation never came to its end, because another took its place.
    pub(super) fn of_dropped(why: String) -> Self {
        Self::new(StatusCode::CONFLICT, why)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    #[test]
    fn unreachable_actors_ask_to_try_again() {
        let response = Problem::from(MailboxError::Closed).error_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get("retry-after").unwrap(), "2");
    }
}
