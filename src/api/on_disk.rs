//! What a call has to wait for the disk for.

use actix_web::web;

use super::problem::Problem;

/// Does `work` on a thread for what blocks, to its end, also where the client goes away.
pub(super) async fn on_disk<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Send + 'static,
    Problem: From<E>,
{
    let done = web::block(work).await;
    Ok(done.map_err(|_| Problem::unavailable("The server is being stopped."))??)
}
