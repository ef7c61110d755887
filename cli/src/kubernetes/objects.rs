//! The cluster's objects as text for a report, without what may be secret.

use super::{CLUSTER, Kubernetes};
use anyhow::{Context, Result};
use cairn_crd::{Cluster, Group, Keyspace};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Resource, ResourceExt};
use serde_json::Value;

fn kind<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

impl Kubernetes {
    /// Name of each kind, and its objects of this cluster as YAML.
    pub async fn objects(&self) -> Vec<(String, Result<String>)> {
        let resources = [kind::<Cluster>(), kind::<Keyspace>(), kind::<Group>()];
        let made = [
            kind::<Pod>(),
            kind::<StatefulSet>(),
            kind::<Service>(),
            kind::<ConfigMap>(),
            kind::<PersistentVolumeClaim>(),
            kind::<PodDisruptionBudget>(),
            kind::<NetworkPolicy>(),
            kind::<Lease>(),
        ];
        let keyspaces = self.keyspaces().await.unwrap_or_default();
        let is_ours = |object: &DynamicObject| {
            let spec = &object.data["spec"];
            let keyspace = spec["keyspace"].as_str().unwrap_or_default();
            object.name_any() == self.cluster
                || spec["cluster"] == self.cluster
                || keyspaces.iter().any(|name| name == keyspace)
        };
        let mut all = Vec::new();
        for kind in resources {
            let listed = self.yaml(&kind, &ListParams::default(), is_ours).await;
            all.push((kind.plural, listed));
        }
        let labelled = ListParams::default().labels(&format!("{CLUSTER}={}", self.cluster));
        for kind in made {
            let listed = self.yaml(&kind, &labelled, |_| true).await;
            all.push((kind.plural, listed));
        }
        all
    }

    async fn yaml(
        &self,
        kind: &ApiResource,
        params: &ListParams,
        wanted: impl Fn(&DynamicObject) -> bool,
    ) -> Result<String> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, kind);
        let list = api.list(params).await;
        let list = list.with_context(|| format!("cannot list {}", kind.plural))?;
        let mut text = String::new();
        for object in list.items.into_iter().filter(wanted) {
            let mut value = serde_json::to_value(object).context("cannot encode")?;
            hide(&mut value);
            text += "---\n";
            text += &serde_yaml::to_string(&value).context("cannot encode")?;
        }
        Ok(text)
    }
}

/// Takes values of environment variables away, which people may have put secrets into, and what
/// only repeats the rest.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.remove("kubectl.kubernetes.io/last-applied-configuration");
            for (name, field) in fields {
                match field {
                    Value::Array(vars) if name == "env" => {
                        for var in vars.iter_mut().filter_map(|var| var.get_mut("value")) {
                            *var = Value::from("(hidden)");
                        }
                    }
                    field => hide(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_variables_are_hidden_at_any_depth() {
        let mut pod = json!({
            "metadata": { "name": "a", "managedFields": [1], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "password", "b": "c",
            } },
            "spec": { "containers": [{ "env": [
                { "name": "TOKEN", "value": "secret" },
                { "name": "OTHER", "valueFrom": { "secretKeyRef": { "name": "s" } } },
            ] }] },
        });
        hide(&mut pod);
        let expected = json!({
            "metadata": { "name": "a", "annotations": { "b": "c" } },
            "spec": { "containers": [{ "env": [
                { "name": "TOKEN", "value": "(hidden)" },
                { "name": "OTHER", "valueFrom": { "secretKeyRef": { "name": "s" } } },
            ] }] },
        });
        assert_eq!(pod, expected);
    }
}
