//! What must be so before any service starts: the four topics with their settings, and every schema registered.

use helix_schemas::{registry::Registry, schema::SUBJECTS};

use super::{Component, Work, step};
use crate::{ports::Ports, topics};

pub(crate) fn component(ports: &Ports) -> Component {
    let connection = vec![("bootstrap.servers".to_owned(), ports.address("kafka").to_string())];
    let url = format!("http://{}", ports.address("registry"));
    let work = step(move || {
        let (connection, url) = (connection.clone(), url.clone());
        async move {
            topics::ensure(&connection, 1).await.map_err(|error| error.to_string())?;
            let registry = Registry::new(&url);
            for subject in &SUBJECTS {
                registry.register_all(subject).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        }
    });
    Component {
        name: "topics".to_owned(),
        port: None,
        needs: vec!["kafka".to_owned(), "registry".to_owned()],
        work: Work::Task(work),
    }
}
