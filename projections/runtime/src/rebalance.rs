//! Taking and giving back partitions: the loop's answers to what the group asked for.

use std::{
    collections::VecDeque,
    sync::PoisonError,
    time::{Duration, Instant},
};

use rdkafka::{Offset as KafkaOffset, TopicPartitionList, consumer::Consumer};

use crate::{
    client::Rebalance,
    config::Membership,
    engine::EngineError,
    event_loop::{FIRST_RETRY, LAST_RETRY, Loop, POLL, Retry, patiently},
    fault::{self, Point},
    store::{Position, Standing, Store, StoreError},
};

const METADATA: Duration = Duration::from_secs(10);

impl<S: Store> Loop<S> {
    /// The partitions of a topic that is taken whole; waits until there are some.
    pub(crate) fn all_partitions(&self) -> Result<Vec<i32>, EngineError> {
        loop {
            self.status.turned();
            match self.consumer.fetch_metadata(Some(&self.config.topic), METADATA) {
                Ok(metadata) => {
                    let partitions: Vec<i32> = metadata
                        .topics()
                        .iter()
                        .flat_map(rdkafka::metadata::MetadataTopic::partitions)
                        .map(rdkafka::metadata::MetadataPartition::id)
                        .collect();
                    if !partitions.is_empty() || self.stopping() {
                        return Ok(partitions);
                    }
                    tracing::warn!(topic = self.config.topic, "the topic does not exist yet");
                }
                Err(error) if self.stopping() => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "the broker does not answer"),
            }
            std::thread::sleep(FIRST_RETRY);
        }
    }

    fn noted(&mut self) {
        let mut noted = self.consumer.context().rebalances.lock().unwrap_or_else(PoisonError::into_inner);
        self.rebalances.extend(noted.drain(..));
    }

    /// Works off what the group has asked for since.
    pub(crate) fn rebalance(&mut self) -> Result<(), EngineError> {
        self.noted();
        while let Some(event) = self.rebalances.pop_front() {
            match event {
                Rebalance::Revoked(partitions) => self.give_back(&partitions)?,
                Rebalance::Assigned(partitions) => {
                    self.status.shared_out(partitions.len());
                    if !self.acquire(&partitions)? {
                        return self.wait_with(partitions);
                    }
                }
            }
        }
        Ok(())
    }

    /// Partitions wait for the store; what the group asks for beyond them does not.
    fn wait_with(&mut self, mut waiting: Vec<i32>) -> Result<(), EngineError> {
        let mut further: VecDeque<Rebalance> = std::mem::take(&mut self.rebalances);
        while let Some(event) = further.pop_front() {
            match event {
                Rebalance::Revoked(partitions) => {
                    waiting.retain(|partition| !partitions.contains(partition));
                    self.give_back(&partitions)?;
                }
                Rebalance::Assigned(partitions) => {
                    self.answer()?;
                    waiting.extend(partitions);
                }
            }
        }
        if waiting.is_empty() {
            self.acquire_again = None;
        } else {
            self.rebalances.push_front(Rebalance::Assigned(waiting));
        }
        Ok(())
    }

    /// Answers an assignment before its partitions are taken, or instead: the client has none of them for now. While one is
    /// not answered, the client takes part in no other rebalance, and the whole group waits for it.
    fn answer(&self) -> Result<(), EngineError> {
        if self.config.membership == Membership::Group {
            self.consumer.incremental_assign(&TopicPartitionList::new())?;
        }
        Ok(())
    }

    /// Raises the epoch of partitions, reads where they stand and reads on from there. False where the store does not
    /// answer: nothing flows of these partitions until it does.
    fn acquire(&mut self, partitions: &[i32]) -> Result<bool, EngineError> {
        if self.acquire_again.as_ref().is_some_and(|again| Instant::now() < again.at) {
            return Ok(false);
        }
        let (positions, paused) = match self.ask_for(partitions) {
            Ok(answer) => answer,
            Err(StoreError::Unavailable(error) | StoreError::TooLong(error)) => {
                tracing::warn!(projection = self.projection, %error, "the store does not answer; trying again");
                if self.acquire_again.is_none() {
                    self.answer()?;
                }
                self.acquire_again = Some(Retry::after(self.acquire_again.as_ref()));
                return Ok(false);
            }
            Err(source) => return Err(self.store_error(source)),
        };
        fault::pass(Point::InRebalance);
        self.acquire_again = None;
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            let next = KafkaOffset::Offset(position.next_offset.0);
            list.add_partition_offset(&self.config.topic, position.partition, next)?;
            self.status.acquired(&position);
            self.held.acquired(position);
        }
        match self.config.membership {
            Membership::Group => self.consumer.incremental_assign(&list)?,
            Membership::All => self.consumer.assign(&list)?,
        }
        self.pause(paused)?;
        // The client remembers that a partition was paused, also from an earlier time it was ours.
        if self.flowing { self.consumer.resume(&list) } else { self.consumer.pause(&list) }?;
        tracing::info!(projection = self.projection, ?partitions, "partitions acquired");
        Ok(true)
    }

    /// What the store says of partitions that are acquired, and whether the projection is paused.
    fn ask_for(&mut self, partitions: &[i32]) -> Result<(Vec<Position>, bool), StoreError> {
        let mut all = self.held.partitions();
        all.extend(partitions);
        let (store, topic) = (&mut self.store, &self.config.topic);
        self.runtime.block_on(patiently(async {
            let positions = store.acquire(topic, partitions).await?;
            let standing = store.standing(topic, &all).await?;
            Ok((positions, standing.is_some_and(|Standing { paused, .. }| paused)))
        }))
    }

    /// Applies what is held of revoked partitions (drops it where the group has given them to another already), then
    /// lets go of them.
    fn give_back(&mut self, partitions: &[i32]) -> Result<(), EngineError> {
        let lost = self.consumer.assignment_lost();
        if !lost {
            fault::pass(Point::InDrain);
            self.drain()?;
        }
        let assigned = self.consumer.assignment()?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // The client has none of what waits for the store.
            if assigned.find_partition(&self.config.topic, *partition).is_some() {
                list.add_partition(&self.config.topic, *partition);
            }
            self.release(*partition);
        }
        self.recount();
        self.consumer.incremental_unassign(&list)?;
        tracing::info!(projection = self.projection, ?partitions, lost, "partitions given back");
        Ok(())
    }

    /// Asks the group again who holds what: progress is then read anew from the store. An instance that takes every
    /// partition stops instead: its successor is at work.
    pub(crate) fn rejoin(&mut self, partition: i32) -> Result<(), EngineError> {
        if self.config.membership == Membership::All {
            return Err(self.store_error(StoreError::Fenced { partition }));
        }
        self.consumer.unsubscribe();
        self.acquire_again = None;
        let deadline = Instant::now() + LAST_RETRY;
        loop {
            self.status.turned();
            // What is noted until then is of the old membership: revocations are answered, assignments declined.
            self.noted();
            while let Some(event) = self.rebalances.pop_front() {
                match event {
                    Rebalance::Revoked(partitions) => self.give_back(&partitions)?,
                    Rebalance::Assigned(_) => self.answer()?,
                }
            }
            if self.consumer.assignment()?.count() == 0 || Instant::now() > deadline {
                break;
            }
            drop(self.consumer.poll(POLL));
        }
        self.consumer.subscribe(&[&self.config.topic])?;
        Ok(())
    }
}
