//! Tests of several nodes: leader changes, stopped nodes, and a dropped broker.

use kafka_direct_broker::Broker;
use kafka_protocol::messages::{FetchRequest, MetadataRequest};

use crate::client::{Client, fetch, partitions, values, want};

#[tokio::test]
async fn every_node_serves_only_the_partitions_it_leads() {
    let broker = Broker::builder().nodes(3).start().await.unwrap();
    broker.create_topic("t", 3).unwrap();
    for (node, address) in (0..).zip(broker.addresses()) {
        let mut client = Client::tcp(&address).await;
        let response = client.call(11, fetch((0..3).map(|p| want(p, 0)).collect())).await;
        let codes: Vec<_> = partitions(&response).iter().map(|p| p.error_code).collect();
        let expected: Vec<_> = (0..3).map(|p| if p == node { 0 } else { 6 }).collect();
        assert_eq!(codes, expected);
        let metadata = client.call(9, MetadataRequest::default().with_topics(None)).await;
        let listed: Vec<_> =
            metadata.brokers.iter().map(|b| format!("{}:{}", &*b.host, b.port)).collect();
        assert_eq!(listed, broker.addresses());
    }
}

#[tokio::test]
async fn a_new_leader_serves_the_same_records_and_may_be_none() {
    let broker = Broker::builder().in_memory().nodes(2).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, values(1, 10)).unwrap();
    let mut old = Client::memory(&broker, 1);
    let mut new = Client::memory(&broker, 2);
    broker.set_leader("t", 0, Some(2)).unwrap();
    assert_eq!(broker.leader("t", 0).unwrap(), (Some(2), 1));
    assert_eq!(partitions(&old.call(11, fetch(vec![want(0, 0)])).await)[0].error_code, 6);
    let response = new.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(
        (partitions(&response)[0].error_code, partitions(&response)[0].high_watermark),
        (0, 1)
    );
    broker.set_leader("t", 0, None).unwrap();
    assert_eq!(partitions(&new.call(11, fetch(vec![want(0, 0)])).await)[0].error_code, 6);
    let metadata = new.call(9, MetadataRequest::default().with_topics(None)).await;
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id.0, partition.leader_epoch), (5, -1, 2));
    assert!(broker.set_leader("t", 0, Some(3)).is_err());
}

#[tokio::test]
async fn a_stopped_node_closes_connections_and_restarts_at_its_address() {
    let broker = Broker::builder().nodes(2).start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    let address = broker.addresses()[1].clone();
    let mut client = Client::tcp(&address).await;
    let waiting = fetch(vec![want(1, 0)]).with_max_wait_ms(60_000).with_min_bytes(1);
    client.send(11, &waiting).await;
    broker.stop_node(2).await.unwrap();
    assert!(client.receive::<FetchRequest>(11).await.is_none());
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    let (host, port) = address.split_once(':').unwrap();
    let refused = broker.connect_in_memory(host, port.parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    broker.start_node(2).await.unwrap();
    let response = Client::tcp(&address).await.call(11, fetch(vec![want(1, 0)])).await;
    assert_eq!(partitions(&response)[0].error_code, 0);
}

#[tokio::test]
async fn dropping_the_broker_cuts_its_connections_and_ends_its_tasks() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let address = broker.bootstrap();
    let mut client = Client::tcp(&address).await;
    let waiting = fetch(vec![want(0, 0)]).with_max_wait_ms(60_000).with_min_bytes(1);
    client.send(11, &waiting).await;
    drop(broker);
    assert!(client.receive::<FetchRequest>(11).await.is_none());
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_disconnected_client_ends_its_long_poll() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut client = Client::tcp(&broker.bootstrap()).await;
    let waiting = fetch(vec![want(0, 0)]).with_max_wait_ms(i32::MAX).with_min_bytes(1);
    client.send(11, &waiting).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    while broker.fetches().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive(), 2);
    drop(client);
    let ended = async {
        while alive() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.unwrap();
}
