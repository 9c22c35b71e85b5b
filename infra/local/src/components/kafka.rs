//! Kafka in KRaft mode: controller and broker in one JVM, on loopback, with topics only as we make them.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Component, Process, Stop, Work, step};
use crate::{error::Error, files, health::Probe, home::Home, ports::Ports, process::Launch, tools::Tools};

const LOG4J2: &str = include_str!("../../../kafka/log4j2.properties");
const SETTINGS: &str = include_str!("../../../kafka/server.properties");

/// Starts fast and stays small: no profiling compiler, a collector without threads of its own.
const JVM: [&str; 6] =
    ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"];

pub(crate) fn component(home: &Home, ports: &Ports, tools: &Tools) -> Result<Component, Error> {
    let folder = home.data("kafka");
    files::folder(&folder, 0o700)?;
    let properties = folder.join("server.properties");
    let log4j2 = folder.join("log4j2.properties");
    files::write(&properties, &settings(ports, &folder.join("log")), files::PUBLIC)?;
    files::write(&log4j2, LOG4J2, files::PUBLIC)?;
    let java = tools.java.clone().unwrap_or_default();
    let class_path = tools.kafka_jars.join("*");
    let run = move |main: &str, arguments: &[&str]| {
        let mut all: Vec<String> = JVM.iter().map(|flag| (*flag).to_owned()).collect();
        all.push(format!("-Dlog4j2.configurationFile={}", log4j2.display()));
        all.extend(["-cp".to_owned(), class_path.display().to_string(), main.to_owned()]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Launch { folder: folder.clone(), ..Launch::new(&java, all) }
    };
    let file = properties.display().to_string();
    let launch = run("kafka.Kafka", &[&file]);
    let formatted = home.data("kafka").join("log/meta.properties");
    let before = step(move || {
        let formatted = formatted.clone();
        let cluster = cluster_id();
        let format =
            cluster.map(|id| run("kafka.tools.StorageTool", &["format", "--cluster-id", &id, "--config", &file]));
        async move {
            if formatted.is_file() {
                return Ok(());
            }
            format?.finish().await.map(|_| ())
        }
    });
    let process = Process {
        before: Some(before),
        stop: Stop { within: Duration::from_secs(20), ..Process::new(launch.clone(), Probe::Running).stop },
        ..Process::new(launch, Probe::Kafka { address: ports.address("kafka") })
    };
    Ok(Component {
        name: "kafka".to_owned(),
        port: Some(ports.of("kafka")),
        needs: Vec::new(),
        work: Work::Process(Box::new(process)),
    })
}

fn settings(ports: &Ports, log: &Path) -> String {
    SETTINGS
        .replace("@BROKER@", &ports.address("kafka").to_string())
        .replace("@CONTROLLER@", &ports.address("kafka-controller").to_string())
        .replace("@LOG@", &log.display().to_string())
}

/// 16 random bytes as Kafka writes them.
fn cluster_id() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    // Kafka's tools take a leading dash for an option.
    bytes[0] &= 0x7f;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
