//! Services: headless ones that name pods, and those that clients are told of.

use crate::object::{Kind, Object, Owner};
use cairn_settings::Port;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a Service is made of.
pub struct Doors<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Which pods.
    pub selector: BTreeMap<String, String>,
    /// Which of their ports.
    pub ports: &'a [Port],
}

impl Doors<'_> {
    /// Names each pod, also one that is not ready: nodes must find each other to become so.
    #[must_use]
    pub fn headless(self, owner: &Owner) -> Object {
        let more = json!({ "clusterIP": "None", "publishNotReadyAddresses": true });
        self.service(more, owner)
    }

    /// One address for clients, which only ready pods stand behind.
    #[must_use]
    pub fn for_clients(self, owner: &Owner) -> Object {
        self.service(json!({ "type": "ClusterIP" }), owner)
    }

    fn service(self, mut spec: Value, owner: &Owner) -> Object {
        let port = |port: &Port| {
            json!({
                "name": port.key(), "port": port.number(), "protocol": "TCP",
                "targetPort": port.key(),
            })
        };
        spec["selector"] = json!(self.selector);
        spec["ports"] = self.ports.iter().map(port).collect();
        let metadata =
            json!({ "name": self.name, "namespace": self.namespace, "labels": self.labels });
        Object::new(Kind::Service, owner, &json!({ "metadata": metadata, "spec": spec }))
    }
}
