//! Runs what is async in tough, for callers that are not.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// What runs tough's futures. There is always a runtime in it until it is dropped.
#[derive(Debug)]
pub(crate) struct Driver(Option<Runtime>);

impl Driver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    pub(crate) fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> io::Result<T> {
        let runtime = self.0.as_ref().ok_or_else(|| io::Error::other("the runtime is gone"))?;
        if Handle::try_current().is_err() {
            return Ok(runtime.block_on(future));
        }
        // A thread of another runtime. If it is one that runs async code, tokio would panic.
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || runtime.block_on(future))?;
            Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }
}

impl Drop for Driver {
    /// Otherwise a runtime waits for what it still runs, and panics where waiting is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
