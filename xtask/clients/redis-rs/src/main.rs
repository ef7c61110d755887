//! Uses a cluster through redis-rs: see ../README.md for what it prints.
//!
//! `redis-rs-story HOST:PORT…`

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncCommands, PushInfo, PushKind, RedisResult, Script, Value};
use tokio::sync::mpsc::UnboundedReceiver;

const TAG: &str = "{redis-rs}";
const SCRIPT: &str = "return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let nodes: Vec<String> =
        std::env::args().skip(1).map(|address| format!("redis://{address}/?protocol=3")).collect();
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let client = ClusterClientBuilder::new(nodes.clone())
        .use_protocol(redis::ProtocolVersion::RESP3)
        .push_sender(sender)
        .build()?;
    let mut client = client.get_async_connection().await?;
    println!("did connect");
    keys(&mut client).await?;
    println!("did keys");
    pipeline(&mut client).await?;
    println!("did pipeline");
    transaction(&mut client).await?;
    println!("did transaction");
    messages(&mut client, &mut pushes).await?;
    println!("did messages");
    script(&mut client).await?;
    println!("did script");
    replicas(&nodes).await?;
    println!("did replicas");
    takeover(&mut client).await?;
    println!("did takeover");
    println!("story: ok");
    Ok(())
}

async fn keys(client: &mut ClusterConnection) -> Outcome {
    for number in 0..200 {
        client.set::<_, _, ()>(format!("redis-rs:{number}"), number).await?;
    }
    for number in 0..200 {
        let got: i64 = client.get(format!("redis-rs:{number}")).await?;
        assert_eq!(got, number);
    }
    let (a, b, none) = (format!("{TAG}a"), format!("{TAG}b"), format!("{TAG}none"));
    client.mset::<_, _, ()>(&[(&a, 1), (&b, 2)]).await?;
    let got: Vec<Option<i64>> = client.mget(&[&a, &b, &none]).await?;
    assert_eq!(got, [Some(1), Some(2), None]);
    Ok(())
}

async fn pipeline(client: &mut ClusterConnection) -> Outcome {
    let mut pipe = redis::pipe();
    (0..100).for_each(|number| {
        pipe.incr(format!("{TAG}p{number}"), 1);
    });
    let got: Vec<i64> = pipe.query_async(client).await?;
    assert_eq!(got, [1; 100]);
    Ok(())
}

async fn transaction(client: &mut ClusterConnection) -> Outcome {
    let key = format!("{TAG}t");
    let mut pipe = redis::pipe();
    pipe.atomic().set(&key, 1).ignore().incr(&key, 1).get(&key);
    let got: (i64, String) = pipe.query_async(client).await?;
    assert_eq!(got, (2, "2".to_owned()));
    let mut wrong = redis::pipe();
    wrong.atomic().incr(&key, 1).lpush(&key, "x");
    let refused: RedisResult<(i64, i64)> = wrong.query_async(client).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("WRONGTYPE")));
    let after: i64 = client.get(&key).await?;
    assert_eq!(after, 3);
    Ok(())
}

async fn messages(
    client: &mut ClusterConnection,
    pushes: &mut UnboundedReceiver<PushInfo>,
) -> Outcome {
    let (news, sharded) = ("redis-rs:news", format!("{TAG}news"));
    client.subscribe(news).await?;
    heard(pushes, PushKind::Message, client, "PUBLISH", news).await?;
    client.ssubscribe(&sharded).await?;
    heard(pushes, PushKind::SMessage, client, "SPUBLISH", &sharded).await
}

/// Publishes until a message of the kind has come.
async fn heard(
    pushes: &mut UnboundedReceiver<PushInfo>,
    kind: PushKind,
    client: &mut ClusterConnection,
    publish: &str,
    channel: &str,
) -> Outcome {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no message came by {publish}");
        redis::cmd(publish).arg(channel).arg("hello").query_async::<i64>(client).await?;
        while let Ok(Some(push)) = tokio::time::timeout(PAUSE, pushes.recv()).await {
            let hello = Value::BulkString(b"hello".to_vec());
            if push.kind == kind && push.data.last() == Some(&hello) {
                return Ok(());
            }
        }
    }
}

async fn script(client: &mut ClusterConnection) -> Outcome {
    let (key, add) = (format!("{TAG}counter"), Script::new(SCRIPT));
    for turn in 1..=3 {
        // Sent by its hash, and whole where a node does not know it.
        let got: (String, i64) = add.key(&key).arg(5).invoke_async(client).await?;
        assert_eq!(got, (key.clone(), 5 * turn));
        redis::cmd("SCRIPT").arg("FLUSH").query_async::<Value>(client).await?;
    }
    Ok(())
}

async fn replicas(nodes: &[String]) -> Outcome {
    let readers = ClusterClientBuilder::new(nodes.to_vec()).read_from_replicas().build()?;
    let mut readers = readers.get_async_connection().await?;
    let until = Instant::now() + PATIENCE;
    for number in 0..100 {
        while readers.get::<_, Option<i64>>(format!("redis-rs:{number}")).await? != Some(number) {
            assert!(Instant::now() < until, "a replica does not show key {number}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn takeover(client: &mut ClusterConnection) -> Outcome {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    std::thread::spawn(move || {
        io::stdin().read_line(&mut String::new()).ok();
        told.store(true, Ordering::Relaxed);
    });
    println!("takeover {TAG}");
    let (mut acked, mut number, mut left) = (Vec::new(), 0_i64, 200);
    let until = Instant::now() + PATIENCE;
    while left > 0 {
        assert!(Instant::now() < until, "no write is acknowledged any more");
        match client.set::<_, _, ()>(format!("{TAG}{number}"), number).await {
            Ok(()) => {
                acked.push(number);
                left -= i32::from(over.load(Ordering::Relaxed));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        number += 1;
    }
    for number in &acked {
        let got: Option<i64> = client.get(format!("{TAG}{number}")).await?;
        assert_eq!(got, Some(*number), "a write was lost");
    }
    println!("acked {} of {number}", acked.len());
    Ok(())
}
