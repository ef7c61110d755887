//! What protects nodes: from disruption, from strangers, from rights they do not need.

use crate::names;
use crate::object::{Kind, Object, Owner};
use cairn_settings::Port;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The name, namespace and labels of an object.
pub struct Head<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Head<'_> {
    fn metadata(&self) -> Value {
        json!({ "name": self.name, "namespace": self.namespace, "labels": self.labels })
    }

    /// An account without any rights: nodes never call the Kubernetes API.
    #[must_use]
    pub fn account(self, owner: &Owner) -> Object {
        let body = json!({
            "metadata": self.metadata(), "automountServiceAccountToken": false,
        });
        Object::new(Kind::ServiceAccount, owner, &body)
    }

    /// One of `pods` may go at a time, and none while one is not ready: a node is ready while it is
    /// in sync, so the rule is that of lag.
    #[must_use]
    pub fn budget(self, pods: &BTreeMap<String, String>, owner: &Owner) -> Object {
        let body = json!({
            "metadata": self.metadata(),
            "spec": {
                "maxUnavailable": 1,
                "selector": { "matchLabels": pods },
                // A pod that is broken already protects nothing.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        });
        Object::new(Kind::PodDisruptionBudget, owner, &body)
    }

    /// Peers and the operator alone reach the peer ports of `pods`; everybody reaches the others.
    #[must_use]
    pub fn policy(
        self,
        pods: &BTreeMap<String, String>,
        open: &[Port],
        cluster: &str,
        owner: &Owner,
    ) -> Object {
        let port = |port: &Port| json!({ "port": port.number(), "protocol": "TCP" });
        let doors: Vec<Value> = open.iter().map(port).collect();
        let peers: Vec<Value> = [Port::Peer, Port::Heartbeat].iter().map(port).collect();
        let body = json!({
            "metadata": self.metadata(),
            "spec": {
                "podSelector": { "matchLabels": pods },
                "policyTypes": ["Ingress"],
                "ingress": [
                    { "ports": doors },
                    {
                        "ports": peers,
                        "from": [
                            { "podSelector": { "matchLabels": { names::CLUSTER: cluster } } },
                            {
                                "namespaceSelector": {},
                                "podSelector": { "matchLabels": {
                                    "app.kubernetes.io/name": names::MANAGER,
                                } },
                            },
                        ],
                    },
                ],
            },
        });
        Object::new(Kind::NetworkPolicy, owner, &body)
    }
}
