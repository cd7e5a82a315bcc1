//! Removes an app: its processes have stopped, its files go.

use actix::prelude::*;

use super::App;
use crate::app::engine::elsewhere;
use crate::app::operations::Outcome;
use crate::app::removal::finish_removal;
use crate::install::record::{Failure, Step};
use crate::supervision::Exit;

impl App {
    /// Removes the files, then ends this actor. All children are gone.
    pub(super) fn remove_files(&mut self, ctx: &mut Context<Self>) {
        let Some(removal) = self.deployer.removal.take() else {
            return;
        };
        let (dirs, name) = (self.spec.dirs.clone(), self.spec.config.name.clone());
        let context = self.spec.context.clone();
        let config_dir = context.settings.config_dir.clone();
        self.spec.context.drains.forget(self.name());
        self.spec.context.receivers.forget(self.name());
        self.spec.context.app_logs.forget(self.name());
        self.spec.context.events.forget(self.name());
        let (written, withdrawn) = (self.deployer.written(), self.publisher.settled());
        let work = async move {
            written.await;
            withdrawn.await;
            let keep_storage = removal.keep_storage;
            if !keep_storage {
                // As long as its image is here.
                elsewhere::remove_volumes(name.clone(), context).await;
            }
            let finish = move || finish_removal(&config_dir, &name, &dirs, keep_storage);
            actix_rt::task::spawn_blocking(finish).await
        };
        ctx.spawn(work.into_actor(self).map(move |removed, app, ctx| {
            let problem = match removed {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(e.to_string()),
                Err(e) => Some(e.to_string()),
            };
            let Some(operation) = removal.operation else {
                return app.leave(Exit::Normal, ctx);
            };
            match problem {
                None => operation.close(Outcome::Done),
                Some(problem) => {
                    log::error!(
                        "{}: not all of its files could be removed: {problem}",
                        app.name()
                    );
                    operation.close(Outcome::Failed(Box::new(Failure {
                        step: Step::Stop,
                        reason: format!(
                            "it is stopped, but not all of its files could be removed: {problem}"
                        ),
                        exit_code: None,
                        signal: None,
                        log_tail: vec![],
                        hint: Some("remove what is left by hand".to_owned()),
                    })));
                }
            }
            app.leave(Exit::Normal, ctx);
        }));
    }
}
