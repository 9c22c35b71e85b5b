//! Floors in HTTP: a bare axum handler that reads the body and answers 202; with records, it also writes the next of
//! them and waits for its acknowledgement, which is the least that one process could do.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use clap::Args;
use rdkafka::producer::FutureProducer;
use tokio::net::TcpListener;

use crate::{
    WORKERS,
    bare_produce::{Records, enqueue, producer},
};

/// What it does beside reading.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Records to write, one a request.
    #[arg(long, requires = "config")]
    records: Option<PathBuf>,
    /// The stack's configuration.
    #[arg(long)]
    config: Option<PathBuf>,
}

struct Writing {
    producer: FutureProducer,
    records: Records,
    next: AtomicUsize,
}

/// Serves until it is killed; its first line is its address.
pub(crate) fn run(options: &Options) -> Result<()> {
    let writing = match (&options.records, &options.config) {
        (Some(records), Some(config)) => {
            let (producer, records) = (producer(config)?, Records::read(records)?);
            Some(Arc::new(Writing { producer, records, next: AtomicUsize::new(0) }))
        }
        (_, _) => None,
    };
    let handler = move |_body: Bytes| {
        let writing = writing.clone();
        async move {
            match writing {
                Some(writing) => writing.write().await,
                None => StatusCode::ACCEPTED,
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let routes = Router::new().route("/{*path}", post(handler));
        Ok(axum::serve(listener, routes).await?)
    })
}

impl Writing {
    async fn write(&self) -> StatusCode {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let delivery = match self.records.at(index) {
            Some(record) => enqueue(&self.producer, record),
            None => return StatusCode::INTERNAL_SERVER_ERROR,
        };
        match delivery {
            Ok(delivery) => match delivery.await {
                Ok(Ok(_)) => StatusCode::ACCEPTED,
                Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
