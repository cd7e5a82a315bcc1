use crate::document::name::AppName;

/// Why an application refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    #[error("\"{0}\" is being removed")]
    BeingRemoved(AppName),
    #[error("cannot {action} while a deployment is at work: wait for it or cancel it")]
    Deploying {
        /// `restart` or `roll back`.
        action: &'static str,
    },
    #[error("there is no release of \"{0}\" to restart: redeploy it")]
    NothingToRestart(AppName),
    #[error("\"{0}\" gets its code from repo.url: set repo to {{push: true}} to push it here")]
    NotPushed(AppName),
    #[error("{} is not kept; {}", name_release(*wanted), list(kept))]
    NoSuchRelease {
        /// `None` is the release before the current one.
        wanted: Option<u64>,
        kept: Vec<u64>,
    },
    #[error("deployment {0} is over already")]
    DeploymentIsOver(u64),
    #[error("there is no deployment {id} of \"{app}\"")]
    NoSuchDeployment { app: AppName, id: u64 },
}

fn name_release(wanted: Option<u64>) -> String {
    wanted.map_or("a release before the current one".to_owned(), |id| {
        format!("release {id}")
    })
}

fn list(kept: &[u64]) -> String {
    if kept.is_empty() {
        return "no release has been ready yet".to_owned();
    }
    let ids: Vec<_> = kept.iter().map(u64::to_string).collect();
    format!("kept are: {}", ids.join(", "))
}
