//! Stock clients, unchanged, from a pod.

use anyhow::{Result, ensure};

use super::{Stage, Story};
use crate::act::Told;
use crate::scene::{Scene, Specs};

/// redis-cli and etcdctl, as distributions ship them.
pub const STORY: Story = Story {
    name: "stock-clients",
    about: "redis-cli -c and etcdctl work from a pod, by the names of the Services",
    tell,
};

fn tell(stage: &Stage) -> Result<Told> {
    let mut told = Told::default();
    let scene = Scene::open(stage, "stock", &Specs::default())?;
    scene.wait_ready()?;
    scene.wait_tools()?;
    let host = scene.redis();
    let redis = |arguments: &[&str]| -> Result<String> {
        let line = [&["redis-cli", "-c", "-h", host.as_str()], arguments].concat();
        Ok(scene.tool(&line)?.trim().to_owned())
    };
    let mut asked = 0;
    for at in 0..20 {
        let (key, value) = (format!("key:{at}"), format!("value {at}"));
        ensure!(redis(&["SET", &key, &value])? == "OK", "SET {key} was refused");
        let got = redis(&["GET", &key])?;
        ensure!(got == value, "{key} holds {got:?}");
        asked += 2;
    }
    for (line, wanted) in [
        (&["RPUSH", "list", "a", "b", "c"][..], "3"),
        (&["LRANGE", "list", "0", "-1"], "a\nb\nc"),
        (&["HSET", "hash", "f", "1"], "1"),
        (&["INCR", "counter"], "1"),
        (&["EXPIRE", "counter", "100"], "1"),
    ] {
        let got = redis(line)?;
        ensure!(got == wanted, "{line:?} gives {got:?}");
        asked += 1;
    }
    let state = redis(&["CLUSTER", "INFO"])?;
    ensure!(state.contains("cluster_state:ok"), "{state}");
    told.fact("redis_commands", asked + 1);
    let endpoint = scene.etcd();
    let etcd = |arguments: &[&str]| -> Result<String> {
        let line = [&["etcdctl", "--endpoints", endpoint.as_str()], arguments].concat();
        Ok(scene.tool(&line)?.trim().to_owned())
    };
    ensure!(etcd(&["put", "/app/colour", "blue"])? == "OK", "put was refused");
    let got = etcd(&["get", "--print-value-only", "/app/colour"])?;
    ensure!(got == "blue", "/app/colour holds {got:?}");
    let lease = etcd(&["lease", "grant", "60"])?;
    ensure!(lease.contains("granted with TTL(60s)"), "{lease}");
    let groups = etcd(&["get", "--prefix", "--keys-only", "/cairn/groups/"])?;
    ensure!(groups.contains(&scene.group()), "{groups}");
    let refused = etcd(&["put", "/cairn/groups/x", "1"]);
    ensure!(refused.is_err(), "a client may write what only the system may");
    told.fact("etcd_commands", 5);
    scene.close()?;
    Ok(told)
}
