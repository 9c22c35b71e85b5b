//! The threads that run queries, and the bound on how many may wait for one.
//!
//! The engine's calls block, so they run on threads of their own and never on the runtime's. A place is taken before
//! a request's body is read, so that the bodies of waiting queries are bounded too.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::{Engine, KeepAlive};
use crate::exception::{Exception, code};
use crate::execute::{self, Job};
use crate::{Error, Options};

/// A place among the queries at work and waiting, given back when dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The engine and its threads.
pub(crate) struct Pool {
    engine: Arc<Engine>,
    keep_alive: KeepAlive,
    threads: Vec<JoinHandle<()>>,
    handle: Handle,
}

/// Hands jobs to the threads. Cloned into every request.
#[derive(Clone)]
pub(crate) struct Handle {
    places: Arc<Semaphore>,
    limit: usize,
    jobs: SyncSender<(Job, Place)>,
}

impl Pool {
    /// Starts the engine and its threads.
    pub(crate) fn start(options: &Options) -> Result<Self, Error> {
        let (engine, keep_alive) = Engine::start(options)?;
        let engine = Arc::new(engine);
        let workers = options.workers.max(1);
        let limit = workers + options.queue;
        // Room for every place, so that handing over a job never blocks.
        let (jobs, waiting) = sync_channel(limit);
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = (0..workers)
            .map(|number| {
                let (engine, waiting) = (Arc::clone(&engine), Arc::clone(&waiting));
                std::thread::Builder::new()
                    .name(format!("engine-{number}"))
                    .spawn(move || work(&engine, &waiting))
                    .map_err(|source| Error::Serve { source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let handle = Handle { places: Arc::new(Semaphore::new(limit)), limit, jobs };
        Ok(Self { engine, keep_alive, threads, handle })
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the threads, which end when no request holds a [`Handle`] any more, and closes the engine.
    pub(crate) fn stop(self) -> bool {
        let Self { engine, keep_alive, threads, handle } = self;
        drop(handle);
        for thread in threads {
            // A thread catches what its jobs panic with, so it does not panic itself.
            let _ = thread.join();
        }
        drop(engine);
        keep_alive.stop()
    }
}

impl Handle {
    /// Takes a place, or says that there is none.
    pub(crate) fn enter(&self) -> Result<Place, Exception> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(Place { _permit: permit }),
            Err(_) => {
                let message = format!("Too many simultaneous queries. Maximum: {}", self.limit);
                Err(Exception::new(code::TOO_MANY_SIMULTANEOUS_QUERIES, message))
            }
        }
    }

    /// Hands a job over; its answer comes by the channel inside it.
    pub(crate) fn submit(&self, job: Job, place: Place) -> Result<(), Exception> {
        self.jobs.send((job, place)).map_err(|_| Exception::new(code::STD_EXCEPTION, "the server is stopping"))
    }
}

fn work(engine: &Engine, waiting: &Mutex<Receiver<(Job, Place)>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, place)) = next else { return };
        let query_id = job.query_id.clone();
        if std::panic::catch_unwind(AssertUnwindSafe(|| execute::run(engine, job))).is_err() {
            // The answer's channel is closed by the unwinding, so the client gets an error.
            tracing::error!(query_id, "a query's thread panicked and goes on with the next query");
        }
        drop(place);
    }
}
